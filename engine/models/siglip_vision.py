"""Encode pictures by SigLIP's image encoders, of which InstantX's IP-Adapter of FLUX.1 reads the embedding.

Source: 2303.15343; patches as tokens without a class token, and an attention of one query that pools them. Tests
compare it with transformers' `SiglipVisionModel`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels.ops import Ops
from ..weights.siglip_vision import SiglipVisionConfig, SiglipVisionWeights, load_siglip_vision

__all__ = ["SiglipVisionConfig", "SiglipVisionWeights", "encode", "load_siglip_vision", "normalised"]

Float32 = NDArray[np.float32]


def normalised(pixels: NDArray[np.uint8]) -> Float32:
    """Return a picture uint8 [side, side, 3] as the encoder reads it: float32 [side, side, 3] of -1..1."""
    scaled = pixels.astype(np.float32) * np.float32(1 / 255)
    seen: Float32 = (scaled - np.float32(0.5)) / np.float32(0.5)
    return seen


def encode(ops: Ops[Any, Any], weights: SiglipVisionWeights, picture: Float32) -> Float32:
    """Return what the encoder knows of a picture: its embedding float32 [1, D].

    Args:
        picture: float32 [image_size, image_size, 3], as `normalised` returns it.

    Raises:
        ValueError: the picture has another size.
    """
    config = weights.config
    side, step, count, d = config.image_size, config.patch_size, config.patches, config.hidden_size
    heads, eps = config.num_attention_heads, config.layer_norm_eps
    if picture.shape != (side, side, 3):
        raise ValueError(f"picture: got {list(picture.shape)}, want [{side}, {side}, 3]")
    whole = picture[: count * step, : count * step]  # as convolutions leave out what is no whole patch
    patches = whole.reshape(count, step, count, step, 3).transpose(0, 2, 4, 1, 3).reshape(count * count, -1)
    x = ops.linear(ops.array(np.ascontiguousarray(patches)), weights.patch, dtype="float32")
    ops.add(x, weights.positions)
    segments = ops.segments([count * count])
    for block in weights.layers:
        seen = ops.norm(x, block.attention_norm.weight, block.attention_norm.bias, eps=eps)
        qkv = ops.linear(seen, block.qkv)
        q, k, v = (ops.columns(qkv, i * d, (i + 1) * d) for i in range(3))
        ops.linear(ops.attention(q, k, v, segments, heads), block.out, residual=x)
        seen = ops.norm(x, block.feed_norm.weight, block.feed_norm.bias, eps=eps)
        ops.linear(ops.linear(seen, block.up, activation="gelu_tanh"), block.down, residual=x)
    pool, states = weights.pool, ops.norm(x, weights.after.weight, weights.after.bias, eps=eps)
    both = ops.linear(states, weights.pool_kv)
    k, v = ops.columns(both, 0, d), ops.columns(both, d, 2 * d)
    q = ops.linear(weights.probe, pool.query)
    pooled = ops.attention(q, k, v, ops.segments([1]), heads, kv_segments=segments)
    found = ops.linear(pooled, pool.out, dtype="float32")
    seen = ops.norm(found, pool.norm.weight, pool.norm.bias, eps=eps)
    ops.linear(ops.linear(seen, pool.up, activation="gelu_tanh"), pool.down, residual=found)
    return ops.numpy(found)
