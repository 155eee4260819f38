"""Bring the layers of a LoRA file to the linears that a model has packed.

A family says which layers its model has, under every name that files give them, and where their rows lie in the packed
linears (`LoraMap`). Several layers that were packed as one share its low-rank term, and one layer of a file may be
spread over several.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...kernels.ops import LowRankPart
from ..errors import UnexpectedKey, WrongShape
from .lora_map import LoraMap, LoraPlace, Turned
from .lora_origin import lora_origin

if TYPE_CHECKING:
    from ...kernels.ops import Ops
    from ..files.lora import LoraFile


@dataclass(frozen=True, eq=False)
class ConvFactors:
    """The factors of a convolution: `down` a convolution of the same kernel to r channels, `up` a linear [N, r]."""

    down: Any
    up: Any
    width: int  # N


@dataclass(frozen=True, eq=False)
class LoraWeights:
    """A LoRA, packed for a model.

    Attributes:
        factors: name of a packed linear -> its low-rank factors, packed by the backend; of a convolution `ConvFactors`,
            and of a linear on the host the whole change, float32 [N, K].
        num_bytes: of all factors.
    """

    factors: Mapping[str, Any]
    num_bytes: int


def place_lora(file: LoraFile, family: str, where: LoraMap) -> dict[str, str]:
    """Return the model's layer of each layer of a file, without reading an array.

    Raises:
        UnexpectedKey: a layer that the model does not have, or the same one twice.
        WrongShape: a layer of other sides than the model's.
    """
    found = {name: where.layer(name) for name in file.layers}
    if where.reads_text:
        found |= {name: where.text_layer(name) for name in file.text}
    missing = [name for name, layer in found.items() if layer is None]
    if missing:
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UnexpectedKey(
            f"layers of another model{others}", path=file.path, key=missing[0],
            expected=f"layers of this model ({family})",
            found=f"{len(missing)} of {len(found)} that it does not have", remedy=_another(file),
        )  # fmt: skip
    placed = {name: layer for name, layer in found.items() if layer is not None}
    if not placed:
        raise UnexpectedKey(
            "nothing for the model that draws", path=file.path, expected=f"layers of this model ({family})",
            found=f"{len(file.text)} layers of text encoders", remedy=_another(file),
        )  # fmt: skip
    seen: dict[str, str] = {}
    for name, layer in placed.items():
        if layer in seen:
            raise UnexpectedKey(
                "layer twice", path=file.path, key=name, expected="each layer once", found=f"also {seen[layer]!r}",
                remedy="take another file",
            )  # fmt: skip
        seen[layer] = name
        rows, depth, _ = file.shape(name)
        places = where.layers[layer]
        height = max(place.stop for place in places)
        # of FLUX.1 Fill the first columns alone are those of a LoRA that was made for the other models
        wanted = [where.targets[places[0].target][1], *(place.columns[1] for place in places[1:] if place.columns)]
        if rows != height or depth not in wanted:
            raise WrongShape(
                "layer of another width", path=file.path, key=name,
                expected=f"{[height, max(wanted)]}, as this model ({family}) has",
                found=str([rows, depth]), remedy=_another(file),
            )  # fmt: skip
    return placed


def _another(file: LoraFile) -> str:
    """Return what to do with a LoRA for another model, and which that seems to be."""
    origin = lora_origin({name: file.shape(name)[:2] for name in file.layers}, file.text)
    told = "" if origin is None else f"the file seems to be a LoRA of {origin}: "
    return f"{told}take one that was made for this model"


def packed_bytes(file: LoraFile, placed: Mapping[str, str], where: LoraMap, itemsize: int) -> int:
    """Return about how many bytes the packed factors take, of which no array is read for it."""
    total = 0
    for name, layer in placed.items():
        rows, depth, rank = file.shape(name)
        total += rank * (depth * itemsize * len({place.target for place in where.layers[layer]}) + rows * 4)
    return total


def pack_lora(
    ops: Ops[Any, Any], file: LoraFile, placed: Mapping[str, str], where: LoraMap, num_bytes: int
) -> LoraWeights:
    """Pack the factors of a file.

    Args:
        placed: see `place_lora`.
        num_bytes: see `packed_bytes`.

    Raises:
        CheckpointError: an array is in a number format that Salon does not read, or not finite.
    """
    parts: dict[str, list[LowRankPart]] = {}
    for name, layer in placed.items():
        factors = file.factors(name)
        by_target: dict[str, list[LoraPlace]] = {}
        for place in where.layers[layer]:
            by_target.setdefault(place.target, []).append(place)
        for target, places in by_target.items():
            down, columns = factors.down, places[0].columns
            if columns is not None:
                if columns[0] >= down.shape[1]:
                    continue
                down = np.ascontiguousarray(down[:, columns[0] : columns[1]])
            parts.setdefault(target, []).extend(_parts(down, factors.up, places))
    packed = {}
    for target in sorted(parts):
        mine, width = parts.pop(target), where.targets[target][0]
        if target in where.turned:
            mine = [_turned(part, where.turned[target]) for part in mine]
        if target in where.whole:
            packed[target] = sum(part.up @ part.down for part in mine)
        elif target in where.convs:
            packed[target] = _conv(ops, mine, width, where.convs[target])
        else:
            packed[target] = ops.pack_low_rank(mine, width, swiglu=target in where.swiglu)
    return LoraWeights(packed, num_bytes)


def _parts(down: Any, up: Any, places: Sequence[LoraPlace]) -> Iterable[LowRankPart]:
    """Return the parts of one target, as one if the rows follow on one another there in some order."""
    places = sorted(places, key=lambda place: place.at)
    ends = [place.at + place.stop - place.start for place in places]
    if all(place.at == end for place, end in zip(places[1:], ends[:-1], strict=True)):
        rows = [up[place.start : place.stop] for place in places]
        return (LowRankPart(down, rows[0] if len(rows) == 1 else np.concatenate(rows), places[0].at),)
    return tuple(LowRankPart(down, up[place.start : place.stop], place.at) for place in places)


def _turned(part: LowRankPart, turned: Turned) -> LowRankPart:
    down = part.down if turned.columns is None else part.down[:, turned.columns]
    up = part.up if turned.rows is None else part.up[turned.rows]
    return LowRankPart(down, up * np.float32(turned.sign), part.start)


def _conv(ops: Ops[Any, Any], parts: Sequence[LowRankPart], width: int, side: int) -> ConvFactors:
    """Pack the factors of a convolution, of which a file has one layer."""
    (part,) = parts
    # Copies: a table that runs graphs packs a weight at its first use, and the file may have changed by then.
    down, up = np.array(part.down), np.array(part.up)
    packed = ops.pack_conv(down.reshape(len(down), -1, side, side), None)
    return ConvFactors(packed, ops.pack_linear([up], exact=True), width)


def of_errors(path: Path, family: str) -> UnexpectedKey:
    """Return the error of a model family that takes no LoRAs."""
    return UnexpectedKey(
        "LoRA for a model that takes none", path=path, expected="a model whose family takes LoRAs",
        found=f"family {family}", remedy="leave it out, or draw with another model",
    )  # fmt: skip
