"""Compute the blocks of FLUX.2, over rows of text and image or of one of them, and what all of them read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...kernels.ops import LowRankTerm, Ops, Vector
from ...kernels.segments import Segments
from ..weights import flux2_lora as names
from ..weights.flux2 import Flux2Config, Flux2Weights, SingleBlock, Stream
from .rope import id_tables

Float32 = NDArray[np.float32]
LowRank: TypeAlias = Callable[[str, str], Sequence[LowRankTerm]]  # of a linear, and the place whose rows it reads
Columns: TypeAlias = list[Any]  # of the modulation: shift, scale, gate and so on, float32 [S, D] each


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of the residual stream that read the same weights.

    Attributes:
        place: what low-rank terms call them: "text", "image", or "stream" for both.
        x: float32 [T, D].
        mod: their modulation.
        segments: whose rows they are.
        rope: cos and sin, float32 [T, E / 2].
    """

    place: str
    x: Any
    mod: Columns
    segments: Segments
    rope: tuple[Any, Any]


@dataclass(frozen=True, eq=False)
class Beside:
    """Keys and values that the attention of a layer reads behind those of its own rows.

    Attributes:
        keys, values: parts, compute [R, D] each.
        segments: whose all the keys are, those of the layer's own rows first.
    """

    keys: Sequence[Any]
    values: Sequence[Any]
    segments: Segments


def modulation(
    ops: Ops[Any, Any], weights: Flux2Weights, low_rank: LowRank, times: Vector, guidance: Any = None
) -> tuple[Columns, Columns, Columns, Columns]:
    """Return all adaLN projections at these times: of image rows, of text rows, of single blocks, at the end.

    Args:
        guidance: compute [S, D], the guidance halfway through its embedding, if the model has one.
    """
    sinusoid = ops.timestep_embedding(times, weights.config.timestep_guidance_channels)
    first, second = (low_rank(f"{names.TIME}.{name}", "sample") for name in ("first", "second"))
    hidden = ops.linear(sinusoid, weights.time.first, activation="silu", low_rank=first)
    total = ops.linear(hidden, weights.time.second, dtype="float32", low_rank=second)
    if weights.guidance is not None:
        terms = low_rank(f"{names.GUIDANCE}.second", "sample")
        ops.linear(guidance, weights.guidance.second, residual=total, low_rank=terms)
    condition = ops.cast(total, activation="silu")  # which every projection reads
    terms = low_rank(names.MODULATION, "sample")
    columns, d = ops.linear(condition, weights.modulation, dtype="float32", low_rank=terms), weights.config.width
    parts = [ops.columns(columns, i * d, (i + 1) * d) for i in range(17)]
    return parts[:6], parts[6:12], parts[12:15], parts[15:]


def double_block(
    ops: Ops[Any, Any], config: Flux2Config, number: int, sides: Sequence[tuple[Stream, Rows]], segments: Segments,
    low_rank: LowRank, beside: Beside | None = None,
) -> tuple[Any, Any]:  # fmt: skip
    """Add joint attention and feed-forward parts to rows of text and image, which have weights of their own each.

    Args:
        sides: the rows, one below another.
        segments: whose rows all of them are.

    Returns:
        Keys and values of all rows, compute [T, D] each.
    """
    d, heads, places, stop = config.width, config.num_attention_heads, [], 0
    qkv = ops.empty(segments.num_rows, 3 * d)
    for half, rows in sides:
        start, stop = stop, stop + rows.segments.num_rows
        places.append((start, stop))
        part, terms = ops.rows(qkv, start, stop), low_rank(f"double.{number}.{rows.place}.qkv", rows.place)
        normed = ops.modulate(rows.x, rows.mod[0], rows.mod[1], rows.segments, eps=config.eps)
        ops.linear(normed, half.qkv, out=part, low_rank=terms)
        ops.qk_norm_rope(part, heads, half.q_norm, half.k_norm, *rows.rope, eps=config.eps)
    q, k, v = (ops.columns(qkv, i * d, (i + 1) * d) for i in range(3))
    attended = _attention(ops, q, k, v, segments, heads, beside)
    for (half, rows), (start, stop) in zip(sides, places, strict=True):
        place, mod = rows.place, rows.mod
        out, up, down = (low_rank(f"double.{number}.{place}.{part}", place) for part in ("out", "up", "down"))
        own = ops.rows(attended, start, stop)
        ops.linear(own, half.out, gate=mod[2], residual=rows.x, segments=rows.segments, low_rank=out)
        hidden = ops.modulate(rows.x, mod[3], mod[4], rows.segments, eps=config.eps)
        hidden = ops.linear(hidden, half.up, activation="swiglu", low_rank=up)
        ops.linear(hidden, half.down, gate=mod[5], residual=rows.x, segments=rows.segments, low_rank=down)
    return k, v


def single_block(
    ops: Ops[Any, Any], config: Flux2Config, number: int, block: SingleBlock, rows: Rows, low_rank: LowRank,
    beside: Beside | None = None,
) -> tuple[Any, Any]:  # fmt: skip
    """Add attention and feed-forward part, side by side over text and image alike, to the stream.

    Returns:
        Keys and values of all rows, compute [T, D] each.
    """
    (shift, scale, gate), segments = rows.mod, rows.segments
    d, heads = config.width, config.num_attention_heads
    normed = ops.modulate(rows.x, shift, scale, segments, eps=config.eps)
    terms = {name: low_rank(f"single.{number}.{name}", rows.place) for name in ("qkv", "up", "out")}
    qkv = ops.linear(normed, block.qkv, low_rank=terms["qkv"])
    ops.qk_norm_rope(qkv, heads, block.q_norm, block.k_norm, *rows.rope, eps=config.eps)
    both = ops.empty(segments.num_rows, d + config.hidden)  # attention | feed-forward: what `out` reads
    hidden = ops.columns(both, d, d + config.hidden)
    ops.linear(normed, block.up, activation="swiglu", out=hidden, low_rank=terms["up"])
    q, k, v = (ops.columns(qkv, i * d, (i + 1) * d) for i in range(3))
    _attention(ops, q, k, v, segments, heads, beside, out=ops.columns(both, 0, d))
    ops.linear(both, block.out, gate=gate, residual=rows.x, segments=segments, low_rank=terms["out"])
    return k, v


def _attention(
    ops: Ops[Any, Any], q: Any, k: Any, v: Any, segments: Segments, heads: int, beside: Beside | None, out: Any = None
) -> Any:
    """Attend to all rows of a sample, and to what it meets beside them."""
    if beside is None:
        return ops.attention(q, k, v, segments, heads, out=out)
    keys, values = ops.concat([k, *beside.keys]), ops.concat([v, *beside.values])
    return ops.attention(q, keys, values, segments, heads, kv_segments=beside.segments, out=out)


@lru_cache(maxsize=4)  # the batch that is running and the one before, and their references
def tables(
    axes: tuple[int, ...], theta: float, lengths: tuple[int, ...], grids: tuple[tuple[int, int, int], ...]
) -> tuple[Float32, Float32]:
    """Return cos and sin of a whole batch, float32 [text rows + image rows, sum(axes) / 2].

    Args:
        lengths: text rows of each sample.
        grids: (height, width, position on the first rotary axis) of each image and reference.
    """
    found = [_text_tables(length, axes, theta) for length in lengths]
    found += [_grid_tables(*grid, axes, theta) for grid in grids]
    return np.concatenate([cos for cos, _ in found]), np.concatenate([sin for _, sin in found])


@lru_cache(maxsize=64)
def _text_tables(length: int, axes: tuple[int, ...], theta: float) -> tuple[Float32, Float32]:
    ids = np.zeros((length, 4), np.int64)
    ids[:, 3] = np.arange(length)
    return id_tables(ids, axes, theta)


@lru_cache(maxsize=64)
def _grid_tables(height: int, width: int, first: int, axes: tuple[int, ...], theta: float) -> tuple[Float32, Float32]:
    ids = np.zeros((height * width, 4), np.int64)
    ids[:, 0] = first
    ids[:, 1], ids[:, 2] = np.divmod(np.arange(height * width), width)
    return id_tables(ids, axes, theta)
