"""Compute the KL autoencoder of latent diffusion models (diffusers' `AutoencoderKL`): ragged images, channels last.

Source: 2112.10752; group norms (1803.08494) with eps 1e-6 throughout. A test compares it with diffusers. Latents here
are the autoencoder's own z; a diffusion model sees (z - shift_factor) * scaling_factor.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...kernels.ops import Ops
from ...kernels.segments import Int32
from ..weights.reader import Norm
from ..weights.vae import (
    Attention,
    AutoencoderConfig,
    AutoencoderWeights,
    Half,
    Resnet,
    load_autoencoder,
)

__all__ = ["AutoencoderConfig", "AutoencoderWeights", "decode", "encode", "load_autoencoder"]


def decode(ops: Ops[Any, Any], weights: AutoencoderWeights, latents: Any, grids: Int32, *, wrap: bool = False) -> Any:
    """Turn latents into pictures.

    Args:
        latents: compute [P, latent channels], the images' z one after another, row-major.
        grids: int32 [B, 2], height and width of each image's latents.
        wrap: every side of a picture goes on at the opposite one.

    Returns:
        float32 [P * factor^2, out channels], about -1..1; sides are the latents' times `config.factor`.
    """
    half, groups = weights.decoder, weights.config.norm_num_groups
    x = latents if half.quant is None else ops.conv2d(latents, half.quant, grids)
    x = ops.conv2d(x, half.conv_in, grids, wrap=wrap)
    x = _middle(ops, half, x, grids, groups, wrap)
    for level in half.levels:
        for resnet in level.resnets:
            x = _resnet(ops, resnet, x, grids, groups, wrap)
        if level.resample is not None:
            x = ops.upsample(x, level.resample, grids, wrap=wrap)
            grids = grids * np.int32(2)
    x = _norm(ops, half.norm_out, x, grids, groups)
    return ops.conv2d(x, half.conv_out, grids, dtype="float32", wrap=wrap)


def encode(ops: Ops[Any, Any], weights: AutoencoderWeights, pixels: Any, grids: Int32) -> Any:
    """Turn pictures into the moments of their latents.

    Args:
        pixels: compute [P, in channels], about -1..1, the images one after another, row-major.
        grids: int32 [B, 2], height and width of each image, multiples of `config.factor`.

    Returns:
        float32 [P / factor^2, 2 * latent channels]: mean, then log variance (diffusers clamps that to -30..20).

    Raises:
        ValueError: a side is no multiple of `config.factor`.
    """
    half, groups = weights.encoder, weights.config.norm_num_groups
    if (grids % weights.config.factor).any():
        raise ValueError(f"encode: grids: got {grids.tolist()}, want multiples of {weights.config.factor}")
    x = ops.conv2d(pixels, half.conv_in, grids)
    for level in half.levels:
        for resnet in level.resnets:
            x = _resnet(ops, resnet, x, grids, groups)
        if level.resample is not None:
            x = ops.downsample(x, level.resample, grids)
            grids = grids // np.int32(2)
    x = _middle(ops, half, x, grids, groups)
    x = _norm(ops, half.norm_out, x, grids, groups)
    if half.quant is None:
        return ops.conv2d(x, half.conv_out, grids, dtype="float32")
    return ops.conv2d(ops.conv2d(x, half.conv_out, grids), half.quant, grids, dtype="float32")


def _middle(ops: Ops[Any, Any], half: Half, x: Any, grids: Int32, groups: int, wrap: bool = False) -> Any:
    first, attention, second = half.middle
    x = _resnet(ops, first, x, grids, groups, wrap)
    if attention is not None:
        x = _attention(ops, attention, x, grids, groups)
    return _resnet(ops, second, x, grids, groups, wrap)


def _resnet(ops: Ops[Any, Any], block: Resnet, x: Any, grids: Int32, groups: int, wrap: bool = False) -> Any:
    """Return shortcut(x) + conv2(silu(norm2(conv1(silu(norm1(x))))))."""
    hidden = ops.conv2d(_norm(ops, block.norm1, x, grids, groups), block.conv1, grids, wrap=wrap)
    residual = x if block.shortcut is None else ops.conv2d(x, block.shortcut, grids)
    normed = _norm(ops, block.norm2, hidden, grids, groups)
    return ops.conv2d(normed, block.conv2, grids, residual=residual, wrap=wrap)


def _attention(ops: Ops[Any, Any], block: Attention, x: Any, grids: Int32, groups: int) -> Any:
    """Return x + out(attention(norm(x))), one head, each image over its own pixels."""
    normed = ops.group_norm_silu(x, block.norm.weight, block.norm.bias, grids, groups, silu=False)
    qkv = ops.linear(normed, block.qkv)
    segments = ops.segments([height * width for height, width in grids.tolist()])
    q, k, v = (ops.columns(qkv, i * block.width, (i + 1) * block.width) for i in range(3))
    return ops.conv2d(ops.attention(q, k, v, segments, 1), block.out, grids, residual=x)


def _norm(ops: Ops[Any, Any], norm: Norm, x: Any, grids: Int32, groups: int) -> Any:
    return ops.group_norm_silu(x, norm.weight, norm.bias, grids, groups)
