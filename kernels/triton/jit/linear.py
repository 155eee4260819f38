"""Multiply rows by a packed weight, with bias, activation, gate and residual in the same pass."""

from __future__ import annotations

import triton
import triton.language as tl

from .numbers import activate, dot, narrow, widen


@triton.jit(do_not_specialize=["rows"])
def linear(
    x,
    weight,
    bias,
    out,
    gate,
    owners,
    row_scales,
    scales,
    rows,
    width,
    depth,
    stride_x,
    stride_weight,
    stride_out,
    stride_gate,
    ACTIVATION: tl.constexpr,
    PAIRED: tl.constexpr,
    RESIDUAL: tl.constexpr,
    GATED: tl.constexpr,
    SCALED: tl.constexpr,
    EVEN: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
    GROUP: tl.constexpr,
):
    """Compute one BM x BN tile of the result, the sum over K in steps of BK from the first on.

    x [rows, depth]; weight [width, depth], with PAIRED twice that width, the gates' rows first; bias float32 alike;
    out [rows, width], which RESIDUAL reads as well; gate float32 [S, width], its row of each row by `owners`.

    With SCALED x and weight are float8, and a sum is multiplied by its row's scale, row_scales float32 [rows], and its
    column's, scales float32, as many as weight has rows.
    """
    pid = tl.program_id(0)
    tiles_m, tiles_n = tl.cdiv(rows, BM), tl.cdiv(width, BN)
    # Programs that run together share rows and columns, so that both stay in the cache.
    first = pid // (GROUP * tiles_n) * GROUP
    size = tl.minimum(tiles_m - first, GROUP)
    within = pid % (GROUP * tiles_n)
    m = (first + within % size) * BM + tl.arange(0, BM)
    n = within // size * BN + tl.arange(0, BN)
    # Rows and columns beyond the end repeat the last, and are not stored: no mask in the loop.
    mine = tl.minimum(m, rows - 1).to(tl.int64)
    column = tl.minimum(n, width - 1)
    k = tl.arange(0, BK)
    x_at = x + mine[:, None] * stride_x + k[None, :]
    weight_at = weight + column.to(tl.int64)[None, :] * stride_weight + k[:, None]
    half = width.to(tl.int64) * stride_weight

    total = tl.zeros((BM, BN), tl.float32)
    if PAIRED:
        other = tl.zeros((BM, BN), tl.float32)
    for start in range(0, depth, BK):
        if EVEN:
            a = tl.load(x_at + start)
            b = tl.load(weight_at + start)
            total = dot(a, b, total)
            if PAIRED:
                other = dot(a, tl.load(weight_at + half + start), other)
        else:
            left = depth - start
            a = tl.load(x_at + start, mask=k[None, :] < left, other=0.0)
            b = tl.load(weight_at + start, mask=k[:, None] < left, other=0.0)
            total = dot(a, b, total)
            if PAIRED:
                c = tl.load(weight_at + half + start, mask=k[:, None] < left, other=0.0)
                other = dot(a, c, other)

    if SCALED:
        by_row = tl.load(row_scales + mine)[:, None]
        total = total * by_row * tl.load(scales + column)[None, :]
        if PAIRED:
            other = other * by_row * tl.load(scales + width + column)[None, :]
    y = activate(total + tl.load(bias + column)[None, :], ACTIVATION)
    if PAIRED:
        y = y * (other + tl.load(bias + width + column)[None, :])
    out_at = out + mine[:, None] * stride_out + n[None, :]
    kept = (m[:, None] < rows) & (n[None, :] < width)
    if GATED:
        owner = tl.load(owners + mine).to(tl.int64)
        y = y * tl.load(gate + owner[:, None] * stride_gate + column[None, :])
        tl.debug_barrier()  # the residual is loaded after the gate is used: registers for both at once would spill
    if RESIDUAL:
        y = tl.load(out_at, mask=kept, other=0.0) + y
    tl.store(out_at, narrow(y, out.dtype.element_ty), mask=kept)


@triton.jit
def to_float8(x, out, scales, width, stride_x, stride_out, BLOCK: tl.constexpr):
    """Divide one row of x by its scale, its largest size / 448, and round it to float8. A row of zeros has scale 1."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < width
    v = widen(tl.load(x + row * stride_x + column, mask=inside, other=0.0))
    largest = tl.max(tl.where(v == v, tl.abs(v), float("inf")), 0)  # NaN in a row makes all of its results NaN
    scale = tl.where(largest == 0.0, 1.0, largest / 448.0)
    tl.store(out + row * stride_out + column, narrow(v / scale, out.dtype.element_ty), mask=inside)
    tl.store(scales + row, scale)
