"""Attend over ragged rows, with adapter terms, for the triton backend."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from ..ops import AdapterTerms
from ..segments import Segments
from .arrays import DeviceVector
from .base import Base
from .checks import describe, refuse, want_indices
from .jit import attention as kernels
from .library import attend
from .tiles import attention_tiles, power


@dataclass(frozen=True, eq=False)
class _Call:
    """Checked arguments of `attention`: groups of heads share keys, terms are the adapters' vectors."""

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    segments: Segments
    kv: Segments
    heads: int
    groups: int
    scale: float
    causal: bool
    bias: torch.Tensor | None
    adapters: AdapterTerms | None
    terms: tuple[DeviceVector, DeviceVector, DeviceVector, DeviceVector] | None


class AttentionOps(Base):
    """`attention` of `TritonOps`. `Ops` documents it."""

    def attention(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        segments: Segments,
        heads: int,
        *,
        kv_segments: Segments | None = None,
        adapters: AdapterTerms | None = None,
        out: torch.Tensor | None = None,
        kv_heads: int | None = None,
        scale: float | None = None,
        causal: bool = False,
        bias: torch.Tensor | None = None,
    ) -> torch.Tensor:
        op = "attention"
        kv = segments if kv_segments is None else kv_segments
        self._want(op, "q", q, dtype="compute")
        count, width = q.shape
        if heads < 1 or width % heads or width == 0:
            refuse(op, "q", f"{describe(q)} with {heads} heads", "[Tq, heads * E]")
        groups = heads if kv_heads is None else kv_heads
        if groups < 1 or heads % groups:
            refuse(op, "kv_heads", groups, f"a divisor of the {heads} heads")
        if adapters is not None and len(adapters.segments) and groups != heads:
            refuse(op, "kv_heads", groups, f"{heads}, since there are adapter terms")
        if scale is not None and not (math.isfinite(scale) and scale > 0):
            refuse(op, "scale", scale, "a positive finite number")
        if bias is not None:
            self._want(op, "bias", bias, heads, dtype="float32")
            if bias.shape[1] % 2 != 1:
                refuse(op, "bias", describe(bias), "an odd number of columns, 2R + 1")
        self._want(op, "k", k, width=width // heads * groups, dtype="compute")
        self._want(op, "v", v, len(k), k.shape[1], "compute")
        self._want_segments(op, "segments", segments, count)
        self._want_segments(op, "kv_segments", kv, len(k))
        if out is not None:
            self._want(op, "out", out, count, width, "compute")
        terms = None
        if adapters is not None:
            terms = self._want_terms(op, adapters, q, segments)
            if not len(terms[0]):
                terms = None

        result = self._new(count, width) if out is None else out
        factor = 1 / math.sqrt(width // heads) if scale is None else scale
        call = _Call(q, k, v, segments, kv, heads, groups, factor, causal, bias, adapters, terms)
        if (
            width // heads in self.choices.attention
            and kv is segments
            and groups == heads
            and not causal
            and bias is None
        ):
            self._by_library(call, result)
        else:
            self._attend(call, result)
        return result

    def _by_library(self, call: _Call, result: torch.Tensor) -> None:
        """Attend by torch's kernel, and add the terms by ours."""
        tables = self.tables(call.segments)
        order = tables.by_sample()
        several = tables.num_samples > 1  # one sample's rows stand in order, however its segments lie
        q, k, v = (x.index_select(0, order.order) if several else x for x in (call.q, call.k, call.v))
        made = attend(q, k, v, order.ends, call.heads, call.scale)
        result.copy_(made.index_select(0, order.back) if several else made)
        if call.terms is not None and call.adapters is not None:
            apart = call.adapters.out is not None
            added = self._new(*result.shape)
            self._attend(call, added, keyless=True)
            if not apart:
                result.add_(added)

    def _attend(self, call: _Call, result: torch.Tensor, *, keyless: bool = False) -> None:
        """Attend by our kernel. With `keyless` to the adapters alone: no sample has keys of its own."""
        q, k, v, heads, bias, adapters, terms = (
            call.q, call.k, call.v, call.heads, call.bias, call.adapters, call.terms,
        )  # fmt: skip
        e = q.shape[1] // heads
        sizes = attention_tiles(self.arch, self.compute, e, bias=bias is not None)
        tables, theirs = self.tables(call.segments), self.tables(call.kv)
        tiles = tables.tiles(sizes.m)
        by_segment = None if terms is None else self._term_table(terms[0], len(call.segments))
        if adapters is None or terms is None:
            keys = values = queries = apart = None
        else:
            keys, values, queries, apart = adapters.keys, adapters.values, adapters.queries, adapters.out
        self.launch(
            kernels.attention,
            (len(tiles), heads),
            q,
            k,
            v,
            result,
            q.stride(0),
            k.stride(0),
            v.stride(0),
            result.stride(0),
            bias,
            0 if bias is None else bias.stride(0),
            0 if bias is None else bias.shape[1] // 2,
            tiles.table,
            tables.offsets,
            tables.owners,
            tables.places,
            theirs.kv_first,
            theirs.kv_ranges,
            0 if keyless else theirs.num_samples,
            keys,
            values,
            queries,
            apart,
            *(0 if x is None else x.stride(0) for x in (keys, values, queries, apart)),
            *((None, None) if by_segment is None else (by_segment.first, by_segment.order)),
            *((None, None, None) if terms is None else (part.data for part in terms[1:])),
            math.log2(math.e) * call.scale,
            warps=sizes.warps,
            stages=sizes.stages,
            GROUP=heads // call.groups,
            E=e,
            BE=power(e, 16),
            BM=sizes.m,
            BN=sizes.n,
            BA=sizes.a,
            CAUSAL=call.causal,
            BIAS=bias is not None,
            TERMS=terms is not None,
            OWN_QUERIES=queries is not None,
            APART=apart is not None,
        )

    def _want_terms(
        self, op: str, terms: AdapterTerms, q: torch.Tensor, segments: Segments
    ) -> tuple[DeviceVector, DeviceVector, DeviceVector, DeviceVector]:
        """Return the vectors segments, offsets, rows and weights. Raise ValueError for terms that do not fit."""
        count, width = q.shape
        self._want(op, "adapters.keys", terms.keys, width=width, dtype="compute")
        self._want(op, "adapters.values", terms.values, len(terms.keys), width, "compute")
        where = want_indices(op, "adapters.segments", terms.segments, self.device, len(segments))
        offsets = self._vector(op, "adapters.offsets", terms.offsets, np.int32, len(where) + 1)
        rows = want_indices(op, "adapters.rows", terms.rows, self.device, len(terms.keys))
        weights = self._vector(op, "adapters.weights", terms.weights, np.float32, len(where))
        ends = offsets.host
        if ends[0] != 0 or (np.diff(ends) < 0).any() or ends[-1] != len(rows):
            refuse(op, "adapters.offsets", ends.tolist(), f"0, never falling, ending at {len(rows)}")
        if terms.queries is not None:
            self._want(op, "adapters.queries", terms.queries, count, width, "compute")
        if terms.out is not None:
            self._want(op, "adapters.out", terms.out, count, width, "compute")
        return where, offsets, rows, weights
