"""Define ragged attention with adapter terms, for the reference backend."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..ops import AdapterTerms, Float32
from ..segments import Int32, Segments
from .checks import describe, refuse, want_array, want_indices, want_segments, want_vector

Rows = NDArray[np.intp]


def _sample_rows(segments: Segments, sample: int) -> Rows:
    """Return the row numbers of all segments of a sample, in their order."""
    mine = np.flatnonzero(segments.owners == sample)
    parts = [np.arange(segments.offsets[j], segments.offsets[j + 1]) for j in mine]
    return np.concatenate([np.empty(0, np.intp), *parts]).astype(np.intp)


def _softmax_attention(q: Float32, k: Float32, v: Float32, heads: int) -> Float32:
    """Return softmax(q K^T / sqrt(E)) V for each head. q [n, H*E], k, v [m, H*E]; m = 0 gives zeros."""
    out = np.zeros(q.shape, np.float32)
    if not len(q) or not len(k):
        return out
    e = q.shape[1] // heads
    for h in range(heads):
        part = slice(h * e, (h + 1) * e)
        scores = np.ascontiguousarray(q[:, part]) @ np.ascontiguousarray(k[:, part]).T * np.float32(1 / math.sqrt(e))
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        out[:, part] = weights @ np.ascontiguousarray(v[:, part]) / weights.sum(axis=1, keepdims=True)
    return out


class AttentionOps:
    """`attention` of `ReferenceOps`. `Ops` documents it."""

    @np.errstate(all="ignore")
    def attention(
        self,
        q: Float32,
        k: Float32,
        v: Float32,
        segments: Segments,
        heads: int,
        *,
        kv_segments: Segments | None = None,
        adapters: AdapterTerms | None = None,
        out: Float32 | None = None,
    ) -> Float32:
        op = "attention"
        kv = segments if kv_segments is None else kv_segments
        want_array(op, "q", q)
        rows, width = q.shape
        if heads < 1 or width % heads or width == 0:
            refuse(op, "q", f"{describe(q)} with {heads} heads", "[Tq, heads * E]")
        want_array(op, "k", k, width=width)
        want_array(op, "v", v, len(k), width)
        want_segments(op, "segments", segments, rows)
        want_segments(op, "kv_segments", kv, len(k))
        if out is not None:
            want_array(op, "out", out, rows, width)
        if adapters is not None:
            _want_terms(op, adapters, q, segments)

        result = np.zeros((rows, width), np.float32)
        for sample in range(segments.num_samples):
            mine, theirs = _sample_rows(segments, sample), _sample_rows(kv, sample)
            result[mine] = _softmax_attention(q[mine], k[theirs], v[theirs], heads)
        if adapters is not None:
            _add_terms(adapters, q, segments, heads, result)
        if out is None:
            return result
        out[:] = result
        return out


def _add_terms(terms: AdapterTerms, q: Float32, segments: Segments, heads: int, result: Float32) -> None:
    queries = q if terms.queries is None else terms.queries
    total = result if terms.out is None else terms.out
    if terms.out is not None:
        for j in terms.segments:
            terms.out[segments.offsets[j] : segments.offsets[j + 1]] = 0
    for m, j in enumerate(terms.segments):
        mine = slice(int(segments.offsets[j]), int(segments.offsets[j + 1]))
        used: Int32 = terms.rows[terms.offsets[m] : terms.offsets[m + 1]]
        if len(used):
            o = _softmax_attention(queries[mine], terms.keys[used], terms.values[used], heads)
            total[mine] += terms.weights[m] * o


def _want_terms(op: str, terms: AdapterTerms, q: Float32, segments: Segments) -> None:
    rows, width = q.shape
    want_array(op, "adapters.keys", terms.keys, width=width)
    want_array(op, "adapters.values", terms.values, len(terms.keys), width)
    want_indices(op, "adapters.segments", terms.segments, len(segments))
    count = len(terms.segments)
    want_vector(op, "adapters.offsets", terms.offsets, np.int32, count + 1)
    want_indices(op, "adapters.rows", terms.rows, len(terms.keys))
    want_vector(op, "adapters.weights", terms.weights, np.float32, count)
    offsets = terms.offsets
    if offsets[0] != 0 or (np.diff(offsets) < 0).any() or offsets[-1] != len(terms.rows):
        refuse(op, "adapters.offsets", offsets.tolist(), f"0, never falling, ending at {len(terms.rows)}")
    if terms.queries is not None:
        want_array(op, "adapters.queries", terms.queries, rows, width)
    if terms.out is not None:
        want_array(op, "adapters.out", terms.out, rows, width)
