"""Move latents: guidance with one update of the solver, and the mixture that holds what must stay."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def solver_step(
    latents,
    velocity,
    base,
    previous,
    keep,
    stride_latents,
    stride_velocity,
    stride_base,
    stride_previous,
    stride_keep,
    tiles,
    offsets,
    origins,
    term_offsets,
    term_rows,
    term_weights,
    a,
    b,
    width,
    PREVIOUS: tl.constexpr,
    KEEP: tl.constexpr,
    BM: tl.constexpr,
    BC: tl.constexpr,
):
    """Update BM rows of one image, with any number of guidance terms. All arrays are float32."""
    image = tl.load(tiles + 2 * tl.program_id(0))
    if image < 0:
        return
    m = (tl.load(tiles + 2 * tl.program_id(0) + 1) + tl.arange(0, BM)).to(tl.int64)
    top = tl.load(offsets + image)
    r = m - top
    n = tl.program_id(1) * BC + tl.arange(0, BC)
    kept = (m[:, None] < tl.load(offsets + image + 1)) & (n[None, :] < width)
    place = velocity + r[:, None] * stride_velocity + n[None, :]
    origin = tl.load(place + tl.load(origins + image).to(tl.int64) * stride_velocity, mask=kept, other=0.0)
    v = origin
    for term in range(tl.load(term_offsets + image), tl.load(term_offsets + image + 1)):
        start = tl.load(term_rows + term).to(tl.int64)
        v += tl.load(term_weights + term) * (tl.load(place + start * stride_velocity, mask=kept, other=0.0) - origin)
    if KEEP:
        tl.store(keep + m[:, None] * stride_keep + n[None, :], v, mask=kept)
    x = tl.load(base + m[:, None] * stride_base + n[None, :], mask=kept, other=0.0) + tl.load(a + image) * v
    if PREVIOUS:
        factor = tl.load(b + image)
        if factor != 0.0:  # else `previous` may hold anything
            x += factor * tl.load(previous + m[:, None] * stride_previous + n[None, :], mask=kept, other=0.0)
    tl.store(latents + m[:, None] * stride_latents + n[None, :], x, mask=kept)


@triton.jit
def blend(
    x,
    y,
    z,
    weights,
    stride_x,
    stride_y,
    stride_z,
    stride_weights,
    tiles,
    offsets,
    a,
    b,
    width,
    BM: tl.constexpr,
    BC: tl.constexpr,
):
    """Write w x + (1 - w) (a y + b z) into BM rows of x, of one image. All arrays are float32."""
    image = tl.load(tiles + 2 * tl.program_id(0))
    if image < 0:
        return
    m = (tl.load(tiles + 2 * tl.program_id(0) + 1) + tl.arange(0, BM)).to(tl.int64)
    n = tl.program_id(1) * BC + tl.arange(0, BC)
    stop = tl.load(offsets + image + 1)
    kept = (m[:, None] < stop) & (n[None, :] < width)
    w = tl.load(weights + m * stride_weights, mask=m < stop, other=0.0)[:, None]
    at = x + m[:, None] * stride_x + n[None, :]
    mixture = tl.load(a + image) * tl.load(y + m[:, None] * stride_y + n[None, :], mask=kept, other=0.0)
    mixture += tl.load(b + image) * tl.load(z + m[:, None] * stride_z + n[None, :], mask=kept, other=0.0)
    tl.store(at, w * tl.load(at, mask=kept, other=0.0) + (1.0 - w) * mixture, mask=kept)
