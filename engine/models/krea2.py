"""Compute the Krea 2 transformer over ragged rows.

Source: Krea 2 (Krea AI, 2026) as diffusers' `Krea2Transformer2DModel` has it, with which tests compare: one stream of
text and image; attention with fewer heads of keys than of queries (2305.13245) and gates on its output (2505.06708);
one modulation by time for all blocks, to which each adds a table of its own. A text token comes as states of several
layers of the text encoder, which blocks over these layers fuse, before blocks over the tokens.

The rows of the stream are those of `JointRows`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...kernels.ops import LowRankTerm, Ops, Vector
from ...kernels.segments import Segments
from ..denoiser import Sample
from ..weights import krea2_lora as names
from ..weights.krea2 import Block, Krea2Config, Krea2Weights, load_krea2
from .joint_rows import JointRows, shared_texts, text_readers
from .low_rank import BatchLoras, BlockLoras, joint_loras, loras_of, low_rank, text_loras
from .rope import id_tables

__all__ = ["FUSED", "Krea2Config", "Krea2Layout", "Krea2Weights", "layout", "load_krea2", "velocity"]

A = TypeVar("A")
Float32 = NDArray[np.float32]
FUSED: Final = 32  # text tokens whose layers are fused at a time, which bounds the memory that this takes


@dataclass(frozen=True, eq=False)
class Krea2Layout(Generic[A]):
    """What stays the same while S samples step together. It is checked, computed and brought to the backend once.

    Attributes:
        rows: which rows of the stream belong to which part.
        text: float32 [Tt, D], the text rows of the stream as the first block finds them.
        rope: cos and sin, float32 [Tt + Ti, E / 2].
        samples, nothing: vectors int32 [S]: 0, 1, 2, ... and zeros.
        loras: the LoRAs of the samples; None: none has any.
    """

    rows: JointRows
    text: A
    rope: tuple[A, A]
    samples: Vector
    nothing: Vector
    loras: BatchLoras | None = None

    def low_rank(self, target: str, place: str) -> Sequence[LowRankTerm]:
        """Return the low-rank terms of a linear (`krea2_lora`), which reads the rows of a place."""
        return low_rank(self.loras, target, place)


def layout(ops: Ops[Any, Any], weights: Krea2Weights, samples: Sequence[Sample]) -> Krea2Layout[Any]:
    """Lay out a batch of at least one sample, and fuse its texts, each once.

    Raises:
        ValueError: a sample's grid does not fit the model, or it has an input for a guidance embedding.
    """
    config = weights.config
    for sample in samples:
        if len(sample.grid) != 2 or min(sample.grid) < 1:
            raise ValueError(f"layout: grid: got {sample.grid}, want height and width from 1 up")
        if sample.guidance is not None:
            raise ValueError(f"layout: guidance: got {sample.guidance}, want None: the model has no guidance embedding")
    tokens, places = shared_texts(samples)
    grids = [sample.grid for sample in samples]
    rows = JointRows.of(ops, [len(sample.text.tokens) for sample in samples], [h * w for h, w in grids])
    tables = [image_tables_of(grid, config.axes_dims_rope, config.rope_theta) for grid in grids]
    half = config.attention_head_dim // 2  # text stands at the origin, and is not turned
    cos = np.concatenate([np.ones((rows.text, half), np.float32), *(table[0] for table in tables)])
    sin = np.concatenate([np.zeros((rows.text, half), np.float32), *(table[1] for table in tables)])
    counted = np.arange(len(samples), dtype=np.int32)
    which, numbers, nothing = ops.vectors(places, counted, np.zeros_like(counted))
    return Krea2Layout(
        rows=rows,
        text=ops.embed([which], [_text(ops, weights, tokens, text_readers(samples))]),
        rope=(ops.array(cos, "float32"), ops.array(sin, "float32")),
        samples=numbers,
        nothing=nothing,
        loras=joint_loras([sample.loras for sample in samples], rows),
    )


def velocity(ops: Ops[Any, Any], weights: Krea2Weights, layout: Krea2Layout[Any], latents: Any, times: Vector) -> Any:
    """Return dx/dsigma of every image, float32 [Ti, C].

    Args:
        latents: float32 [Ti, C], the tokens of all images one after another, each row-major.
        times: vector float32 [S], sigma in 0..1 times 1000.
    """
    config, rows, d = weights.config, layout.rows, weights.config.width
    into, out = (layout.low_rank(name, "image") for name in (names.IMAGE_IN, names.IMAGE_OUT))
    image = ops.linear(ops.cast(latents), weights.image_in, dtype="float32", low_rank=into)
    stream = ops.concat([layout.text, image])
    sinusoid = ops.timestep_embedding(times, config.timestep_embed_dim)
    first, second, modulation = (
        layout.low_rank(name, "sample") for name in (names.TIME_FIRST, names.TIME_SECOND, names.MODULATION)
    )
    hidden = ops.linear(sinusoid, weights.time_first, activation="gelu_tanh", low_rank=first)
    time = ops.linear(hidden, weights.time_second, dtype="float32", low_rank=second)
    activated = ops.linear(hidden, weights.time_second, activation="gelu_tanh", low_rank=second)
    shared = ops.linear(activated, weights.modulation, dtype="float32", low_rank=modulation)

    def joined(values: Any, table: Any) -> Any:
        """Return the values of every sample plus a row that is added to all, float32 [S, width]."""
        return ops.embed([layout.samples, layout.nothing], [values, table])

    for number, block in enumerate(weights.blocks):
        acting = BlockLoras(layout.loras, f"transformer_blocks.{number}", "stream")
        columns = joined(shared, block.table)
        mod = [ops.columns(columns, i * d, (i + 1) * d) for i in range(6)]
        normed = ops.modulate(
            stream, mod[1], mod[0], rows.segments, kind="rms", eps=config.norm_eps, weight=block.norm1
        )
        attended = _attended(ops, block, normed, rows.segments, config.norm_eps, acting, layout.rope)
        out_terms, up, down = (acting.low_rank(name) for name in ("out", "up", "down"))
        ops.linear(attended, block.out, gate=mod[2], residual=stream, segments=rows.segments, low_rank=out_terms)
        normed = ops.modulate(
            stream, mod[4], mod[3], rows.segments, kind="rms", eps=config.norm_eps, weight=block.norm2
        )
        hidden = ops.linear(normed, block.up, activation="swiglu", low_rank=up)
        ops.linear(hidden, block.down, gate=mod[5], residual=stream, segments=rows.segments, low_rank=down)
    _, image = ops.split(stream, [rows.text, rows.image])
    scale, shift = joined(time, weights.final_scale), joined(time, weights.final_shift)
    normed = ops.modulate(
        image, shift, scale, rows.image_segments, kind="rms", eps=config.norm_eps, weight=weights.final_norm
    )
    return ops.linear(normed, weights.image_out, dtype="float32", low_rank=out)


def _attended(
    ops: Ops[Any, Any], block: Block, normed: Any, segments: Segments, eps: float, acting: BlockLoras,
    rope: tuple[Any, Any] | None = None,
) -> Any:  # fmt: skip
    """Return what attention found, gated, compute [T, D]. `rope`: None: nothing is turned."""
    head = block.width // block.heads
    qkv = ops.linear(normed, block.qkv, low_rank=acting.low_rank("qkv"))
    cos, sin = (None, None) if rope is None else rope
    ops.qk_norm_rope(qkv, block.heads, block.q_norm, block.k_norm, cos, sin, eps=eps, kv_heads=block.kv_heads)
    edges = np.cumsum([0, block.width, block.kv_heads * head, block.kv_heads * head]).tolist()
    q, k, v = (ops.columns(qkv, start, stop) for start, stop in zip(edges[:-1], edges[1:], strict=True))
    attended = ops.attention(q, k, v, segments, block.heads, kv_heads=block.kv_heads)
    return ops.gated(ops.linear(normed, block.gate, low_rank=acting.low_rank("gate")), attended, "sigmoid")


def _text(ops: Ops[Any, Any], weights: Krea2Weights, tokens: Float32, readers: Sequence[Sample]) -> Any:
    """Return text tokens as the stream has them, float32 [U, D].

    Args:
        tokens: float32 [U, L * text width], the states of each token side by side, of all texts one after another.
        readers: of each text a sample that reads it.
    """
    config, lengths = weights.config, [len(reader.text.tokens) for reader in readers]
    parts = [_fused(ops, weights, tokens, at, readers) for at in range(0, max(1, len(tokens)), FUSED)]
    x = parts[0] if len(parts) == 1 else ops.concat(parts)
    segments, loras = ops.segments(lengths), text_loras(readers, lengths)
    for number, block in enumerate(weights.refiners):
        acting = BlockLoras(loras, f"text_fusion.refiner_blocks.{number}", "text")
        _fusion_block(ops, block, x, segments, config.norm_eps, acting)
    normed = ops.norm(x, weights.text_norm, kind="rms", eps=config.norm_eps)
    first, second = (low_rank(loras, name, "text") for name in (names.TEXT_FIRST, names.TEXT_SECOND))
    hidden = ops.linear(normed, weights.text_first, activation="gelu_tanh", low_rank=first)
    return ops.linear(hidden, weights.text_second, dtype="float32", low_rank=second)


def _fused(ops: Ops[Any, Any], weights: Krea2Weights, whole: Float32, at: int, readers: Sequence[Sample]) -> Any:
    """Return one vector for each of `FUSED` tokens, from the one `at` on, float32 [n, text width]: the weighted sum of
    its layers' states."""
    tokens = whole[at : at + FUSED]
    config, count, layers = weights.config, len(tokens), weights.config.num_text_layers
    mine, projectors, start = [], [], -at  # of each text its tokens here, and the factors of their states
    for reader in readers:
        stop = start + len(reader.text.tokens)
        mine.append((min(max(0, start), count), min(max(0, stop), count)))
        projectors.append(_projector(weights, reader))
        start = stop
    rows = [[(layers * first, layers * last)] for first, last in mine]
    loras = loras_of([reader.loras for reader in readers], {"text": rows})
    x = ops.array(tokens.reshape(count * layers, config.text_hidden_dim), "float32")
    segments = ops.segments([layers] * count)
    for number, block in enumerate(weights.layerwise):
        acting = BlockLoras(loras, f"text_fusion.layerwise_blocks.{number}", "text")
        _fusion_block(ops, block, x, segments, config.norm_eps, acting)
    every, none = ops.segments([count * layers]), ops.zeros(count * layers, config.text_hidden_dim, "float32")
    each = [np.tile(factor, last - first) for factor, (first, last) in zip(projectors, mine, strict=True)]
    factors = ops.array(np.concatenate(each)[:, None], "float32")
    first = np.arange(count, dtype=np.int32) * np.int32(layers)
    still, *places = ops.vectors(np.zeros(1, np.float32), *(first + np.int32(i) for i in range(layers)))
    ops.blend(x, none, none, factors, every, still, still)  # each row times its factor
    return ops.embed(places, [x] * layers)


def _projector(weights: Krea2Weights, reader: Sample) -> Float32:
    """Return the factor of each state in their sum, float32 [L], with what LoRAs add to it."""
    found: Float32 = weights.projector
    for lora, weight in reader.loras:
        if names.PROJECTOR in lora.factors:
            found = found + np.float32(weight) * lora.factors[names.PROJECTOR].reshape(-1)
    return found


def _fusion_block(ops: Ops[Any, Any], block: Block, x: Any, segments: Segments, eps: float, acting: BlockLoras) -> None:
    """Add attention, then the MLP, to `x`."""
    out, up, down = (acting.low_rank(name) for name in ("out", "up", "down"))
    attended = _attended(ops, block, ops.norm(x, block.norm1, kind="rms", eps=eps), segments, eps, acting)
    ops.linear(attended, block.out, residual=x, low_rank=out)
    hidden = ops.linear(ops.norm(x, block.norm2, kind="rms", eps=eps), block.up, activation="swiglu", low_rank=up)
    ops.linear(hidden, block.down, residual=x, low_rank=down)


@lru_cache(maxsize=64)
def image_tables_of(grid: tuple[int, int], axes: tuple[int, ...], theta: float) -> tuple[Float32, Float32]:
    """Return cos and sin, float32 [height * width, E / 2], of an image's tokens, which stand at (0, row, column)."""
    rows, columns = np.divmod(np.arange(grid[0] * grid[1]), grid[1])
    return id_tables(np.stack([np.zeros_like(rows), rows, columns], axis=1), axes, theta)
