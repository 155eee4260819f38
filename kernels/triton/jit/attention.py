"""Attend over ragged rows, with adapter terms in the same pass over the queries."""

from __future__ import annotations

import triton
import triton.language as tl

from .numbers import dot, narrow, part


@part
def _absorb(
    queries,
    keys,
    values,
    fit,
    total,
    mass,
    top,
    scale,
    i,
    j,
    bias,
    reach,
    MASKED: tl.constexpr,
    CAUSAL: tl.constexpr,
    BIAS: tl.constexpr,
):
    """Take one block of keys into an online softmax (1805.02867).

    queries [BM, E], keys [E, BN], values [BN, E]; `fit` [BN] says which keys exist. i [BM] and j [BN] are the places of
    rows and keys in their sample, for CAUSAL and for BIAS, whose row of 2 * reach + 1 numbers is at `bias`. Returns
    total [BM, E], mass and top [BM]: the weighted sum of values, the sum of weights and the largest score so far, in
    powers of two.
    """
    scores = dot(queries, keys, tl.zeros((queries.shape[0], keys.shape[1]), tl.float32)) * scale
    if BIAS:
        apart = tl.minimum(tl.maximum(j[None, :] - i[:, None], -reach), reach) + reach
        scores += 1.4426950408889634 * tl.load(bias + apart)
    if MASKED:
        scores = tl.where(fit[None, :], scores, float("-inf"))
    if CAUSAL:
        scores = tl.where(j[None, :] <= i[:, None], scores, float("-inf"))
    higher = tl.maximum(top, tl.max(scores, 1))
    base = tl.where(higher == float("-inf"), 0.0, higher)  # a row whose scores are all -inf so far
    weights = tl.exp2(scores - base[:, None])
    faded = tl.exp2(top - base)
    mass = mass * faded + tl.sum(weights, 1)
    total = dot(narrow(weights, values.dtype), values, total * faded[:, None])
    return total, mass, higher


@triton.jit(do_not_specialize=["kv_samples"])
def attention(
    q,
    k,
    v,
    out,
    stride_q,
    stride_k,
    stride_v,
    stride_out,
    bias,
    stride_bias,
    reach,
    tiles,
    offsets,
    owners,
    places,
    kv_first,
    kv_ranges,
    kv_samples,
    keys,
    values,
    queries,
    terms_out,
    stride_keys,
    stride_values,
    stride_queries,
    stride_terms,
    term_first,
    term_order,
    term_offsets,
    term_rows,
    term_weights,
    scale,
    GROUP: tl.constexpr,
    E: tl.constexpr,
    BE: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BA: tl.constexpr,
    CAUSAL: tl.constexpr,
    BIAS: tl.constexpr,
    TERMS: tl.constexpr,
    OWN_QUERIES: tl.constexpr,
    APART: tl.constexpr,
):
    """Compute BM rows of one segment, for one head.

    A sample's keys are taken segment by segment in blocks of BN from each segment's start, and an adapter's in blocks
    of BA: the sums of a row have one order, whatever stands beside it. `scale` is in powers of two: log2(e) / sqrt(E).

    tiles int32 [., 2]: segment (-1: nothing to do) and first row. places int32 [N]: how many rows of its sample stand
    before a segment. kv_ranges int32 [., 3]: first and last row of each kv segment and how many stand before it, those
    of sample s from kv_first[s] to kv_first[s + 1]. GROUP heads read one head of k and v. term_order: the terms of
    segment j stand from term_first[j] to term_first[j + 1].
    """
    segment = tl.load(tiles + 2 * tl.program_id(0))
    if segment < 0:
        return
    m = tl.load(tiles + 2 * tl.program_id(0) + 1) + tl.arange(0, BM)
    i = m - tl.load(offsets + segment) + tl.load(places + segment)
    live = m < tl.load(offsets + segment + 1)
    m = m.to(tl.int64)
    column = tl.program_id(1) * E + tl.arange(0, BE)
    kv_column = tl.program_id(1) // GROUP * E + tl.arange(0, BE)
    inside = tl.arange(0, BE) < E
    bias_at = bias
    if BIAS:
        bias_at = bias + tl.program_id(1) * stride_bias
    mine = live[:, None] & inside[None, :]
    own = tl.load(q + m[:, None] * stride_q + column[None, :], mask=mine, other=0.0)

    total = tl.zeros((BM, BE), tl.float32)
    mass = tl.zeros((BM,), tl.float32)
    top = tl.full((BM,), float("-inf"), tl.float32)
    block = tl.arange(0, BN)
    count = 0
    owner = tl.load(owners + segment)
    known = owner < kv_samples  # the samples beyond have no keys
    last_piece = tl.load(kv_first + owner + 1, mask=known, other=0)
    for piece in range(tl.load(kv_first + owner, mask=known, other=0), last_piece):
        start = tl.load(kv_ranges + 3 * piece)
        stop = tl.load(kv_ranges + 3 * piece + 1)
        before = tl.load(kv_ranges + 3 * piece + 2) - start
        count += stop - start
        whole = start + (stop - start) // BN * BN
        for at in range(start, whole, BN):
            n = (at + block).to(tl.int64)
            if E == BE:
                ks = tl.load(k + n[None, :] * stride_k + kv_column[:, None])
                vs = tl.load(v + n[:, None] * stride_v + kv_column[None, :])
            else:
                ks = tl.load(k + n[None, :] * stride_k + kv_column[:, None], mask=inside[:, None], other=0.0)
                vs = tl.load(v + n[:, None] * stride_v + kv_column[None, :], mask=inside[None, :], other=0.0)
            total, mass, top = _absorb(
                own,
                ks,
                vs,
                block >= 0,
                total,
                mass,
                top,
                scale,
                i,
                before + at + block,
                bias_at,
                reach,
                False,
                CAUSAL,
                BIAS,
            )
        if whole < stop:
            n = (whole + block).to(tl.int64)
            fit = n < stop
            ks = tl.load(k + n[None, :] * stride_k + kv_column[:, None], mask=fit[None, :] & inside[:, None], other=0.0)
            vs = tl.load(v + n[:, None] * stride_v + kv_column[None, :], mask=fit[:, None] & inside[None, :], other=0.0)
            j = before + whole + block
            total, mass, top = _absorb(
                own, ks, vs, fit, total, mass, top, scale, i, j, bias_at, reach, True, CAUSAL, BIAS
            )
    y = tl.where(count > 0, total / mass[:, None], 0.0)
    out_at = out + m[:, None] * stride_out + column[None, :]

    if TERMS:
        first = tl.load(term_first + segment)
        last = tl.load(term_first + segment + 1)
        if APART:  # stored before the terms, so that the registers are free
            tl.store(out_at, narrow(y, out.dtype.element_ty), mask=mine)
            y = tl.zeros((BM, BE), tl.float32)
        if OWN_QUERIES:
            touched = mine & (last > first)
            own = tl.load(queries + m[:, None] * stride_queries + column[None, :], mask=touched, other=0.0)
        few = tl.arange(0, BA)
        for index in range(first, last):
            term = tl.load(term_order + index)
            start = tl.load(term_offsets + term)
            stop = tl.load(term_offsets + term + 1)
            total = tl.zeros((BM, BE), tl.float32)
            mass = tl.zeros((BM,), tl.float32)
            top = tl.full((BM,), float("-inf"), tl.float32)
            for at in range(start, stop, BA):
                fit = at + few < stop
                n = tl.load(term_rows + at + few, mask=fit, other=0).to(tl.int64)
                in_k, in_v = fit[None, :] & inside[:, None], fit[:, None] & inside[None, :]
                ks = tl.load(keys + n[None, :] * stride_keys + column[:, None], mask=in_k, other=0.0)
                vs = tl.load(values + n[:, None] * stride_values + column[None, :], mask=in_v, other=0.0)
                total, mass, top = _absorb(
                    own, ks, vs, fit, total, mass, top, scale, i, few, bias, reach, True, False, False
                )
            y += tl.where(stop > start, tl.load(term_weights + term) * (total / mass[:, None]), 0.0)
        if APART:
            apart_at = terms_out + m[:, None] * stride_terms + column[None, :]
            tl.store(apart_at, narrow(y, terms_out.dtype.element_ty), mask=mine & (last > first))
        else:
            tl.store(out_at, narrow(y, out.dtype.element_ty), mask=mine)
    else:
        tl.store(out_at, narrow(y, out.dtype.element_ty), mask=mine)
