"""Record ragged attention: rows go to lanes of their samples, are attended there, and come back.

The lanes are as many as the longest sample has rows. What runtimes know of attention they find in the plain nodes.
Terms of adapters are a node of our own, with the function that it stands for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from ..ops import AdapterTerms
from .arrays import Array
from .base import Base
from .batches import RecordedSegments
from .graph import BOOL, FLOAT, INT64, Graph, Value

HIDDEN: Final = np.float32(-1e30)  # added to the score of a key that a row does not see
ADAPTER_TERMS: Final = "AdapterTerms"  # an op of our own, which is a function of the model


class AttentionOps(Base):
    """`attention` of `Recorder`. `Ops` documents it."""

    def attention(
        self,
        q: Any,
        k: Any,
        v: Any,
        segments: RecordedSegments,
        heads: int,
        *,
        kv_segments: RecordedSegments | None = None,
        adapters: AdapterTerms | None = None,
        out: Array | None = None,
        kv_heads: int | None = None,
        scale: float | None = None,
        causal: bool = False,
        bias: Any = None,
    ) -> Array:
        graph, theirs = self.graph, segments if kv_segments is None else kv_segments
        groups, width = heads if kv_heads is None else kv_heads, q.shape[1]
        e = width // heads
        factor = np.float32(1 / math.sqrt(e) if scale is None else scale)
        # Queries [S, H, L, E], keys and values alike: of the rank that runtimes have an attention for. Where heads of a
        # group read the same keys, queries are [S, G, H / G, L, E] and keys [S, G, 1, L, E].
        shared = heads // groups
        mine, same = ([heads], [heads]) if shared == 1 else ([groups, shared], [groups, 1])
        rank = len(mine)
        order = [0, *range(2, 2 + rank), 1, 2 + rank]  # [S, L, ..., E]: rows behind heads
        back = [0, 1 + rank, *range(1, 1 + rank), 2 + rank]
        rows, _ = segments.sample_rows()
        queries = self._lanes(q, rows, [0, 0, *mine, e], order)
        rows, there = theirs.sample_rows()
        keys = self._lanes(k, rows, [0, 0, *same, e], order, there)
        values = self._lanes(v, rows, [0, 0, *same, e], order, there)
        keys = graph.node("Transpose", [keys], perm=[*range(1 + rank), 2 + rank, 1 + rank])
        queries = graph.node("Mul", [queries, graph.cast(graph.constant(factor), queries.type)])
        scores = graph.cast(graph.node("MatMul", [queries, keys]), FLOAT)
        if bias is not None:
            scores = graph.node("Add", [scores, self._bias(bias, segments, theirs, mine)])
        seen = graph.unsqueeze(there, *range(1, 2 + rank))
        if causal:
            row = graph.unsqueeze(segments.lanes, 1)
            seen = graph.node("And", [seen, graph.node("GreaterOrEqual", [row, theirs.lanes], BOOL)])
        zero, hidden = graph.constant(np.float32(0)), graph.constant(HIDDEN)
        scores = graph.node("Add", [scores, graph.node("Where", [seen, zero, hidden], FLOAT)])
        weights = graph.cast(graph.node("Softmax", [scores], axis=-1), values.type)
        attended = graph.node("Transpose", [graph.node("MatMul", [weights, values])], perm=back)
        flat = graph.node("Reshape", [attended, graph.constant([-1, width])])
        y = graph.node("Gather", [flat, segments.places()], axis=0)
        if adapters is not None:
            told = self._terms(adapters, q, segments, heads, factor)
            if adapters.out is None:
                y = graph.node("Add", [graph.cast(y, FLOAT), told])
            else:
                adapters.out.write(told)
        return self.put(y, q.shape[0], width, "compute", out)

    def _lanes(self, x: Any, rows: Value, shape: list[int], order: list[int], there: Value | None = None) -> Value:
        """Return rows by lanes of samples, [S, L, ...] in another order. With `there` lanes without a row are zero."""
        graph, value = self.graph, self.read(x)
        lanes = graph.node("Gather", [value, rows], axis=0)
        if there is not None:  # neither weight nor score would hide another sample's NaN
            zero = graph.cast(graph.constant(np.float32(0)), value.type)
            column = graph.unsqueeze(there, 2)
            lanes = graph.node("Where", [column, lanes, zero], value.type)
        return graph.node("Transpose", [graph.node("Reshape", [lanes, graph.constant(shape)])], perm=order)

    def _bias(self, bias: Any, segments: RecordedSegments, theirs: RecordedSegments, heads: list[int]) -> Value:
        """Return what is added to scores by the distance of row and key, float32 [H, L, L] or [G, H / G, L, L]."""
        graph, reach = self.graph, bias.shape[1] // 2
        row = graph.unsqueeze(segments.lanes, 1)
        distance = graph.node("Sub", [theirs.lanes, row])
        least, most = graph.constant(-reach), graph.constant(reach)
        place = graph.node("Add", [graph.node("Clip", [distance, least, most]), graph.constant(reach)])
        found = graph.node("Gather", [self.read(bias), place], axis=1)
        sides = graph.node("Shape", [place], INT64)
        shape = graph.node("Concat", [graph.constant(heads), sides], axis=0)
        return graph.node("Reshape", [found, shape])

    def _terms(self, terms: AdapterTerms, q: Any, segments: RecordedSegments, heads: int, factor: np.float32) -> Value:
        """Return the sum of adapter terms for every row, float32 [T, D]; zero where there is none."""
        inputs = [
            self.read(q if terms.queries is None else terms.queries), self.read(terms.keys), self.read(terms.values),
            segments.rows(), *(part.value for part in (terms.segments, terms.offsets, terms.rows, terms.weights)),
        ]  # fmt: skip
        attributes = {"heads": heads, "width": q.shape[1] // heads, "scale": float(factor)}
        return self.graph.function(ADAPTER_TERMS, inputs, attributes, FLOAT, adapter_terms)


def adapter_terms(graph: Graph, inputs: Sequence[Value], attributes: Mapping[str, Value]) -> Value:
    """Write what the op `ADAPTER_TERMS` stands for: docs/onnx.md has its inputs and attributes.

    Every row attends to the tokens of every term, each by a softmax of its own, and the terms of other segments have
    weight 0: adapters have few tokens.
    """
    queries, keys, values, row_segments, segments, offsets, rows, weights = inputs
    queries = graph.cast(queries, keys.type)
    none, column = graph.constant(0), graph.constant([1])
    heads, width = (graph.unsqueeze(attributes[name], 0) for name in ("heads", "width"))
    first, last = graph.constant([0]), graph.constant([np.iinfo(np.int64).max])
    starts = graph.node("Slice", [offsets, first, graph.constant([-1]), first])
    stops = graph.node("Slice", [offsets, graph.constant([1]), last, first])
    counts = graph.node("Sub", [stops, starts])  # [M]
    token = graph.range(graph.node("ReduceMax", [counts], keepdims=0))  # [A]
    there = graph.node("Less", [token, graph.node("Unsqueeze", [counts, column])], BOOL)  # [M, A]
    at = graph.node("Add", [graph.node("Unsqueeze", [starts, column]), token])
    found = graph.node("Gather", [rows, graph.node("Where", [there, at, none], INT64)], axis=0)
    split = graph.node("Concat", [graph.constant([0, 0]), heads, width], axis=0)
    each_key, each_value = (
        graph.node("Transpose", [graph.node("Reshape", [graph.node("Gather", [x, found], axis=0), split])], perm=order)
        for x, order in ((keys, [0, 2, 3, 1]), (values, [0, 2, 1, 3]))  # [M, H, E, A] and [M, H, A, E]
    )
    apart = graph.node("Reshape", [queries, graph.node("Concat", [first, heads, width], axis=0)])
    mine = graph.node("Transpose", [apart], perm=[1, 0, 2])  # [H, T, E]
    scores = graph.cast(graph.node("MatMul", [mine, each_key]), FLOAT)  # [M, H, T, A]
    scores = graph.node("Mul", [scores, attributes["scale"]])
    seen = graph.unsqueeze(there, 1, 2)
    scores = graph.node("Softmax", [graph.node("Where", [seen, scores, graph.constant(HIDDEN)], FLOAT)], axis=-1)
    acts = graph.node("Equal", [graph.node("Unsqueeze", [segments, column]), row_segments], BOOL)
    some = graph.node("Unsqueeze", [graph.node("Greater", [counts, none], BOOL), column])
    both = graph.cast(graph.node("And", [acts, some], BOOL), FLOAT)
    weight = graph.node("Mul", [graph.node("Unsqueeze", [weights, column]), both])
    shares = graph.node("Mul", [scores, graph.unsqueeze(weight, 1, 3)])
    summed = graph.cast(graph.node("MatMul", [graph.cast(shares, values.type), each_value]), FLOAT)  # [M, H, T, E]
    total = graph.node("ReduceSum", [summed, graph.constant([0])], keepdims=0)
    back = graph.node("Transpose", [total], perm=[1, 0, 2])
    whole = graph.node("Concat", [first, graph.node("Mul", [heads, width])], axis=0)
    return graph.node("Reshape", [back, whole])
