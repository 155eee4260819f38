"""Provide the recording op table: a model that runs on it writes itself as an ONNX graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from ..ops import Dtype, DtypeName
from .arrays import Array, Buffer, cannot
from .attention import AttentionOps
from .batches import RecordedGrids, RecordedSegments
from .dense import DenseOps
from .graph import FLOAT, Graph
from .image import ImageOps


class Recorder(DenseOps, AttentionOps, ImageOps):
    """The op table that records. `Ops` documents every method.

    Values of a batch come as arrays, vectors, segments and grids that `inputs.Inputs` made; whatever else a model reads
    is a weight, and becomes a constant. What no graph can hold raises `RecordError`.
    """

    def __init__(self, graph: Graph, host: Any, compute: Dtype = "float32") -> None:
        super().__init__(graph, host, compute)
        self.grids: list[RecordedGrids] = []  # those that the model was given, and what it made of them

    @property
    def name(self) -> str:
        return "onnx"

    def empty(self, rows: int, width: int, dtype: DtypeName = "compute") -> Array:
        return Array(Buffer(self.sizes, rows, width, self.kind(dtype)), 0, rows, 0, width)

    def zeros(self, rows: int, width: int, dtype: DtypeName = "compute") -> Array:
        shape = self.graph.node("Concat", [self.sizes.of(rows), self.graph.constant([width])], axis=0)
        zero = self.graph.constant(np.float32(0))
        return self.made(self.graph.node("Expand", [zero, shape], FLOAT), rows, width, dtype)

    def rows(self, x: Array, start: int, stop: int) -> Array:
        return self._whole(x).part(start, stop, 0, x.shape[1])

    def columns(self, x: Array, start: int, stop: int) -> Array:
        return self._whole(x).part(0, x.shape[0], start, stop)

    def _whole(self, x: Any) -> Array:
        """Return an array of the graph: also of a weight, whose views are constants too."""
        if isinstance(x, Array):
            return x
        rows, width = x.shape
        return Array(Buffer(self.sizes, rows, width, FLOAT, self.read(x)), 0, rows, 0, width)

    def concat(self, parts: Sequence[Any]) -> Array:
        kinds = {part.dtype for part in parts if isinstance(part, Array)}
        kind = self.kind("compute" if kinds == {"bfloat16"} else "float32")
        values = [self.graph.cast(self.read(part), kind) for part in parts]
        rows, width = sum(part.shape[0] for part in parts), parts[0].shape[1]
        value = self.graph.node("Concat", values, axis=0)
        self.sizes.learn(rows, value)
        whole = Buffer(self.sizes, rows, width, kind)
        start = 0
        for part, one in zip(parts, values, strict=True):  # kept apart, for views of one part alone
            whole.write(start, start + part.shape[0], 0, width, one)
            start += part.shape[0]
        return Array(whole, 0, rows, 0, width)

    def split(self, x: Array, sizes: Sequence[int]) -> list[Array]:
        ends = np.cumsum([0, *sizes]).tolist()
        return [self.rows(x, start, stop) for start, stop in zip(ends[:-1], ends[1:], strict=True)]

    def segments(
        self, lengths: Sequence[int], owners: Sequence[int] | None = None, num_samples: int | None = None
    ) -> RecordedSegments:
        """See `Ops`. Only the pixels of images are known as lengths while a model is recorded."""
        grids = next((g for g in self.grids if g.example.prod(axis=1).tolist() == list(lengths)), None)
        if grids is None or owners is not None:
            cannot("segments of lengths of its own")
        graph = self.graph
        areas = graph.node("ReduceProd", [grids.value, graph.constant([1])], keepdims=0)
        ends = graph.node("CumSum", [areas, graph.constant(0)])
        count = graph.scalar(graph.size(areas))
        numbers = graph.range(count)
        lanes = graph.range(graph.node("ReduceMax", [areas], keepdims=0))
        offsets = graph.node("Concat", [graph.constant([0]), ends], axis=0)
        return RecordedSegments(self.sizes, offsets, numbers, numbers, lanes, sum(lengths), len(lengths), len(lengths))

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        cannot(name)
