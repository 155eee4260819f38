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


def _softmax_attention(
    q: Float32,
    k: Float32,
    v: Float32,
    heads: int,
    scale: float | None = None,
    kv_heads: int | None = None,
    added: NDArray[np.float32] | None = None,
) -> Float32:
    """Return softmax(scale q K^T + added) V for each head. q [n, H*E], k, v [m, G*E]; m = 0 gives zeros.

    added: float32 [H, n, m] or [1, n, m], -inf where a row does not see a key; None: nothing.
    """
    out = np.zeros(q.shape, np.float32)
    if not len(q) or not len(k):
        return out
    e = q.shape[1] // heads
    shared = 1 if kv_heads is None else heads // kv_heads
    factor = np.float32(1 / math.sqrt(e) if scale is None else scale)
    for h in range(heads):
        part, theirs = slice(h * e, (h + 1) * e), slice(h // shared * e, (h // shared + 1) * e)
        scores = np.ascontiguousarray(q[:, part]) @ np.ascontiguousarray(k[:, theirs]).T * factor
        if added is not None:
            scores = scores + added[h % len(added)]
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        out[:, part] = weights @ np.ascontiguousarray(v[:, theirs]) / weights.sum(axis=1, keepdims=True)
    return out


def _added(rows: int, keys: int, causal: bool, bias: Float32 | None) -> Float32 | None:
    """Return what is added to a sample's scores: [H, rows, keys] with a bias, else [1, rows, keys]; None: nothing."""
    if not causal and bias is None:
        return None
    distance = np.arange(keys)[None] - np.arange(rows)[:, None]
    added = np.zeros((1, rows, keys), np.float32)
    if bias is not None:
        reach = bias.shape[1] // 2
        added = bias[:, np.clip(distance, -reach, reach) + reach]
    if causal:
        added = np.where(distance[None] > 0, np.float32(-np.inf), added)
    return added


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
        kv_heads: int | None = None,
        scale: float | None = None,
        causal: bool = False,
        bias: Float32 | None = None,
    ) -> Float32:
        op = "attention"
        kv = segments if kv_segments is None else kv_segments
        want_array(op, "q", q)
        rows, width = q.shape
        if heads < 1 or width % heads or width == 0:
            refuse(op, "q", f"{describe(q)} with {heads} heads", "[Tq, heads * E]")
        groups = heads if kv_heads is None else kv_heads
        if groups < 1 or heads % groups:
            refuse(op, "kv_heads", groups, f"a divisor of the {heads} heads")
        if adapters is not None and len(adapters.segments) and groups != heads:
            refuse(op, "kv_heads", groups, f"{heads}, since there are adapter terms")
        if scale is not None and not (np.isfinite(scale) and scale > 0):
            refuse(op, "scale", scale, "a positive finite number")
        if bias is not None:
            want_array(op, "bias", bias, heads)
            if bias.shape[1] % 2 != 1:
                refuse(op, "bias", describe(bias), "an odd number of columns, 2R + 1")
        want_array(op, "k", k, width=width // heads * groups)
        want_array(op, "v", v, len(k), k.shape[1])
        want_segments(op, "segments", segments, rows)
        want_segments(op, "kv_segments", kv, len(k))
        if out is not None:
            want_array(op, "out", out, rows, width)
        if adapters is not None:
            _want_terms(op, adapters, q, segments)

        result = np.zeros((rows, width), np.float32)
        for sample in range(segments.num_samples):
            mine, theirs = _sample_rows(segments, sample), _sample_rows(kv, sample)
            added = _added(len(mine), len(theirs), causal, bias)
            result[mine] = _softmax_attention(q[mine], k[theirs], v[theirs], heads, scale, groups, added)
        if adapters is not None:
            _add_terms(adapters, q, segments, heads, result, scale)
        if out is None:
            return result
        out[:] = result
        return out


def _add_terms(
    terms: AdapterTerms, q: Float32, segments: Segments, heads: int, result: Float32, scale: float | None
) -> None:
    queries = q if terms.queries is None else terms.queries
    total = result if terms.out is None else terms.out
    if terms.out is not None:
        for j in terms.segments:
            terms.out[segments.offsets[j] : segments.offsets[j + 1]] = 0
    for m, j in enumerate(terms.segments):
        mine = slice(int(segments.offsets[j]), int(segments.offsets[j + 1]))
        used: Int32 = terms.rows[terms.offsets[m] : terms.offsets[m + 1]]
        if len(used):
            o = _softmax_attention(queries[mine], terms.keys[used], terms.values[used], heads, scale)
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
