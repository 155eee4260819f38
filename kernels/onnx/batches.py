"""Define what a model holds of a batch while it is recorded, beside arrays: vectors, segments, and sides of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..segments import Int32
from .arrays import Sizes, cannot
from .graph import BOOL, INT64, Graph, Value


@dataclass(frozen=True, eq=False)
class RecordedVector:
    """A vector; slices of equal lengths are views of it."""

    graph: Graph
    value: Value
    length: int

    @property
    def shape(self) -> tuple[int]:
        """Its length."""
        return (self.length,)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, place: slice) -> RecordedVector:
        start, stop, _ = place.indices(self.length)
        long = stop - start
        if long < 1 or self.length % long or start % long:
            cannot(f"a slice {start} to {stop} of a vector [{self.length}]")
        if long == self.length:
            return self
        count = self.length // long
        parts = self.graph.nodes_of("Split", [self.value], count, axis=0, num_outputs=count)
        return RecordedVector(self.graph, parts[start // long], long)


@dataclass(eq=False)
class RecordedSegments:
    """Segments of which the graph knows the offsets and the owners, and computes everything else.

    Attributes:
        offsets, owners: int64 [N + 1] and [N].
        num_rows, count, num_samples: of the batch that is recorded: T, N, S.
        samples: int64 [S]: 0, 1, 2, ...
        lanes: int64 [L]: 0, 1, 2, ... for as many rows as the longest sample has.
    """

    sizes: Sizes
    offsets: Value
    owners: Value
    samples: Value
    lanes: Value
    num_rows: int
    count: int
    num_samples: int

    def __len__(self) -> int:
        return self.count

    @property
    def graph(self) -> Graph:
        """The graph."""
        return self.sizes.graph

    def _range(self) -> Value:
        """Return 0 .. T - 1 as int64 [T, 1]."""
        graph = self.graph
        return graph.unsqueeze(graph.range(graph.scalar(self.sizes.of(self.num_rows))), 1)

    def _ends(self) -> tuple[Value, Value]:
        """Return where each segment starts and stops, int64 [N] each."""
        graph = self.graph
        first, last = graph.constant([0]), graph.constant([np.iinfo(np.int64).max])
        starts = graph.node("Slice", [self.offsets, first, graph.constant([-1]), first])
        return starts, graph.node("Slice", [self.offsets, graph.constant([1]), last, first])

    def rows(self) -> Value:
        """Return the segment of each row, int64 [T]."""
        graph = self.graph
        passed = graph.node("GreaterOrEqual", [self._range(), self._ends()[1]], kind=BOOL)
        return graph.node("ReduceSum", [graph.cast(passed, INT64), graph.constant([1])], keepdims=0)

    def row_owners(self) -> Value:
        """Return the sample of each row, int64 [T]."""
        return self.graph.node("Gather", [self.owners, self.rows()], axis=0)

    def _bases(self) -> Value:
        """Return how many rows of its sample stand before each segment, int64 [N]."""
        graph = self.graph
        starts, stops = self._ends()
        column = graph.unsqueeze(self.owners, 1)
        same = graph.node("Equal", [column, self.owners], kind=BOOL)
        order = graph.range(graph.scalar(graph.size(self.owners)))
        before = graph.node("Greater", [graph.unsqueeze(order, 1), order], kind=BOOL)
        mine = graph.cast(graph.node("And", [same, before]), INT64)
        lengths = graph.node("Sub", [stops, starts])
        return graph.node("ReduceSum", [graph.node("Mul", [mine, lengths]), graph.constant([1])], keepdims=0)

    def sample_rows(self) -> tuple[Value, Value]:
        """Return which row stands in each lane of each sample, int64 [S, L], and whether one does, bool [S, L]."""
        graph = self.graph
        starts, stops = self._ends()
        bases, lengths = self._bases(), graph.node("Sub", [stops, starts])
        owner = graph.unsqueeze(self.samples, 1, 2)  # [S, 1, 1]
        lane = graph.unsqueeze(self.lanes, 0, 2)  # [1, L, 1]
        mine = graph.node("Equal", [owner, self.owners], kind=BOOL)  # [S, 1, N]
        after = graph.node("GreaterOrEqual", [lane, bases], kind=BOOL)  # [1, L, N]
        within = graph.node("Less", [lane, graph.node("Add", [bases, lengths])], kind=BOOL)
        hit = graph.cast(graph.node("And", [mine, graph.node("And", [after, within])]), INT64)
        row = graph.node("Mul", [hit, graph.node("Add", [lane, graph.node("Sub", [starts, bases])])])
        rows = graph.node("ReduceSum", [row, graph.constant([2])], keepdims=0)
        some = graph.node("ReduceSum", [hit, graph.constant([2])], keepdims=0)
        return rows, graph.node("Greater", [some, graph.constant(0)], kind=BOOL)

    def places(self) -> Value:
        """Return where each row stands among all lanes, int64 [T]: sample * L + lane."""
        graph, rows = self.graph, self.rows()
        starts = self._ends()[0]
        shift = graph.node("Sub", [self._bases(), starts])
        row = graph.range(graph.scalar(self.sizes.of(self.num_rows)))
        lane = graph.node("Add", [row, graph.node("Gather", [shift, rows], axis=0)])
        first = graph.node("Mul", [self.row_owners(), graph.size(self.lanes)])
        return graph.node("Add", [first, lane])


@dataclass(eq=False)
class RecordedGrids:
    """Heights and widths of images.

    Attributes:
        value: int64 [B, 2].
        example: those of the batch that is recorded.
        known: all that there are in the graph, this one among them.
    """

    graph: Graph
    value: Value
    example: Int32
    known: list[RecordedGrids]

    def __post_init__(self) -> None:
        self.known.append(self)

    @property
    def alone(self) -> bool:
        """Whether they are those of one image, and of one in every batch."""
        return len(self.example) == 1

    def __len__(self) -> int:
        return len(self.example)

    def __mul__(self, factor: Any) -> RecordedGrids:
        times = self.graph.constant(int(factor))
        return RecordedGrids(self.graph, self.graph.node("Mul", [self.value, times]), self.example * factor, self.known)

    def prod(self, axis: int, dtype: Any = None) -> NDArray[Any]:
        """Return the areas of the batch that is recorded."""
        areas: NDArray[Any] = self.example.prod(axis=axis, dtype=dtype)
        return areas

    def tolist(self) -> list[list[int]]:
        """Return the sides of the batch that is recorded."""
        return [list(map(int, sides)) for sides in self.example]
