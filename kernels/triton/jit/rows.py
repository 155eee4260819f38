"""Convert, add, look up and check rows."""

from __future__ import annotations

import triton
import triton.language as tl

from .numbers import activate, narrow, widen


@triton.jit(do_not_specialize=["rows"])
def cast(x, out, rows, width, stride_x, stride_out, ACTIVATION: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    """Write activation(x) in the dtype of `out`, a BM x BN tile."""
    m = (tl.program_id(0) * BM + tl.arange(0, BM)).to(tl.int64)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    kept = (m[:, None] < rows) & (n[None, :] < width)
    v = tl.load(x + m[:, None] * stride_x + n[None, :], mask=kept, other=0.0)
    if ACTIVATION == "none":
        if x.dtype.element_ty == out.dtype.element_ty:  # a copy of the bits
            tl.store(out + m[:, None] * stride_out + n[None, :], v, mask=kept)
            return
    v = narrow(activate(widen(v), ACTIVATION), out.dtype.element_ty)
    tl.store(out + m[:, None] * stride_out + n[None, :], v, mask=kept)


@triton.jit(do_not_specialize=["rows", "chosen"])
def add(
    x,
    y,
    tiles,
    offsets,
    only,
    gate,
    owners,
    rows,
    chosen,
    width,
    stride_x,
    stride_y,
    stride_gate,
    ONLY: tl.constexpr,
    GATED: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
):
    """Add a BM x BN tile of y to x, with GATED of gate[owner] * y.

    With ONLY, tiles are of segments, of which those in `only` [chosen] are touched.
    """
    start = tl.program_id(0) * BM
    stop = rows
    if ONLY:
        segment = tl.load(tiles + 2 * tl.program_id(0))
        if segment < 0:
            return
        found = 0
        for i in range(chosen):
            found += (tl.load(only + i) == segment).to(tl.int32)
        if found == 0:
            return
        start = tl.load(tiles + 2 * tl.program_id(0) + 1)
        stop = tl.load(offsets + segment + 1)
    m = (start + tl.arange(0, BM)).to(tl.int64)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    kept = (m[:, None] < stop) & (n[None, :] < width)
    at = x + m[:, None] * stride_x + n[None, :]
    more = widen(tl.load(y + m[:, None] * stride_y + n[None, :], mask=kept, other=0.0))
    if GATED:
        owner = tl.load(owners + m, mask=m < stop, other=0).to(tl.int64)
        more = tl.load(gate + owner[:, None] * stride_gate + n[None, :], mask=kept, other=0.0) * more
    tl.store(at, tl.load(at, mask=kept, other=0.0) + more, mask=kept)


@triton.jit(do_not_specialize=["rows"])
def gated(
    gate,
    value,
    out,
    rows,
    width,
    stride_gate,
    stride_value,
    stride_out,
    ACTIVATION: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
):
    """Write activation(gate) * value, a BM x BN tile; `out` may be one of the two."""
    m = (tl.program_id(0) * BM + tl.arange(0, BM)).to(tl.int64)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    kept = (m[:, None] < rows) & (n[None, :] < width)
    factor = activate(widen(tl.load(gate + m[:, None] * stride_gate + n[None, :], mask=kept, other=0.0)), ACTIVATION)
    v = factor * widen(tl.load(value + m[:, None] * stride_value + n[None, :], mask=kept, other=0.0))
    tl.store(out + m[:, None] * stride_out + n[None, :], narrow(v, out.dtype.element_ty), mask=kept)


@triton.jit
def embed(indices, table, out, width, stride_table, stride_out, MORE: tl.constexpr, BN: tl.constexpr):
    """Write a row of the table, float32, into a row of `out`; with MORE add it to what is there."""
    row = tl.program_id(0).to(tl.int64)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    inside = n < width
    found = tl.load(indices + row).to(tl.int64)
    v = widen(tl.load(table + found * stride_table + n, mask=inside, other=0.0))
    at = out + row * stride_out + n
    if MORE:
        v = tl.load(at, mask=inside, other=0.0) + v
    tl.store(at, v, mask=inside)


@triton.jit
def timestep_embedding(timesteps, frequencies, out, half, stride_out, BLOCK: tl.constexpr):
    """Write [cos(t f), sin(t f)] of one timestep."""
    row = tl.program_id(0).to(tl.int64)
    i = tl.arange(0, BLOCK)
    inside = i < half
    angle = tl.load(timesteps + row) * tl.load(frequencies + i, mask=inside, other=0.0)
    at = out + row * stride_out + i
    tl.store(at, narrow(tl.cos(angle), out.dtype.element_ty), mask=inside)
    tl.store(at + half, narrow(tl.sin(angle), out.dtype.element_ty), mask=inside)


@triton.jit
def finite(x, offsets, out, width, stride_x, stride_out, BM: tl.constexpr, BN: tl.constexpr):
    """Write 1 for a segment all of whose numbers are finite, else 0."""
    segment = tl.program_id(0)
    start = tl.load(offsets + segment)
    stop = tl.load(offsets + segment + 1)
    wrong = tl.zeros((BM, BN), tl.int32)
    for top in range(start, stop, BM):
        m = (top + tl.arange(0, BM)).to(tl.int64)
        for left in range(0, width, BN):
            n = left + tl.arange(0, BN)
            kept = (m[:, None] < stop) & (n[None, :] < width)
            v = widen(tl.load(x + m[:, None] * stride_x + n[None, :], mask=kept, other=0.0))
            wrong = wrong | (tl.abs(v) < float("inf")).to(tl.int32) ^ 1  # a NaN compares as false
    flag = tl.where(tl.max(tl.max(wrong, 1), 0) == 0, 1.0, 0.0)
    tl.store(out + segment.to(tl.int64) * stride_out, flag)
