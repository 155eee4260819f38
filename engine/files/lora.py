"""Read a LoRA file: the factors of every layer that it changes, under the names that the file has for these.

    diffusers, PEFT    transformer.transformer_blocks.0.attn.to_q.lora_A.weight, .lora_B.weight; alpha in the metadata
    kohya              lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight, .lora_up.weight, .alpha
    Comfy, the makers  diffusion_model.double_blocks.0.img_attn.qkv.lora_A.weight (or .lora_down.weight)
    LyCORIS            ....hada_w1_a (LoHa), ....lokr_w1, ....lokr_w2_a (LoKr), which are made low-rank factors exactly

A layer's change is up @ down, with down [r, K] and up [N, r]; of a convolution K counts its channels and its kernel's
numbers, in this order. Which layer a name means, the model's family says
(`engine/weights/lora.py`). What a file has beyond that is refused by its name: nothing of it is silently left out.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from ...kernels.bfloat16 import as_float32, widen
from ..errors import MalformedFile, UnexpectedKey, WrongShape
from ..safetensors_file import SafetensorsFile

Float32 = NDArray[np.float32]

# What an array is, by the end of its name, longest first -> its part of a layer.
_PARTS: Final[Mapping[str, str]] = {
    ".lora_A.default.weight": "down",
    ".lora_B.default.weight": "up",
    "_lora.down.weight": "down",
    "_lora.up.weight": "up",
    ".lora_linear_layer.down.weight": "down",
    ".lora_linear_layer.up.weight": "up",
    ".lora_down.weight": "down",
    ".lora_up.weight": "up",
    ".lora.down.weight": "down",
    ".lora.up.weight": "up",
    ".lora_A.weight": "down",
    ".lora_B.weight": "up",
    ".alpha": "alpha",
    **{f".{name}": name for name in ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")},
    **{f".{name}": name for name in ("lokr_w1_a", "lokr_w1_b", "lokr_w2_a", "lokr_w2_b", "lokr_w1", "lokr_w2")},
    ".lora_mid.weight": "mid",
    **{f".{name}": name for name in ("hada_t1", "hada_t2", "lokr_t2")},
}
# What Salon knows and does not draw with -> what it is.
_OTHERS: Final[Mapping[str, str]] = {
    ".dora_scale": "DoRA, which scales whole rows of the weight",
    ".lora_magnitude_vector": "DoRA, which scales whole rows of the weight",
    ".lora_magnitude_vector.weight": "DoRA, which scales whole rows of the weight",
    ".lora_magnitude_vector.default.weight": "DoRA, which scales whole rows of the weight",
    ".lora_B.bias": "a bias of the LoRA",
    ".diff": "a whole difference of weights",
    ".diff_b": "a difference of a bias",
    ".set_weight": "a whole weight",
    ".oft_blocks": "OFT, which rotates the weight",
    ".oft_diag": "OFT, which rotates the weight",
    ".a1.weight": "GLoRA",
    ".on_input": "IA3",
}
_TEXT: Final = re.compile(
    r"(base_model\.model\.)?(text_encoder(_\d)?|te\d?|clip_[lg]|t5xxl|text_encoders)\.|lora_te\d?_"
)


# The parts of products: the factor of the outputs, that of the inputs, and a Tucker core (1705.07664) between them.
_PLAIN: Final = ("up", "down", "mid")
_HADA_1: Final = ("hada_w1_a", "hada_w1_b", "hada_t1")
_HADA_2: Final = ("hada_w2_a", "hada_w2_b", "hada_t2")
_HADA: Final = {*_HADA_1[:2], *_HADA_2[:2]}


def _kron_parts(name: str) -> tuple[str, str, str]:
    """Return the parts of a factor of LoKr in halves."""
    return f"{name}_a", f"{name}_b", name.replace("_w", "_t")


@dataclass(frozen=True)
class _Layer:
    """The arrays of a layer: its part -> its key."""

    name: str
    keys: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Factors:
    """The change of a layer: down float32 [r, K], up float32 [N, r], with the file's own scale in `up`. Either may be a
    view of the file, and is not written."""

    down: Float32
    up: Float32


class LoraFile:
    """A LoRA file, of which no array has been read.

    Attributes:
        path: the file.
        layers: names of the layers that it changes, as the file writes them.
        text: names of layers of text encoders that it changes too.
        metadata: what the file says of itself, texts by name: title, tags, settings of its training.

    Raises:
        CheckpointError: the file cannot be read, is pickled, cut off or malformed, or has an array that is no part of a
            LoRA that Salon draws with; the message names it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = SafetensorsFile(path)
        self.metadata: dict[str, str] = dict(self._file.metadata)
        self._settings = self._settings_in()
        found: dict[str, _Layer] = {}
        for key in self._file.tensors:
            name, part = self._part_of(key)
            found.setdefault(name, _Layer(name)).keys[part] = key
        if not found:
            raise MalformedFile("no LoRA", path=path, expected="factors of layers", found="no array")
        self._layers = found
        self.text = tuple(name for name in found if _TEXT.match(name))
        self.layers = tuple(name for name in found if name not in set(self.text))
        for name in self.layers:
            self.shape(name)

    @property
    def num_bytes(self) -> int:
        """Length of the file, as it was opened."""
        return self._file.num_bytes

    def shape(self, name: str) -> tuple[int, int, int]:
        """Return (N, K, r) of a layer.

        Raises:
            WrongShape, UnexpectedKey: its arrays do not fit each other.
        """
        layer = self._layers[name]
        parts = {part: self._file.tensors[key].shape for part, key in layer.keys.items() if part != "alpha"}
        if {"down", "up"} <= set(parts) <= {"down", "up", "mid"}:
            return self._product(layer, _PLAIN)
        if _HADA <= set(parts) <= _HADA | {"hada_t1", "hada_t2"}:
            (n1, k1, r1), (n2, k2, r2) = self._product(layer, _HADA_1), self._product(layer, _HADA_2)
            if (n1, k1) != (n2, k2):
                self._refuse_shape(layer, "hada_w2_a", "factors that fit each other")
            return self._exact(layer, n1, k1, r1 * r2)
        if any(part.startswith("lokr") for part in parts):
            (m, n, r1), (p, q, r2) = self._kron(layer, "lokr_w1"), self._kron(layer, "lokr_w2")
            known = {"lokr_w1", "lokr_w2", "lokr_w1_a", "lokr_w1_b", "lokr_w2_a", "lokr_w2_b", "lokr_t2"}
            if set(parts) <= known:
                return self._exact(layer, m * p, n * q, r1 * r2)
        have = ", ".join(sorted(parts)) or "alpha alone"
        key = next(iter(layer.keys.values()))
        raise UnexpectedKey(
            "incomplete layer of a LoRA", path=self.path, key=key, expected="both factors (down and up, or lora_A and "
            "lora_B), or all of LoHa or LoKr", found=have, remedy="download the file again, or take another",
        )  # fmt: skip

    def factors(self, name: str) -> Factors:
        """Return the factors of a layer; of LoHa and LoKr exact ones of the same change.

        Raises:
            WrongDtype: an array is in a number format that Salon does not read.
            MalformedFile: an array has NaN or infinity.
        """
        layer = self._layers[name]
        rank = self.shape(name)[2]
        if "down" in layer.keys:
            (up, down), own = self._factors(layer, _PLAIN), self._scale(layer, rank)
            return Factors(down, up if own == 1 else up * np.float32(own))
        if "hada_w1_a" in layer.keys:
            (a1, b1), (a2, b2) = self._factors(layer, _HADA_1), self._factors(layer, _HADA_2)
            scale = np.float32(self._scale(layer, b1.shape[0]))
            # (a1 b1) * (a2 b2), number by number: column i j of `up` is a1[:, i] * a2[:, j], and so are rows of `down`
            up = (a1[:, :, None] * a2[:, None, :]).reshape(len(a1), -1)
            return Factors((b1[:, None, :] * b2[None, :, :]).reshape(-1, b1.shape[1]), up * scale)
        (a1, b1), (a2, b2) = self._halves(layer, "lokr_w1"), self._halves(layer, "lokr_w2")
        dims = [
            self._file.tensors[layer.keys[part]].shape[0] for part in ("lokr_w2_b", "lokr_w1_b") if part in layer.keys
        ]
        scale = np.float32(self._scale(layer, dims[0]) if dims else 1.0)  # LyCORIS: of whole factors alpha says nothing
        return Factors(np.kron(b1, b2), np.kron(a1, a2) * scale)  # kron(a1 b1, a2 b2)

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _part_of(self, key: str) -> tuple[str, str]:
        for end, part in _PARTS.items():
            if key.endswith(end) and len(key) > len(end):
                return key[: -len(end)], part
        for end, what in _OTHERS.items():
            if key.endswith(end):
                self._refuse(key, what)
        self._refuse(key, "no part of a LoRA")

    def _refuse(self, key: str, what: str) -> NoReturn:
        raise UnexpectedKey(
            "array that Salon cannot draw with", path=self.path, key=key,
            expected="factors of a LoRA, LoHa or LoKr", found=what, remedy="take a plain LoRA of it",
        )  # fmt: skip

    def _sides(self, layer: _Layer, part: str) -> tuple[int, int]:
        """Return the two sides of an array; a convolution counts as the matrix of its kernels."""
        shape = self._file.tensors[layer.keys[part]].shape
        if len(shape) == 4 and 0 not in shape:
            shape = (shape[0], shape[1] * shape[2] * shape[3])
        if len(shape) != 2 or 0 in shape:
            self._refuse_shape(layer, part, "a matrix")
        return shape[0], shape[1]

    def _product(self, layer: _Layer, parts: tuple[str, str, str]) -> tuple[int, int, int]:
        """Return (N, K, r) of a product of two factors, or of two around a Tucker core.

        Args:
            parts: up, down and core; there need be no core.
        """
        up, down, core = parts
        (rows, rank), (other, depth) = self._sides(layer, up), self._sides(layer, down)
        if core in layer.keys:
            shape = self._file.tensors[layer.keys[core]].shape
            if core != "mid":  # LyCORIS turns the first factor round there
                rows, rank = rank, rows
            if len(shape) != 4 or 0 in shape or shape[:2] != (rank, other):
                self._refuse_shape(layer, core, f"[{rank}, {other}, height, width], a Tucker core")
            return rows, depth * shape[2] * shape[3], rank
        if rank != other:
            self._refuse_shape(layer, up, f"[{rows}, {other}], the rank of {layer.keys[down]!r}")
        return rows, depth, rank

    def _factors(self, layer: _Layer, parts: tuple[str, str, str]) -> tuple[Float32, Float32]:
        """Return up [N, r] and down [r, K] of such a product. A core is multiplied into `down`, which is exact."""
        up, down, core = parts
        a, b = self._array(layer, up), self._array(layer, down)
        if core not in layer.keys:
            return a, b
        key = layer.keys[core]
        shape = self._file.tensors[key].shape
        inner = self._array(layer, core).reshape(shape)
        b = np.einsum("ijkl,jc->ickl", inner, b).reshape(shape[0], -1)
        return a if core == "mid" else np.ascontiguousarray(a.T), b

    def _refuse_shape(self, layer: _Layer, part: str, expected: str) -> NoReturn:
        key = layer.keys[part]
        found = str(list(self._file.tensors[key].shape))
        remedy = "the file is damaged: download it again"
        raise WrongShape("wrong shape", path=self.path, key=key, expected=expected, found=found, remedy=remedy)

    def _kron(self, layer: _Layer, name: str) -> tuple[int, int, int]:
        """Return (rows, columns, rank) of a factor of LoKr, whole or in halves."""
        if name in layer.keys:
            rows, columns = self._sides(layer, name)
            return rows, columns, min(rows, columns)
        if f"{name}_a" not in layer.keys or f"{name}_b" not in layer.keys:
            self._refuse(next(iter(layer.keys.values())), f"LoKr without {name}")
        return self._product(layer, _kron_parts(name))

    def _halves(self, layer: _Layer, name: str) -> tuple[Float32, Float32]:
        """Return the two halves of a factor of LoKr; of a whole one itself and the unit matrix."""
        if name not in layer.keys:
            return self._factors(layer, _kron_parts(name))
        whole = self._array(layer, name)
        rows, columns = whole.shape
        if columns <= rows:
            return whole, np.eye(columns, dtype=np.float32)
        return np.eye(rows, dtype=np.float32), whole

    def _exact(self, layer: _Layer, rows: int, columns: int, rank: int) -> tuple[int, int, int]:
        """Return the sizes of a change that is exactly of this rank. Refuse one that is not low."""
        if rank * (rows + columns) > rows * columns:
            what = f"a change of rank {rank} of a weight [{rows}, {columns}], which is not low-rank"
            self._refuse(next(iter(layer.keys.values())), what)
        return rows, columns, rank

    def _array(self, layer: _Layer, part: str) -> Float32:
        key = layer.keys[part]
        values = as_float32(self._file.array(key), key).reshape(self._sides(layer, part))
        if not np.isfinite(values).all():
            raise MalformedFile(
                "NaN or infinity", path=self.path, key=key, expected="finite numbers", remedy="take another file"
            )
        return values

    def _scale(self, layer: _Layer, rank: int) -> float:
        """Return alpha / rank, by the file's own alpha or PEFT's settings; without either 1."""
        key = layer.keys.get("alpha")
        if key is not None:
            values = widen(np.asarray(self._file.array(key)).reshape(-1), key)
            if values.shape != (1,) or not np.isfinite(values).all():
                self._refuse_shape(layer, "alpha", "one number")
            return float(values[0]) / rank
        return self._settings_scale(layer.name, rank)

    def _settings_scale(self, name: str, rank: int) -> float:
        for component, settings in self._settings.items():
            if component and not name.startswith(f"{component}."):
                continue
            own = name[len(component) + 1 :] if component else name
            alpha = settings.get("lora_alpha", rank)
            for pattern, value in dict(settings.get("alpha_pattern") or {}).items():
                if own == pattern or own.endswith(f".{pattern}"):
                    alpha = value
            if not isinstance(alpha, int | float) or not np.isfinite(alpha):
                self._refuse_settings(f"lora_alpha {str(alpha)[:40]}")
            return float(alpha) / (rank**0.5 if settings.get("use_rslora") else rank)
        return 1.0

    def _settings_in(self) -> dict[str, dict[str, Any]]:
        """Return PEFT's settings that diffusers writes into a file, by the component that they are for."""
        text = self.metadata.get("lora_adapter_metadata")
        if text is None:
            return {}
        try:
            values = json.loads(text)
            items = [(str(key).rpartition("."), value) for key, value in values.items()]
        except (ValueError, AttributeError, TypeError, RecursionError):
            self._refuse_settings(str(text)[:40])
        found: dict[str, dict[str, Any]] = {}
        for (component, _, name), value in items:
            found.setdefault(component, {})[name] = value
        for settings in found.values():
            if settings.get("use_dora"):
                self._refuse_settings("use_dora, which scales whole rows of the weight")
            if not isinstance(settings.get("alpha_pattern") or {}, dict):
                self._refuse_settings("alpha_pattern that is no object")
        return found

    def _refuse_settings(self, found: str) -> NoReturn:
        raise MalformedFile(
            "settings of a LoRA", path=self.path, key="lora_adapter_metadata",
            expected="PEFT's, as diffusers writes them", found=found, remedy="take another file",
        )  # fmt: skip


def file_digest(path: Path) -> str:
    """Return the SHA-256 (hex) of a file, by which a LoRA is called everywhere. OSError: it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
