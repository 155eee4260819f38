"""Record row-wise ops: linear layers, norms, rotary embedding, lookups, sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from ..ops import Activation, DtypeName, LowRankTerm, NormKind
from .arrays import Array, cannot
from .base import Base
from .batches import RecordedSegments, RecordedVector
from .graph import BOOL, FLOAT, Value
from .weights import LinearWeight

GLU: Final[Mapping[str, Activation]] = {"swiglu": "silu", "geglu": "gelu", "geglu_tanh": "gelu_tanh"}


class DenseOps(Base):
    """The row-wise ops of `Recorder`. `Ops` documents them."""

    def activated(self, x: Value, activation: Activation) -> Value:
        """Return an activation of a value. Those of `GLU` leave half of its columns."""
        graph = self.graph
        if activation in GLU:
            gate, value = graph.nodes_of("Split", [x], 2, axis=1, num_outputs=2)
            return graph.node("Mul", [self.activated(gate, GLU[activation]), value])
        if activation in ("gelu", "gelu_tanh"):
            return graph.node("Gelu", [x], approximate="tanh" if activation == "gelu_tanh" else "none")
        if activation == "silu":
            return graph.node("Mul", [x, graph.node("Sigmoid", [x])])
        if activation == "quick_gelu":
            slope = graph.cast(graph.constant(1.702), x.type)
            return graph.node("Mul", [x, graph.node("Sigmoid", [graph.node("Mul", [x, slope])])])
        if activation in ("sigmoid", "tanh"):
            return graph.node(activation.capitalize(), [x])
        return x

    def cast(self, x: Any, dtype: DtypeName = "compute", *, activation: Activation = "none") -> Array:
        wide = self.graph.cast(self.read(x), FLOAT) if activation != "none" else self.read(x)
        return self.made(self.activated(wide, activation), x.shape[0], x.shape[1], dtype)

    def add(
        self,
        x: Array,
        y: Any,
        segments: RecordedSegments | None = None,
        only: RecordedVector | None = None,
        gate: Any = None,
    ) -> None:
        graph = self.graph
        added = graph.cast(self.read(y), FLOAT)
        if gate is not None:
            assert segments is not None, "a gate without segments"
            added = graph.node("Mul", [self.of_rows(gate, segments), added])
        whole = graph.node("Add", [x.read(), added])
        if only is not None:
            assert segments is not None, "`only` without segments"
            row = graph.unsqueeze(segments.rows(), 1)
            hit = graph.node("Equal", [row, graph.cast(only.value, row.type)], kind=BOOL)
            count = graph.node("ReduceSum", [graph.cast(hit, row.type), graph.constant([1])], keepdims=1)
            whole = graph.node(
                "Where", [graph.node("Greater", [count, graph.constant(0)], kind=BOOL), whole, x.read()], FLOAT
            )
        x.write(whole)

    def gated(self, gate: Any, value: Any, activation: Activation = "none", *, out: Array | None = None) -> Array:
        graph = self.graph
        first, second = (graph.cast(self.read(each), FLOAT) for each in (gate, value))
        y = graph.node("Mul", [self.activated(first, activation), second])
        return self.put(y, value.shape[0], value.shape[1], "compute", out)

    def linear(
        self,
        x: Any,
        weight: Any,
        *,
        activation: Activation = "none",
        gate: Any = None,
        residual: Array | None = None,
        segments: RecordedSegments | None = None,
        out: Array | None = None,
        dtype: DtypeName = "compute",
        low_rank: Sequence[LowRankTerm] = (),
    ) -> Array:
        graph = self.graph
        if any(term.weight for term in low_rank):
            cannot("linear with low-rank terms (LoRAs)")
        if not isinstance(weight, LinearWeight):
            cannot(f"linear with a weight of {type(weight).__name__}")
        y = self.product(self.read(x), weight.matrix, weight.bias)
        if residual is not None:
            if gate is not None:
                assert segments is not None, "a gate without segments"
                y = graph.node("Mul", [self.of_rows(gate, segments), y])
            residual.write(graph.node("Add", [residual.read(), y]))
            return residual
        width = weight.matrix.shape[0] // (2 if activation in GLU else 1)
        return self.put(self.activated(y, activation), x.shape[0], width, dtype, out)

    def normed(self, x: Value, kind: NormKind, eps: float, width: int, weight: Value | None = None) -> Value:
        """Return norm(x) over the last axis, times `weight`, float32."""
        graph, x = self.graph, self.graph.cast(x, FLOAT)
        if kind == "layer":
            ones = weight if weight is not None else graph.constant(np.ones(width, np.float32))
            return graph.node("LayerNormalization", [x, ones], axis=-1, epsilon=eps)
        mean = graph.node("ReduceMean", [graph.node("Mul", [x, x]), graph.constant([-1])], keepdims=1)
        root = graph.node("Sqrt", [graph.node("Add", [mean, graph.constant(np.float32(eps))])])
        y = graph.node("Div", [x, root])
        return y if weight is None else graph.node("Mul", [y, weight])

    def modulate(
        self,
        x: Any,
        shift: Any,
        scale: Any,
        segments: RecordedSegments,
        *,
        kind: NormKind = "layer",
        eps: float = 1e-6,
        weight: Any = None,
    ) -> Array:
        graph, (rows, width) = self.graph, x.shape
        y = self.normed(self.read(x), kind, eps, width, None if weight is None else self.flat(weight))
        factor = graph.node("Add", [self.read(scale), graph.constant(np.float32(1))])
        y = graph.node("Mul", [y, graph.node("Gather", [factor, segments.row_owners()], axis=0)])
        if shift is not None:
            y = graph.node("Add", [y, self.of_rows(shift, segments)])
        return self.made(y, rows, width, "compute")

    def norm(
        self,
        x: Any,
        weight: Any,
        bias: Any = None,
        *,
        kind: NormKind = "layer",
        eps: float = 1e-5,
        dtype: DtypeName = "compute",
    ) -> Array:
        y = self.normed(self.read(x), kind, eps, x.shape[1], self.flat(weight))
        if bias is not None:
            y = self.graph.node("Add", [y, self.flat(bias)])
        return self.made(y, x.shape[0], x.shape[1], dtype)

    def qk_norm_rope(
        self,
        qkv: Array,
        heads: int,
        q_weight: Any,
        k_weight: Any,
        cos: Any,
        sin: Any,
        *,
        eps: float = 1e-6,
        plain_q: Array | None = None,
        kv_heads: int | None = None,
    ) -> None:
        graph, rows = self.graph, qkv.shape[0]
        groups = heads if kv_heads is None else kv_heads
        e = qkv.shape[1] // (heads + 2 * groups)
        for start, count, weight in ((0, heads, q_weight), (heads * e, groups, k_weight)):
            part = qkv.part(0, rows, start, start + count * e)
            x = graph.node("Reshape", [graph.cast(part.read(), FLOAT), graph.constant([0, count, e])])
            if weight is not None:
                x = self.normed(x, "rms", eps, e, self.flat(weight))
            if start == 0 and plain_q is not None:
                plain_q.write(graph.node("Reshape", [x, graph.constant([0, count * e])]))
            if cos is not None:
                x = self._turned(x, e, cos, sin)
            part.write(graph.node("Reshape", [x, graph.constant([0, count * e])]))

    def _turned(self, x: Value, e: int, cos: Any, sin: Any) -> Value:
        """Return heads [T, count, e] turned, pair by pair of even and odd columns: x cos + changed(x) sin.

        A product changes the columns of each pair, (a, b) to (-b, a), exactly: to split and join columns runtimes copy
        one number at a time.
        """
        graph = self.graph
        quarter = np.kron(np.eye(e // 2, dtype=np.float32), np.array([[0, 1], [-1, 0]], np.float32))
        changed = graph.node("MatMul", [x, graph.constant(quarter)])
        c, s = (self._of_pairs(table) for table in (cos, sin))
        return graph.node("Add", [graph.node("Mul", [x, c]), graph.node("Mul", [changed, s])])

    def _of_pairs(self, table: Any) -> Value:
        """Return a table of pairs with each column twice, [T, 1, e]."""
        graph, width = self.graph, table.shape[1]
        column = graph.unsqueeze(self.read(table), 2)
        return graph.node(
            "Reshape", [graph.node("Concat", [column, column], axis=2), graph.constant([0, 1, 2 * width])]
        )

    def embed(self, indices: Sequence[RecordedVector], tables: Sequence[Any]) -> Array:
        graph, total = self.graph, None
        for index, table in zip(indices, tables, strict=True):
            rows = graph.node("Gather", [graph.cast(self.read(table), FLOAT), index.value], axis=0)
            total = rows if total is None else graph.node("Add", [total, rows])
        assert total is not None, "embed without a table"
        return self.made(total, len(indices[0]), tables[0].shape[1], "float32")

    def timestep_embedding(self, timesteps: RecordedVector, width: int, *, max_period: float = 10000.0) -> Array:
        graph, half = self.graph, width // 2
        frequencies = (np.float64(max_period) ** (-np.arange(half) / half)).astype(np.float32)
        column = graph.unsqueeze(timesteps.value, 1)
        angles = graph.node("Mul", [column, graph.constant(frequencies)])
        both = [graph.node("Cos", [angles]), graph.node("Sin", [angles])]
        return self.made(graph.node("Concat", both, axis=1), len(timesteps), width, "compute")

    def blend(
        self, x: Array, y: Any, z: Any, weights: Any, segments: RecordedSegments, a: RecordedVector, b: RecordedVector
    ) -> None:
        graph = self.graph

        def each(vector: RecordedVector) -> Value:
            """Return a number for each row, float32 [T, 1]."""
            column = graph.unsqueeze(vector.value, 1)
            return graph.node("Gather", [column, segments.rows()], axis=0)

        w = self.read(weights)
        mixed = graph.node(
            "Add", [graph.node("Mul", [each(a), self.read(y)]), graph.node("Mul", [each(b), self.read(z)])]
        )
        rest = graph.node("Sub", [graph.constant(np.float32(1)), w])
        x.write(graph.node("Add", [graph.node("Mul", [w, x.read()]), graph.node("Mul", [rest, mixed])]))
