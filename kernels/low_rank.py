"""Lay out the factors of low-rank terms (`terms.LowRankPart`) as backends pack them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .bfloat16 import as_float32
from .terms import LowRankPart

Float32 = NDArray[np.float32]

PANEL: Final = 32  # output columns that the cpu backend keeps together (`kPanel` of csrc/tensor.h)


def want_parts(parts: Sequence[LowRankPart], width: int, swiglu: bool) -> tuple[int, list[Float32]]:
    """Return K and the parts' `up` as float32, the very same array where it is so already. Raise ValueError unless the
    parts fit together, and within `width`."""
    if not parts or width < 1 or (swiglu and width % 2):
        got = f"{len(parts)} parts, width {width}"
        raise ValueError(f"pack_low_rank: parts: got {got}, want at least one, and a width of 1 or more (swiglu: even)")
    depth, ups = parts[0].down.shape[-1] if parts[0].down.ndim else 0, list[Float32]()
    for part in parts:
        down, up = part.down.shape, part.up.shape
        fits = len(down) == 2 and len(up) == 2 and down[0] == up[1] and down[1] == depth and 0 not in (*down, *up)
        if not fits or not 0 <= part.start <= width - up[0]:
            got = f"down {list(down)}, up {list(up)} from column {part.start} on"
            want = f"[r, {depth}], [n, r], not empty, all of one K, within {width} columns"
            raise ValueError(f"pack_low_rank: parts: got {got}, want {want}")
        ups.append(as_float32(part.up, "pack_low_rank: up"))
    return depth, ups


@dataclass(frozen=True, eq=False)
class Panels:
    """The `up` factors by panels of 32 columns, of each panel only the inputs that it reads (csrc/table.h).

    Attributes:
        data: float32, of each panel [last - first, 32].
        place: int64 [panels], where a panel's data begins.
        first, last: int32 [panels], of the inputs: the ranks of all parts one after another.
    """

    data: Float32
    place: NDArray[np.int64]
    first: NDArray[np.int32]
    last: NDArray[np.int32]

    @classmethod
    def of(cls, starts: Sequence[int], ups: Sequence[Float32], width: int, swiglu: bool) -> Panels:
        """Lay out parts: `ups` float32 [n, r], each from the column of `starts` on. Columns are in the order that a
        packed weight has them in (with `swiglu` 16 of the gate, then the 16 of the value that belong to them)."""
        if not swiglu and _apart(starts, ups):
            return cls._of_whole_panels(starts, ups, width)
        half = PANEL // 2
        panels = -(-(width // 2) // half) if swiglu else -(-width // PANEL)
        rows: NDArray[Any] = np.full(
            panels * PANEL, -1, np.int64
        )  # of each column of a panel the output column that it is
        if swiglu:
            gate = np.arange(panels * half).reshape(panels, half)
            gate = np.where(gate < width // 2, gate, -width)
            rows = np.concatenate([gate, gate + width // 2], axis=1).reshape(-1)
            rows[rows < 0] = -1
        else:
            rows[:width] = np.arange(width)
        rows = rows.reshape(panels, PANEL)
        ranks = np.cumsum([0, *(up.shape[1] for up in ups)])
        first, last = np.full(panels, ranks[-1], np.int32), np.zeros(panels, np.int32)
        touched = []
        for start, up, low, high in zip(starts, ups, ranks[:-1], ranks[1:], strict=True):
            mine = (rows >= start) & (rows < start + len(up))
            found = np.flatnonzero(mine.any(axis=1))
            first[found], last[found] = np.minimum(first[found], low), np.maximum(last[found], high)
            touched.append((mine, found))
        depths = np.maximum(last - first, 0)
        first = np.where(depths > 0, first, 0).astype(np.int32)
        last = np.where(depths > 0, last, 0).astype(np.int32)
        place = np.cumsum([0, *(depths * PANEL)]).astype(np.int64)
        data = np.zeros(place[-1], np.float32)
        for start, up, low, (mine, found) in zip(starts, ups, ranks[:-1], touched, strict=True):
            for panel in found:
                view = data[place[panel] : place[panel + 1]].reshape(-1, PANEL)
                own, at = mine[panel], low - first[panel]
                view[at : at + up.shape[1], own] += up[rows[panel, own] - start].T
        return cls(data, place[:-1], first, last)

    @classmethod
    def _of_whole_panels(cls, starts: Sequence[int], ups: Sequence[Float32], width: int) -> Panels:
        """Lay out parts that fill panels of their own, which is each a transpose."""
        panels, ranks = -(-width // PANEL), np.cumsum([0, *(up.shape[1] for up in ups)])
        place = np.zeros(panels, np.int64)
        first, last = np.zeros(panels, np.int32), np.zeros(panels, np.int32)
        data, at = np.empty(sum(up.size for up in ups), np.float32), 0
        for start, up, low in zip(starts, ups, ranks[:-1], strict=True):
            count, rank = len(up) // PANEL, up.shape[1]
            mine = slice(start // PANEL, start // PANEL + count)
            first[mine], last[mine] = low, low + rank
            place[mine] = at + np.arange(count) * (rank * PANEL)
            data[at : at + up.size].reshape(count, rank, PANEL)[...] = up.reshape(count, PANEL, rank).transpose(0, 2, 1)
            at += up.size
        return cls(data, place, first, last)


def _apart(starts: Sequence[int], ups: Sequence[Float32]) -> bool:
    """Return whether every part fills whole panels that no other part touches."""
    ranges = sorted((start, start + len(up)) for start, up in zip(starts, ups, strict=True))
    ends = [0, *(stop for _, stop in ranges[:-1])]
    whole = all(not start % PANEL and not stop % PANEL for start, stop in ranges)
    return whole and all(start >= end for (start, _), end in zip(ranges, ends, strict=True))
