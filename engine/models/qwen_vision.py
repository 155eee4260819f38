"""Encode pictures as Qwen2.5-VL's language side reads them: its image encoder, and what merges 2 x 2 patches.

Source: 2502.13923, section 2.1.1: RMS norm and SwiGLU, rotary embedding by row and column, and attention within windows
in all blocks but a few. Tests compare it with transformers' `Qwen2_5_VisionTransformerPretrainedModel`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...kernels.ops import Ops
from ..weights.qwen_vision import KEY, MERGED, QwenVisionConfig, QwenVisionWeights, load_qwen_vision
from .clip_vision import normalised
from .rope import id_tables

__all__ = ["KEY", "QwenVisionConfig", "QwenVisionWeights", "encode", "load_qwen_vision"]

EPS: Final = 1e-6
Int64 = NDArray[np.int64]


def encode(ops: Ops[Any, Any], weights: QwenVisionWeights, pixels: NDArray[np.uint8]) -> Any:
    """Return the tokens of a picture, backend array float32 [rows * columns, width of the language side], row by row.

    Args:
        pixels: uint8 [height, width, 3], whose sides are multiples of `QwenVisionConfig.unit`.

    Raises:
        ValueError: the picture has another size or dtype.
    """
    config = weights.config
    unit, side, d, heads = config.unit, config.patch_size, config.hidden_size, config.num_heads
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or any(n % unit for n in pixels.shape[:2]):
        raise ValueError(f"pixels: got {pixels.dtype} {list(pixels.shape)}, want uint8 [{unit} n, {unit} m, 3]")
    grid = pixels.shape[0] // unit, pixels.shape[1] // unit
    order, lengths = windows_of(grid, config.window)
    places = _places(grid)[order].reshape(-1, 2)
    # Patches as rows: by token, in it by row and column; then by colour, row and column.
    cut = normalised(pixels).reshape(grid[0], MERGED, side, grid[1], MERGED, side, 3).transpose(0, 3, 1, 4, 6, 2, 5)
    patches = cut.reshape(grid[0] * grid[1], -1)[order].reshape(len(places), -1)
    cos, sin = (ops.array(table, "float32") for table in id_tables(places, (d // heads // 2,) * 2, rounded=True))
    whole, parts = ops.segments([len(places)]), ops.segments([MERGED**2 * n for n in lengths])
    x = ops.linear(ops.array(np.ascontiguousarray(patches)), weights.patch, dtype="float32")
    for number, block in enumerate(weights.blocks):
        qkv = ops.linear(ops.norm(x, block.attention_norm, kind="rms", eps=EPS), block.qkv)
        ops.qk_norm_rope(qkv, heads, None, None, cos, sin)
        q, k, v = (ops.columns(qkv, i * d, (i + 1) * d) for i in range(3))
        segments = whole if number in config.fullatt_block_indexes else parts
        ops.linear(ops.attention(q, k, v, segments, heads), block.out, residual=x)
        seen = ops.norm(x, block.feed_norm, kind="rms", eps=EPS)
        ops.linear(ops.linear(seen, block.up, activation="swiglu"), block.down, residual=x)
    merged = ops.numpy(ops.norm(x, weights.norm, kind="rms", eps=EPS)).reshape(len(order), -1)
    hidden = ops.linear(ops.array(merged), weights.first, activation="gelu")
    tokens = ops.linear(hidden, weights.second, dtype="float32")
    back = np.empty(len(order), np.int32)
    back[order] = np.arange(len(order), dtype=np.int32)
    return ops.embed(ops.vectors(back), [tokens])


@lru_cache(maxsize=16)
def windows_of(grid: tuple[int, int], side: int) -> tuple[Int64, tuple[int, ...]]:
    """Return the tokens of a picture in the order of its windows of `side` x `side` tokens, int64 [T], and how many
    each has: at its right and lower edge fewer."""
    tokens = np.arange(grid[0] * grid[1]).reshape(grid)
    parts = [
        tokens[top : top + side, left : left + side].reshape(-1)
        for top in range(0, grid[0], side)
        for left in range(0, grid[1], side)
    ]
    return np.concatenate(parts), tuple(map(len, parts))


def _places(grid: tuple[int, int]) -> Int64:
    """Return (row, column) of the patches of every token, int64 [T, 4, 2]."""
    rows, columns = np.divmod(np.arange(grid[0] * grid[1]), grid[1])
    down, right = np.divmod(np.arange(MERGED**2), MERGED)
    return np.stack([MERGED * rows[:, None] + down, MERGED * columns[:, None] + right], axis=2)
