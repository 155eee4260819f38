"""Encode pictures by CLIP's image encoders: ViT-L/14, ViT-H/14 and bigG/14, of which IP-Adapters read what they see.

Source: 2103.00020, section 2.4: patches as tokens, a class token before them, pre-norm blocks. Tests compare it with
transformers' `CLIPVisionModelWithProjection`, and `square` with its `CLIPImageProcessor`.
"""

from __future__ import annotations

from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from ...kernels.ops import Activation, Ops
from ..weights.clip_vision import ARCHITECTURES, ClipVisionConfig, ClipVisionWeights, load_clip_vision

__all__ = ["ARCHITECTURES", "ClipVisionConfig", "ClipVisionWeights", "encode", "load_clip_vision", "normalised"]

Float32 = NDArray[np.float32]

MEAN: Final = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)  # of CLIP's training, red, green and blue
DEVIATION: Final = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def normalised(pixels: NDArray[np.uint8]) -> Float32:
    """Return a picture uint8 [side, side, 3] as the encoder reads it: float32 [side, side, 3]."""
    scaled = pixels.astype(np.float32) * np.float32(1 / 255)
    seen: Float32 = (scaled - MEAN) / DEVIATION
    return seen


def encode(ops: Ops[Any, Any], weights: ClipVisionWeights, picture: Float32, *, states: bool = False) -> Float32:
    """Return what the encoder knows of a picture: its embedding float32 [1, projection_dim].

    Args:
        picture: float32 [image_size, image_size, 3], as `normalised` returns it.
        states: return the tokens' states before the last layer in its place, float32 [1 + patches, D], class first.

    Raises:
        ValueError: the picture has another size.
    """
    config = weights.config
    side, step, count, d = config.image_size, config.patch_size, config.patches, config.hidden_size
    if picture.shape != (side, side, 3):
        raise ValueError(f"picture: got {list(picture.shape)}, want [{side}, {side}, 3]")
    patches = picture.reshape(count, step, count, step, 3).transpose(0, 2, 4, 1, 3).reshape(count * count, -1)
    tokens = ops.linear(ops.array(np.ascontiguousarray(patches)), weights.patch, dtype="float32")
    ops.add(tokens, weights.positions)
    x = ops.concat([weights.first, tokens])
    eps, activation = config.layer_norm_eps, cast(Activation, config.hidden_act)
    x = ops.norm(x, weights.before.weight, weights.before.bias, eps=eps, dtype="float32")
    segments = ops.segments([count * count + 1])
    for block in weights.layers[:-1] if states else weights.layers:
        seen = ops.norm(x, block.attention_norm.weight, block.attention_norm.bias, eps=eps)
        qkv = ops.linear(seen, block.qkv)
        q, k, v = (ops.columns(qkv, i * d, (i + 1) * d) for i in range(3))
        ops.linear(ops.attention(q, k, v, segments, config.num_attention_heads), block.out, residual=x)
        seen = ops.norm(x, block.feed_norm.weight, block.feed_norm.bias, eps=eps)
        ops.linear(ops.linear(seen, block.up, activation=activation), block.down, residual=x)
    if states:
        return ops.numpy(x)
    pooled = ops.norm(ops.rows(x, 0, 1), weights.after.weight, weights.after.bias, eps=eps)
    return ops.numpy(ops.linear(pooled, weights.projection, dtype="float32"))
