"""Convolve and norm images of any sizes: rows are pixels, channels last, one image after another."""

from __future__ import annotations

import triton
import triton.language as tl

from .numbers import activate, dot, narrow, widen


@triton.jit
def conv2d(
    x,
    weight,
    bias,
    residual,
    out,
    tiles,
    offsets,
    images,
    inputs,
    outputs,
    stride_x,
    stride_weight,
    stride_residual,
    stride_out,
    SIDE: tl.constexpr,
    STEP: tl.constexpr,
    PAD: tl.constexpr,
    DOUBLE: tl.constexpr,
    WRAP: tl.constexpr,
    RESIDUAL: tl.constexpr,
    EVEN: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
):
    """Compute BM pixels of one image for BN outputs, the sum tap by tap, and in each tap over BK inputs at a time.

    images int32 [B, 4]: first input row, height, width (of the input), width of the result. weight [SIDE * SIDE *
    outputs, inputs], the taps one after another. DOUBLE: the input is read as if every pixel stood there 2 x 2 times.
    """
    image = tl.load(tiles + 2 * tl.program_id(0))
    if image < 0:
        return
    m = (tl.load(tiles + 2 * tl.program_id(0) + 1) + tl.arange(0, BM)).to(tl.int64)
    pixel = m - tl.load(offsets + image)
    live = m < tl.load(offsets + image + 1)
    start = tl.load(images + 4 * image).to(tl.int64)
    height = tl.load(images + 4 * image + 1)
    width = tl.load(images + 4 * image + 2)
    across = tl.load(images + 4 * image + 3)
    row = (pixel // across).to(tl.int32) * STEP - PAD
    column = (pixel % across).to(tl.int32) * STEP - PAD
    seen_height, seen_width = height, width
    if DOUBLE:
        seen_height, seen_width = 2 * height, 2 * width
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    output = tl.minimum(n, outputs - 1).to(tl.int64)
    k = tl.arange(0, BK)

    total = tl.zeros((BM, BN), tl.float32)
    for tap in range(SIDE * SIDE):
        y = row + tap // SIDE
        z = column + tap % SIDE
        if WRAP:
            y = (y + seen_height) % seen_height
            z = (z + seen_width) % seen_width
        there = live & (y >= 0) & (y < seen_height) & (z >= 0) & (z < seen_width)
        if DOUBLE:
            y, z = y // 2, z // 2
        source = start + y.to(tl.int64) * width + z
        x_at = x + source[:, None] * stride_x + k[None, :]
        weight_at = weight + (tap * outputs + output)[None, :] * stride_weight + k[:, None]
        for at in range(0, inputs, BK):
            if EVEN:
                some = tl.load(x_at + at, mask=there[:, None], other=0.0)
                ours = tl.load(weight_at + at)
            else:
                fit = k < inputs - at
                some = tl.load(x_at + at, mask=there[:, None] & fit[None, :], other=0.0)
                ours = tl.load(weight_at + at, mask=fit[:, None], other=0.0)
            total = dot(some, ours, total)
    y = total + tl.load(bias + output)[None, :]
    kept = live[:, None] & (n[None, :] < outputs)
    if RESIDUAL:
        y += widen(tl.load(residual + m[:, None] * stride_residual + n[None, :], mask=kept, other=0.0))
    tl.store(out + m[:, None] * stride_out + n[None, :], narrow(y, out.dtype.element_ty), mask=kept)


@triton.jit
def channel_moments(x, tiles, offsets, moments, channels, stride_x, stride_moments, BM: tl.constexpr, BC: tl.constexpr):
    """Write mean and sum of squared distances of every channel over the pixels of one tile: [2 * channels]."""
    tile = tl.program_id(0)
    image = tl.load(tiles + 2 * tile)
    if image < 0:
        return
    top = tl.load(tiles + 2 * tile + 1)
    stop = tl.load(offsets + image + 1)
    m = (top + tl.arange(0, BM)).to(tl.int64)
    c = tl.arange(0, BC)
    kept = (m[:, None] < stop) & (c[None, :] < channels)
    v = widen(tl.load(x + m[:, None] * stride_x + c[None, :], mask=kept, other=0.0))
    mean = tl.sum(v, 0) / tl.minimum(stop - top, BM)
    away = tl.where(kept, v - mean[None, :], 0.0)
    at = moments + tile.to(tl.int64) * stride_moments + c
    tl.store(at, mean, mask=c < channels)
    tl.store(at + channels, tl.sum(away * away, 0), mask=c < channels)


@triton.jit
def group_moments(
    moments,
    tile_first,
    offsets,
    norms,
    channels,
    size,
    groups,
    stride_moments,
    eps,
    BM: tl.constexpr,
    BT: tl.constexpr,
    BS: tl.constexpr,
):
    """Join the moments of one image's tiles for one group: its mean and 1 / deviation, float32 [B, groups, 2].

    First the mean of all, then the squares around it (Chan, Golub, LeVeque 1983): no large sums are subtracted.
    """
    image, group = tl.program_id(0), tl.program_id(1)
    start, stop = tl.load(offsets + image), tl.load(offsets + image + 1)
    first, last = tl.load(tile_first + image), tl.load(tile_first + image + 1)
    s = tl.arange(0, BS)
    column = group * size + s
    number = (stop - start).to(tl.float32) * size
    total = tl.zeros((BT, BS), tl.float32)
    for at in range(first, last, BT):
        tile = at + tl.arange(0, BT)
        pixels = tl.minimum(stop - start - (tile - first) * BM, BM).to(tl.float32)
        kept = (tile[:, None] < last) & (s[None, :] < size)
        place = moments + tile.to(tl.int64)[:, None] * stride_moments + column[None, :]
        total += pixels[:, None] * tl.load(place, mask=kept, other=0.0)
    mean = tl.sum(tl.sum(total, 1), 0) / number
    squares = tl.zeros((BT, BS), tl.float32)
    for at in range(first, last, BT):
        tile = at + tl.arange(0, BT)
        pixels = tl.minimum(stop - start - (tile - first) * BM, BM).to(tl.float32)
        kept = (tile[:, None] < last) & (s[None, :] < size)
        place = moments + tile.to(tl.int64)[:, None] * stride_moments + column[None, :]
        away = tl.load(place, mask=kept, other=0.0) - mean
        more = tl.load(place + channels, mask=kept, other=0.0) + pixels[:, None] * away * away
        squares += tl.where(kept, more, 0.0)
    at = norms + 2 * (image * groups + group)
    tl.store(at, mean)
    tl.store(at + 1, 1.0 / tl.sqrt_rn(tl.sum(tl.sum(squares, 1), 0) / number + eps))


@triton.jit
def group_norm_silu(
    x,
    weight,
    bias,
    norms,
    out,
    tiles,
    offsets,
    channels,
    size,
    groups,
    stride_x,
    stride_out,
    ACTIVATION: tl.constexpr,
    BM: tl.constexpr,
    BC: tl.constexpr,
):
    """Norm the pixels of one tile by the moments of their image's groups."""
    image = tl.load(tiles + 2 * tl.program_id(0))
    if image < 0:
        return
    m = (tl.load(tiles + 2 * tl.program_id(0) + 1) + tl.arange(0, BM)).to(tl.int64)
    c = tl.arange(0, BC)
    inside = c < channels
    kept = (m[:, None] < tl.load(offsets + image + 1)) & inside[None, :]
    v = widen(tl.load(x + m[:, None] * stride_x + c[None, :], mask=kept, other=0.0))
    at = norms + 2 * (image * groups + c // size)
    mean = tl.load(at, mask=inside, other=0.0)
    factor = tl.load(at + 1, mask=inside, other=0.0)
    v = (v - mean[None, :]) * factor[None, :]
    v = v * tl.load(weight + c, mask=inside, other=0.0)[None, :] + tl.load(bias + c, mask=inside, other=0.0)[None, :]
    tl.store(
        out + m[:, None] * stride_out + c[None, :], narrow(activate(v, ACTIVATION), out.dtype.element_ty), mask=kept
    )
