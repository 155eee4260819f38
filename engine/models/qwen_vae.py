"""Compute the autoencoder of Qwen-Image (diffusers' `AutoencoderKLQwenImage`) on pictures: ragged, channels last.

Source: Wan (2503.20314), whose autoencoder of video it goes on from; on one frame it is one of pictures with RMS norms
over channels. A test compares it with diffusers. Latents here are the autoencoder's own z; a diffusion model sees
(z - latents_mean) / latents_std.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from ...kernels.ops import Ops
from ...kernels.segments import Int32
from ..weights.qwen_vae import Attention, Half, QwenVaeConfig, QwenVaeWeights, Resnet, load_qwen_vae

__all__ = ["QwenVaeConfig", "QwenVaeWeights", "decode", "encode", "load_qwen_vae"]

EPS: Final = 1e-24  # the original divides by the plain length, which this leaves as it is


def decode(ops: Ops[Any, Any], weights: QwenVaeWeights, latents: Any, grids: Int32, *, wrap: bool = False) -> Any:
    """Turn latents into pictures.

    Args:
        latents: compute [P, z_dim], the images' z one after another, row-major.
        grids: int32 [B, 2], height and width of each image's latents.
        wrap: every side of a picture goes on at the opposite one.

    Returns:
        float32 [P * factor^2, input_channels], about -1..1; sides are the latents' times `config.factor`.
    """
    half = weights.decoder
    x = ops.conv2d(ops.conv2d(latents, half.quant, grids), half.conv_in, grids, wrap=wrap)
    x = _middle(ops, half, x, grids, wrap)
    for level in half.levels:
        for resnet in level.resnets:
            x = _resnet(ops, resnet, x, grids, wrap)
        if level.resample is not None:
            x = ops.upsample(x, level.resample, grids, wrap=wrap)
            grids = grids * np.int32(2)
    return ops.conv2d(_norm(ops, half.norm_out, x), half.conv_out, grids, dtype="float32", wrap=wrap)


def encode(ops: Ops[Any, Any], weights: QwenVaeWeights, pixels: Any, grids: Int32) -> Any:
    """Turn pictures into the moments of their latents.

    Args:
        pixels: compute [P, input_channels], about -1..1, the images one after another, row-major.
        grids: int32 [B, 2], height and width of each image, multiples of `config.factor`.

    Returns:
        float32 [P / factor^2, 2 * z_dim]: mean, then log variance (diffusers clamps that to -30..20).

    Raises:
        ValueError: a side is no multiple of `config.factor`.
    """
    half = weights.encoder
    if (grids % weights.config.factor).any():
        raise ValueError(f"encode: grids: got {grids.tolist()}, want multiples of {weights.config.factor}")
    x = ops.conv2d(pixels, half.conv_in, grids)
    for level in half.levels:
        for resnet in level.resnets:
            x = _resnet(ops, resnet, x, grids)
        if level.resample is not None:
            x = ops.downsample(x, level.resample, grids)
            grids = grids // np.int32(2)
    x = _middle(ops, half, x, grids)
    x = ops.conv2d(_norm(ops, half.norm_out, x), half.conv_out, grids)
    return ops.conv2d(x, half.quant, grids, dtype="float32")


def _middle(ops: Ops[Any, Any], half: Half, x: Any, grids: Int32, wrap: bool = False) -> Any:
    first, attention, second = half.middle
    x = _attention(ops, attention, _resnet(ops, first, x, grids, wrap), grids)
    return _resnet(ops, second, x, grids, wrap)


def _resnet(ops: Ops[Any, Any], block: Resnet, x: Any, grids: Int32, wrap: bool = False) -> Any:
    """Return shortcut(x) + conv2(silu(norm2(conv1(silu(norm1(x))))))."""
    hidden = ops.conv2d(_norm(ops, block.norm1, x), block.conv1, grids, wrap=wrap)
    residual = x if block.shortcut is None else ops.conv2d(x, block.shortcut, grids)
    return ops.conv2d(_norm(ops, block.norm2, hidden), block.conv2, grids, residual=residual, wrap=wrap)


def _attention(ops: Ops[Any, Any], block: Attention, x: Any, grids: Int32) -> Any:
    """Return x + out(attention(norm(x))), one head, each image over its own pixels."""
    qkv = ops.linear(ops.norm(x, block.norm, kind="rms", eps=EPS), block.qkv)
    segments = ops.segments([height * width for height, width in grids.tolist()])
    q, k, v = (ops.columns(qkv, i * block.width, (i + 1) * block.width) for i in range(3))
    return ops.conv2d(ops.attention(q, k, v, segments, 1), block.out, grids, residual=x)


def _norm(ops: Ops[Any, Any], weight: Any, x: Any) -> Any:
    """Return silu(norm(x))."""
    return ops.cast(ops.norm(x, weight, kind="rms", eps=EPS), activation="silu")
