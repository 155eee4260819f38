"""Norms over the width of a row, with adaLN or an affine map, and of heads, with rotary embedding."""

from __future__ import annotations

import triton
import triton.language as tl

from .numbers import narrow, part, widen


@triton.jit
def norm(
    x,
    out,
    weight,
    scale,
    shift,
    owners,
    width,
    stride_x,
    stride_out,
    stride_scale,
    stride_shift,
    eps,
    LAYER: tl.constexpr,
    WEIGHT: tl.constexpr,
    SCALE: tl.constexpr,
    SHIFT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Compute one row: norm(x) * weight * (1 + scale[owner]) + shift[owner], or the parts of it that there are."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < width
    v = widen(tl.load(x + row * stride_x + column, mask=inside, other=0.0))
    if LAYER:
        v = tl.where(inside, v - tl.sum(v, 0) / width, 0.0)
    v = v / tl.sqrt_rn(tl.sum(v * v, 0) / width + eps)
    if WEIGHT:
        v = v * tl.load(weight + column, mask=inside, other=0.0)
    owner = row * 0  # of a plain norm
    if SCALE:
        owner = tl.load(owners + row).to(tl.int64)
        v = v * (1.0 + tl.load(scale + owner * stride_scale + column, mask=inside, other=0.0))
    if SHIFT:
        v = v + tl.load(shift + owner * stride_shift + column, mask=inside, other=0.0)
    tl.store(out + row * stride_out + column, narrow(v, out.dtype.element_ty), mask=inside)


@part
def _normed_heads(at, weight, inside, eps, E: tl.constexpr, BE: tl.constexpr, NORM: tl.constexpr):
    """Return the heads at `at`, float32 [BH, BE], RMS-normed if NORM says so."""
    v = widen(tl.load(at, mask=inside, other=0.0))
    if NORM:
        e = tl.arange(0, BE)
        v = v / tl.sqrt_rn(tl.sum(v * v, 1) / E + eps)[:, None]
        v = v * tl.load(weight + e, mask=e < E, other=0.0)[None, :]
    return v


@part
def _rotated(v, c, s, BH: tl.constexpr, BE: tl.constexpr):
    """Return v [BH, BE] with every pair of columns turned by c, s [1, BE / 2]."""
    even, odd = tl.split(tl.reshape(v, (BH, BE // 2, 2)))
    return tl.reshape(tl.join(even * c - odd * s, odd * c + even * s), (BH, BE))


@triton.jit
def qk_norm_rope(
    qkv,
    q_weight,
    k_weight,
    cos,
    sin,
    plain_q,
    stride_qkv,
    stride_cos,
    stride_sin,
    stride_plain,
    eps,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    E: tl.constexpr,
    BH: tl.constexpr,
    BG: tl.constexpr,
    BE: tl.constexpr,
    Q_NORM: tl.constexpr,
    K_NORM: tl.constexpr,
    ROPE: tl.constexpr,
    PLAIN: tl.constexpr,
):
    """Norm and rotate all heads of one row's q and k, in place; with PLAIN write q as it is before the rotation."""
    row = tl.program_id(0).to(tl.int64)
    head = tl.arange(0, BH)
    e = tl.arange(0, BE)
    inside = (head[:, None] < HEADS) & (e[None, :] < E)
    place = head[:, None] * E + e[None, :]
    q_at = qkv + row * stride_qkv + place
    group = tl.arange(0, BG)
    k_inside = (group[:, None] < KV_HEADS) & (e[None, :] < E)
    k_at = qkv + row * stride_qkv + HEADS * E + group[:, None] * E + e[None, :]
    q = _normed_heads(q_at, q_weight, inside, eps, E, BE, Q_NORM)
    k = _normed_heads(k_at, k_weight, k_inside, eps, E, BE, K_NORM)
    if PLAIN:
        tl.store(plain_q + row * stride_plain + place, narrow(q, plain_q.dtype.element_ty), mask=inside)
    if ROPE:
        pair = tl.arange(0, BE // 2)
        c = tl.load(cos + row * stride_cos + pair, mask=pair < E // 2, other=0.0)[None, :]
        s = tl.load(sin + row * stride_sin + pair, mask=pair < E // 2, other=0.0)[None, :]
        q = _rotated(q, c, s, BH, BE)
        k = _rotated(k, c, s, BG, BE)
    tl.store(q_at, narrow(q, qkv.dtype.element_ty), mask=inside)
    tl.store(k_at, narrow(k, qkv.dtype.element_ty), mask=k_inside)
