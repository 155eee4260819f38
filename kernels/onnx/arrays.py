"""Define the arrays that a model holds while it is recorded, which have views and are written in place.

Sizes are the whole numbers of the batch that is recorded, which has no two sizes alike unless they are always alike
(`engine/recorded.py` makes such a batch). A size that nodes need is found by its number (`Sizes`).

A graph has neither: a `Buffer` keeps the value of each rectangle that
was written, and cuts and joins them when a view is read.
"""

from __future__ import annotations

import linecache
import sys
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import NoReturn

import numpy as np

from ...errors import SalonError
from .graph import BFLOAT16, FLOAT, Graph, Value

_HERE = str(Path(__file__).parent)


class RecordError(SalonError):
    """A model does something that no graph can hold. The message names the op and the line of the model."""


def cannot(what: str) -> NoReturn:
    """Raise RecordError, with the line of the model that asked for it."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    place, line = Path(frame.f_code.co_filename), frame.f_lineno
    text = linecache.getline(str(place), line).strip()
    raise RecordError(f"{what} cannot be recorded: {'/'.join(place.parts[-3:])}, line {line}: {text}")


class Sizes:
    """The sizes of the batch, by their numbers.

    Args:
        graph: where nodes that compute a size are added.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._known: dict[int, tuple[Value, int]] = {}
        self._names: dict[int, str] = {}

    def learn(self, number: int, value: Value, axis: int = 0) -> None:
        """Note that an axis of a value has so many entries. The first of equal numbers is used."""
        if number > 1:
            self._known.setdefault(number, (value, axis))

    def name(self, number: int, *proposed: str) -> str:
        """Return the name of a size in the shapes of inputs and outputs: of those that were proposed for it first, the
        first that no other size has."""
        if number not in self._names:
            taken = set(self._names.values())
            free = [name for name in proposed if name not in taken]
            assert free, f"{proposed}: the names of other sizes"
            self._names[number] = free[0]
        return self._names[number]

    def of(self, number: int) -> Value:
        """Return a size as int64 [1]. Raise RecordError for a number that is no size of the batch, nor the sum or the
        difference of two."""
        if number <= 1:
            return self.graph.constant([number])
        if number in self._known:
            value, axis = self._known[number]
            return self.graph.size(value, axis)
        for op, sign in (("Add", 1), ("Sub", -1)):
            for a, b in combinations(sorted(self._known, reverse=True), 2):
                if a + sign * b == number:
                    return self.graph.node(op, [self.of(a), self.of(b)])
        cannot(f"{number} rows, which are no size of the batch")


@dataclass(eq=False)
class _Tile:
    """Columns start to stop of a band; None: nothing was written there."""

    start: int
    stop: int
    value: Value | None


@dataclass(eq=False)
class _Band:
    """Rows start to stop of a buffer, with all their columns."""

    start: int
    stop: int
    tiles: list[_Tile]


class Buffer:
    """The memory of an array and its views.

    Args:
        rows, width: its sides.
        value: what it begins with; None: nothing.
    """

    def __init__(self, sizes: Sizes, rows: int, width: int, kind: int, value: Value | None = None) -> None:
        self.sizes, self.rows, self.width, self.kind = sizes, rows, width, kind
        self._bands = [_Band(0, rows, [_Tile(0, width, value)])]
        self._read: dict[tuple[int, int, int, int], Value] = {}

    def read(self, top: int, bottom: int, left: int, right: int) -> Value:
        """Return a rectangle's value."""
        key = top, bottom, left, right
        if key not in self._read:
            graph, parts = self.sizes.graph, []
            for band in self._bands:
                first, last = max(top, band.start), min(bottom, band.stop)
                if first < last:
                    cuts = [self._cut(band, tile, first, last, left, right) for tile in band.tiles]
                    kept = [cut for cut in cuts if cut is not None]
                    parts.append(kept[0] if len(kept) == 1 else graph.node("Concat", kept, axis=1))
            self._read[key] = parts[0] if len(parts) == 1 else graph.node("Concat", parts, axis=0)
        return self._read[key]

    def _cut(self, band: _Band, tile: _Tile, first: int, last: int, left: int, right: int) -> Value | None:
        """Return the part of a tile within a rectangle; None: there is none."""
        start, stop = max(left, tile.start), min(right, tile.stop)
        if start >= stop:
            return None
        graph = self.sizes.graph
        if tile.value is None:  # it may be anything
            shape = graph.node("Concat", [self.sizes.of(last - first), graph.constant([stop - start])], axis=0)
            return graph.cast(graph.node("Expand", [graph.constant(np.float32(0)), shape], FLOAT), self.kind)
        value = tile.value
        if (first, last) != (band.start, band.stop):
            ends = [self.sizes.of(n - band.start) for n in (first, last)]
            value = graph.node("Slice", [value, *ends, graph.constant([0])])
        if (start, stop) != (tile.start, tile.stop):
            ends = [graph.constant([n - tile.start]) for n in (start, stop)]
            value = graph.node("Slice", [value, *ends, graph.constant([1])])
        return value

    def write(self, top: int, bottom: int, left: int, right: int, value: Value) -> None:
        """Replace a rectangle's value."""
        value = self.sizes.graph.cast(value, self.kind)
        bands: list[_Band] = []
        for band in self._bands:
            first, last = max(top, band.start), min(bottom, band.stop)
            if first >= last:
                bands.append(band)
                continue
            for start, stop in ((band.start, first), (first, last), (last, band.stop)):
                if start < stop:
                    over = (start, stop) == (first, last)
                    kept = (left, right) if over else (0, 0)  # what is written over is not cut out
                    part = _Band(start, stop, [self._part(band, tile, start, stop, *kept) for tile in band.tiles])
                    if over:
                        part.tiles = self._placed(part, top, bottom, left, right, value)
                    bands.append(part)
        self._bands, self._read = bands, {}

    def _part(self, band: _Band, tile: _Tile, start: int, stop: int, left: int, right: int) -> _Tile:
        """Return rows of a tile, without value where all of its columns are within left to right."""
        if tile.value is None or (left <= tile.start and tile.stop <= right):
            return _Tile(tile.start, tile.stop, None)
        return _Tile(tile.start, tile.stop, self._cut(band, tile, start, stop, tile.start, tile.stop))

    def _placed(self, band: _Band, top: int, bottom: int, left: int, right: int, value: Value) -> list[_Tile]:
        """Return a band's tiles with a value in the columns left to right."""
        graph = self.sizes.graph
        if (band.start, band.stop) != (top, bottom):
            ends = [self.sizes.of(n - top) for n in (band.start, band.stop)]
            value = graph.node("Slice", [value, *ends, graph.constant([0])])
        tiles: list[_Tile] = []
        for tile in band.tiles:
            for start, stop in ((tile.start, min(tile.stop, left)), (max(tile.start, right), tile.stop)):
                if start < stop:
                    cut = None if tile.value is None else self._cut(band, tile, band.start, band.stop, start, stop)
                    tiles.append(_Tile(start, stop, cut))
        return sorted([*tiles, _Tile(left, right, value)], key=lambda tile: tile.start)


@dataclass(frozen=True, eq=False)
class Array:
    """An array, or a view of one: rows top to bottom and columns left to right of a buffer."""

    buffer: Buffer
    top: int
    bottom: int
    left: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.bottom - self.top, self.right - self.left

    @property
    def dtype(self) -> str:
        """Name of the element type."""
        return "bfloat16" if self.buffer.kind == BFLOAT16 else "float32"

    def read(self) -> Value:
        """Return its value."""
        return self.buffer.read(self.top, self.bottom, self.left, self.right)

    def write(self, value: Value) -> None:
        """Replace its value."""
        self.buffer.write(self.top, self.bottom, self.left, self.right, value)

    def part(self, top: int, bottom: int, left: int, right: int) -> Array:
        """Return a view, by rows and columns of this one."""
        rows, width = self.shape
        if not (0 <= top <= bottom <= rows and 0 <= left <= right <= width):
            raise ValueError(f"view: got rows {top} to {bottom}, columns {left} to {right}, want within {self.shape}")
        return Array(self.buffer, self.top + top, self.top + bottom, self.left + left, self.left + right)
