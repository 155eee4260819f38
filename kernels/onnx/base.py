"""What the recorded ops share: values of their arguments, and arrays of their results."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ops import Dtype, DtypeName
from .arrays import Array, Buffer, Sizes, cannot
from .batches import RecordedSegments
from .graph import BFLOAT16, FLOAT, Graph, Numbers, Value, Weight
from .weights import Matrix


class Base:
    """The state of `Recorder`.

    Args:
        graph: what is written.
        host: the table that made the arrays of weights, which become constants.
        compute: the compute dtype of the graph.
    """

    def __init__(self, graph: Graph, host: Any, compute: Dtype) -> None:
        self.graph, self.host, self.sizes = graph, host, Sizes(graph)
        self._compute: Dtype = compute
        self._weights: dict[int, tuple[Any, Value]] = {}  # with what it was made of, which keeps its id

    @property
    def compute(self) -> Dtype:
        """See `Ops`."""
        return self._compute

    def kind(self, dtype: DtypeName) -> int:
        """Return the element type of a dtype's name."""
        if dtype not in ("compute", "float32"):
            raise ValueError(f"dtype: got {dtype!r}, want one of compute, float32")
        found: int = BFLOAT16 if dtype == "compute" and self._compute == "bfloat16" else FLOAT
        return found

    def read(self, x: Any) -> Value:
        """Return the value of an array. One that is no part of what is recorded is a weight, and becomes a constant."""
        if isinstance(x, Array):
            return x.read()
        found = self._weights.get(id(x))
        if found is None:
            if not hasattr(x, "shape"):
                cannot(f"an argument of {type(x).__name__}")
            numbers = self.host.numpy(x)
            found = self._weights[id(x)] = x, self._constant(numbers)
        return found[1]

    def _constant(self, numbers: Numbers) -> Value:
        return self.graph.constant(np.ascontiguousarray(numbers, np.float32))

    def flat(self, x: Any) -> Value:
        """Return the value of a row [1, D] as [D]."""
        return self.graph.node("Reshape", [self.read(x), self.graph.constant([-1])])

    def weight(self, matrix: Matrix, dtype: DtypeName = "compute") -> Value:
        """Return a weight of a linear layer or a convolution, or its bias."""
        found = self._weights.get(id(matrix))
        if found is None:
            kind = self.kind(dtype)
            name = f"weight_{len(self.graph.weights)}"
            weight = Weight(name, matrix.shape, kind, lambda: matrix.read(bits=kind == BFLOAT16), (matrix, kind))
            found = self._weights[id(matrix)] = matrix, self.graph.weight(weight)
        return found[1]

    def product(self, x: Value, matrix: Matrix, bias: Matrix) -> Value:
        """Return x times a matrix [N, K] turned round, plus its bias, float32."""
        graph, weight, shift = self.graph, self.weight(matrix), self.weight(bias, "float32")
        if weight.type == FLOAT:
            return graph.node("Gemm", [graph.cast(x, FLOAT), weight, shift], transB=1)
        y = graph.node("Gemm", [graph.cast(x, weight.type), weight], transB=1)
        return graph.node("Add", [graph.cast(y, FLOAT), shift])

    def of_rows(self, x: Any, segments: RecordedSegments) -> Value:
        """Return for each row that of its sample: float32 [T, D] of an array [S, D]."""
        return self.graph.node("Gather", [self.read(x), segments.row_owners()], axis=0)

    def made(self, value: Value, rows: int, width: int, dtype: DtypeName) -> Array:
        """Return a new array."""
        kind = self.kind(dtype)
        value = self.graph.cast(value, kind)
        self.sizes.learn(rows, value)
        return Array(Buffer(self.sizes, rows, width, kind, value), 0, rows, 0, width)

    def put(self, value: Value, rows: int, width: int, dtype: DtypeName, out: Array | None) -> Array:
        """Return a new array, or `out` with this value."""
        if out is None:
            return self.made(value, rows, width, dtype)
        if out.shape != (rows, width):
            raise ValueError(f"out: got {list(out.shape)}, want [{rows}, {width}]")
        out.write(value)
        return out
