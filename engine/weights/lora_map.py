"""Say which linears and convolutions of a model a LoRA may change, under every name that files give their layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

# What may stand before a layer's name, longest first.
_PREFIXES: Final = (
    "base_model.model.transformer.", "base_model.model.unet.", "base_model.model.", "model.diffusion_model.",
    "diffusion_model.", "transformer.", "unet.", "lora_transformer_", "lora_unet_", "lycoris_",
)  # fmt: skip
# What may stand before a layer of a text encoder -> the component that it is of, in diffusers' folders.
_ENCODERS: Final[Mapping[str, str]] = {
    "base_model.model.text_encoder.": "text_encoder",
    "base_model.model.text_encoder_2.": "text_encoder_2",
    "text_encoder.": "text_encoder",
    "text_encoder_2.": "text_encoder_2",
    "text_encoders.clip_l.transformer.": "text_encoder",
    "text_encoders.clip_g.transformer.": "text_encoder_2",
    "clip_l.transformer.": "text_encoder",
    "clip_g.transformer.": "text_encoder_2",
    "clip_l.": "text_encoder",
    "clip_g.": "text_encoder_2",
    "lora_te_": "text_encoder",
    "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2",
    "lora_te3_": "text_encoder_2",  # kohya's name of T5, also where there are two encoders
    "te.": "text_encoder",
    "te1.": "text_encoder",
    "te2.": "text_encoder_2",
    "te3.": "text_encoder_2",
    "text_encoders.t5xxl.transformer.": "text_encoder_2",
    "t5xxl.transformer.": "text_encoder_2",
    "t5xxl.": "text_encoder_2",
}


@dataclass(frozen=True, slots=True)
class LoraPlace:
    """Rows of a layer within a packed linear.

    Attributes:
        target: name of the packed linear.
        at: its row that the first of them is.
        start, stop: the rows of the layer.
        columns: (start, stop) of the layer that the linear reads; None: all of them. A file whose layer has none of
            them changes nothing there.
    """

    target: str
    at: int
    start: int
    stop: int
    columns: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class Turned:
    """How a packed linear differs from the layer that files name, which is all of it.

    Attributes:
        columns: int64 [K], of each column the file's; None: they are alike.
        rows: int64 [N], of each row the file's; None: they are alike.
        sign: the factor of all.
    """

    columns: NDArray[np.int64] | None = None
    rows: NDArray[np.int64] | None = None
    sign: float = 1.0


@dataclass(frozen=True, eq=False)
class LoraMap:
    """The linears of a model, and the layers that files name.

    Attributes:
        targets: name of a packed linear -> its sides (N, K).
        layers: name of a layer, with dots -> where its rows lie. Of a text encoder the name of its component stands
            before.
        swiglu: the targets that are packed as pairs of gate and value.
        convs: the targets that are convolutions -> the side of their kernels, whose numbers stand in K.
        turned: the targets that are packed in another order than files have -> which.
        whole: the targets that stay on the host, and are changed there.
    """

    targets: Mapping[str, tuple[int, int]]
    layers: Mapping[str, Sequence[LoraPlace]]
    swiglu: frozenset[str] = frozenset()
    convs: Mapping[str, int] = field(default_factory=dict)
    turned: Mapping[str, Turned] = field(default_factory=dict)
    whole: frozenset[str] = frozenset()
    _flat: dict[str, str] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self._flat.update((name.replace(".", "_"), name) for name in self.layers)

    @property
    def reads_text(self) -> bool:
        """Whether it has layers of text encoders."""
        return any(name.startswith("text_encoder") for name in self.layers)

    def layer(self, name: str) -> str | None:
        """Return the layer that a file means; None: the model has none of this name."""
        if ".processor." in name:  # as diffusers wrote them until 2023
            name = name.replace(".processor.", ".") + (".0" if name.endswith(".to_out") else "")
        for prefix in ("", *_PREFIXES):
            rest = name.removeprefix(prefix)
            if prefix and rest == name:
                continue
            found = rest if rest in self.layers else self._flat.get(rest)
            if found is not None:
                return found
        return None

    def text_layer(self, name: str) -> str | None:
        """Return the layer of a text encoder that a file means; None: the model has none of this name."""
        for prefix, encoder in _ENCODERS.items():
            if name.startswith(prefix):
                found = self._flat.get(f"{encoder}.{name.removeprefix(prefix)}".replace(".", "_"))
                if found is not None:
                    return found
        return None

    def beside(self, other: LoraMap) -> LoraMap:
        """Return both as one, of models that have no target in common."""
        return LoraMap(
            {**self.targets, **other.targets}, {**self.layers, **other.layers}, self.swiglu | other.swiglu,
            {**self.convs, **other.convs}, {**self.turned, **other.turned},
            self.whole | other.whole,
        )  # fmt: skip


class MapMaker:
    """Collects the targets and layers of a `LoraMap`. Each target is named once."""

    def __init__(self) -> None:
        self.targets: dict[str, tuple[int, int]] = {}
        self.layers: dict[str, Sequence[LoraPlace]] = {}
        self.swiglu: set[str] = set()
        self.convs: dict[str, int] = {}
        self.turned: dict[str, Turned] = {}
        self.whole: set[str] = set()

    def add(self, target: str, depth: int, parts: Sequence[tuple[str, int]]) -> None:
        """Add a packed linear of layers (name, rows), which read the same `depth` columns."""
        at = 0
        for name, rows in parts:
            self.layers[name] = (LoraPlace(target, at, 0, rows),)
            at += rows
        self.targets[target] = (at, depth)

    def gated(self, target: str, depth: int, parts: Sequence[tuple[str, int]]) -> None:
        """Add a linear that is packed as pairs of gate and value, the gate's layers first."""
        self.add(target, depth, parts)
        self.swiglu.add(target)

    def conv(self, name: str, outputs: int, inputs: int, side: int) -> None:
        """Add a convolution, which is a target of its own."""
        self.add(name, inputs * side * side, [(name, outputs)])
        self.convs[name] = side

    def alias(self, name: str, layers: Sequence[tuple[str, int, int]]) -> None:
        """Add another name, of rows start to stop of layers, one below another."""
        row, found = 0, list[LoraPlace]()
        for layer, start, stop in layers:
            (place,) = self.layers[layer]
            found.append(LoraPlace(place.target, place.at + start, row, row + stop - start))
            row += stop - start
        self.layers[name] = tuple(found)

    def made(self) -> LoraMap:
        """Return the map."""
        return LoraMap(
            self.targets, self.layers, frozenset(self.swiglu), self.convs, self.turned, frozenset(self.whole)
        )
