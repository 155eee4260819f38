"""Compute the Z-Image transformer family over ragged rows.

Source: Z-Image (Alibaba Tongyi, 2025), a single stream of text and image. Every part of a block stands between two RMS
norms; modulation scales and does not shift, and gates are tanh. Text and image are refined apart before they meet; the
text's refiners do not read the time, so their result stays the same from step to step. Text and image are filled up to
multiples of 32 rows with two learned rows, which attention sees. Tests compare it with diffusers'
`ZImageTransformer2DModel`.

The model's time goes from noise to picture, 1 - sigma, and its output points that way: packing turns the sign.
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
from ..weights import z_image_lora as names
from ..weights.z_image import EPS_OUT, QK_EPS, TIME_CHANNELS, Block, ZImageConfig, ZImageWeights, load_z_image
from .joint_rows import JointRows, reading_of, text_readers
from .low_rank import BatchLoras, BlockLoras, joint_loras, loras_of, low_rank, ranges_of, text_loras
from .rope import id_tables

__all__ = ["MULTIPLE", "ZImageConfig", "ZImageLayout", "ZImageWeights", "layout", "load_z_image", "velocity"]

A = TypeVar("A")
Float32 = NDArray[np.float32]
Table = tuple[Float32, Float32]  # cos and sin

MULTIPLE: Final = 32  # rows of a text, and of an image, are filled up to multiples of it


@dataclass(frozen=True, eq=False)
class ZImageLayout(Generic[A]):
    """What stays the same while S samples step together. Ti and Tt are rows with the learned ones.

    Attributes:
        rows: which rows of the stream belong to which part.
        text: float32 [Tt, D], the refined text rows.
        places: of each image row its token; those behind all tokens are the learned row.
        tokens: of each token its image row.
        rope: cos and sin, float32 [Tt + Ti, E / 2], of all rows, and of the image rows.
        loras: the LoRAs of the samples; None: none has any. Its place "token" has the rows of tokens alone.
    """

    rows: JointRows
    text: A
    places: Vector
    tokens: Vector
    rope: tuple[A, A]
    image_rope: tuple[A, A]
    loras: BatchLoras | None = None
    of_tokens: BatchLoras | None = None

    def low_rank(self, target: str, place: str) -> Sequence[LowRankTerm]:
        """Return the low-rank terms of a linear (`z_image_lora`), which reads the rows of a place."""
        return low_rank(self.loras, target, place)


def layout(ops: Ops[Any, Any], weights: ZImageWeights, samples: Sequence[Sample]) -> ZImageLayout[Any]:
    """Lay out a batch of at least one sample. A text that several samples read is refined once.

    Raises:
        ValueError: parts of a sample do not fit each other or the model.
    """
    for sample in samples:
        if len(sample.grid) != 2 or min(sample.grid) < 1:
            raise ValueError(f"layout: grid: got {sample.grid}, want height and width from 1 up")
        if sample.guidance is not None:
            raise ValueError(f"layout: guidance: got {sample.guidance}, want None: there is no guidance embedding")
    config = weights.config
    readers = text_readers(samples)
    texts = {reading_of(reader): reader.text.tokens for reader in readers}
    refined = _refined(ops, weights, [*texts.values()], readers)
    lengths = [filled(len(tokens)) for tokens in texts.values()]
    starts = dict(zip(texts, np.cumsum([0, *lengths]).tolist(), strict=False))
    spans = {key: np.arange(starts[key], starts[key] + filled(len(tokens))) for key, tokens in texts.items()}
    words = np.concatenate([spans[reading_of(sample)] for sample in samples])

    counts = [height * width for height, width in (sample.grid for sample in samples)]
    ends = np.cumsum([0, *counts])
    learned = int(ends[-1])  # the row behind all tokens
    places = [np.r_[start : start + n, np.full(filled(n) - n, learned)] for start, n in zip(ends, counts, strict=False)]
    image_starts = np.cumsum([0, *(filled(n) for n in counts)])
    tokens = [np.arange(start, start + n) for start, n in zip(image_starts, counts, strict=False)]
    texts_filled = [len(spans[reading_of(sample)]) for sample in samples]
    rows = JointRows.of(ops, texts_filled, [filled(n) for n in counts])
    tables = [_text_tables(n, config.axes_dims, config.rope_theta) for n in texts_filled]
    tables += [
        _grid_tables(sample.grid, n, config.axes_dims, config.rope_theta)
        for sample, n in zip(samples, texts_filled, strict=True)
    ]
    cos, sin = (ops.array(np.concatenate([table[i] for table in tables]), "float32") for i in (0, 1))
    acting = [sample.loras for sample in samples]
    vectors = ops.vectors(*(np.concatenate(x).astype(np.int32) for x in ([words], places, tokens)))
    return ZImageLayout(
        rows=rows,
        text=ops.embed(vectors[:1], [refined]),
        places=vectors[1],
        tokens=vectors[2],
        rope=(cos, sin),
        image_rope=(ops.rows(cos, rows.text, rows.total), ops.rows(sin, rows.text, rows.total)),
        loras=joint_loras(acting, rows),
        of_tokens=loras_of(acting, {"token": ranges_of(counts)}),
    )


def velocity(ops: Ops[Any, Any], weights: ZImageWeights, layout: ZImageLayout[Any], latents: Any, times: Vector) -> Any:
    """Return dx/dsigma of every image, float32 [T, C].

    Args:
        latents: float32 [T, C], the tokens of all images one after another, each row-major.
        times: vector float32 [S], 1 - sigma in 0..1 times `t_scale`.
    """
    config, rows, d = weights.config, layout.rows, weights.config.dim
    sinusoid = ops.timestep_embedding(times, TIME_CHANNELS)
    first, second, modulated, scaled = (
        layout.low_rank(name, "sample")
        for name in (names.TIME_FIRST, names.TIME_SECOND, names.MODULATION, names.SCALE_OUT)
    )
    hidden = ops.linear(sinusoid, weights.time.first, activation="silu", low_rank=first)
    condition = ops.linear(hidden, weights.time.second, dtype="float32", low_rank=second)
    columns = ops.linear(ops.cast(condition), weights.modulation, dtype="float32", low_rank=modulated)
    half = 2 * d * config.num_modulated
    gates = ops.cast(ops.columns(columns, half, 2 * half), "float32", activation="tanh")

    def modulation(number: int) -> _Modulation:
        cuts = [(start, start + d) for start in (2 * number * d, (2 * number + 1) * d)]
        return _Modulation(*(ops.columns(x, *cut) for x in (columns, gates) for cut in cuts))

    terms = low_rank(layout.of_tokens, names.IMAGE_IN, "token")
    embedded = ops.linear(ops.cast(latents), weights.image_in, dtype="float32", low_rank=terms)
    image = ops.embed([layout.places], [ops.concat([embedded, weights.image_pad])])
    for number, block in enumerate(weights.image_blocks):
        acting = BlockLoras(layout.loras, f"noise_refiner.{number}", "image")
        _block(ops, config, block, image, rows.image_segments, layout.image_rope, modulation(number), acting)
    stream = ops.concat([layout.text, image])
    for number, block in enumerate(weights.blocks):
        mod = modulation(len(weights.image_blocks) + number)
        acting = BlockLoras(layout.loras, f"layers.{number}", "stream")
        _block(ops, config, block, stream, rows.segments, layout.rope, mod, acting)

    scale = ops.linear(ops.cast(condition, activation="silu"), weights.scale_out, dtype="float32", low_rank=scaled)
    image = ops.rows(stream, rows.text, rows.total)
    normed = ops.modulate(image, None, scale, rows.image_segments, eps=EPS_OUT)
    out = ops.linear(normed, weights.image_out, dtype="float32", low_rank=layout.low_rank(names.IMAGE_OUT, "image"))
    return ops.embed([layout.tokens], [out])


def filled(count: int) -> int:
    """Return the rows of so many with the learned ones."""
    return -(-count // MULTIPLE) * MULTIPLE


@dataclass(frozen=True, eq=False)
class _Modulation:
    """What a block takes of its samples' time, float32 [S, D] each; gates after tanh."""

    attention_scale: Any
    feed_scale: Any
    attention_gate: Any
    feed_gate: Any


def _refined(ops: Ops[Any, Any], weights: ZImageWeights, texts: Sequence[Float32], readers: Sequence[Sample]) -> Any:
    """Return the refined rows of texts [n, text width] one after another, each filled up: float32 [sum, D].

    Args:
        readers: a sample that reads it, of each text.
    """
    config = weights.config
    normed = ops.norm(
        ops.array(np.concatenate(texts), "float32"), weights.text_norm, kind="rms",
        eps=config.norm_eps,
    )  # fmt: skip
    counts = [len(tokens) for tokens in texts]
    terms = low_rank(text_loras(readers, counts), names.TEXT_IN, "text")
    embedded = ops.linear(normed, weights.text_in, dtype="float32", low_rank=terms)
    ends = np.cumsum([0, *counts])
    learned = int(ends[-1])
    places = [np.r_[start : start + n, np.full(filled(n) - n, learned)] for start, n in zip(ends, counts, strict=False)]
    x = ops.embed(ops.vectors(np.concatenate(places).astype(np.int32)), [ops.concat([embedded, weights.text_pad])])
    lengths = [filled(n) for n in counts]
    tables = [_text_tables(n, config.axes_dims, config.rope_theta) for n in lengths]
    cos, sin = (ops.array(np.concatenate([table[i] for table in tables]), "float32") for i in (0, 1))
    segments = ops.segments(lengths)
    loras = text_loras(readers, lengths)
    for number, block in enumerate(weights.text_blocks):
        acting = BlockLoras(loras, f"context_refiner.{number}", "text")
        _block(ops, config, block, x, segments, (cos, sin), None, acting)
    return x


def _block(
    ops: Ops[Any, Any], config: ZImageConfig, block: Block, x: Any, segments: Segments, rope: tuple[Any, Any],
    modulation: _Modulation | None, acting: BlockLoras,
) -> None:  # fmt: skip
    """Add attention and a feed-forward part to `x`, gated where the block reads the time."""
    heads, d, eps = config.n_heads, config.dim, config.norm_eps

    def normed(weight: Any, scale: Any) -> Any:
        if modulation is None:
            return ops.norm(x, weight, kind="rms", eps=eps)
        return ops.modulate(x, None, scale, segments, kind="rms", eps=eps, weight=weight)

    def add(y: Any, weight: Any, gate: Any) -> None:
        after = ops.norm(y, weight, kind="rms", eps=eps, dtype="float32")
        if modulation is None:
            ops.add(x, after)
        else:
            ops.add(x, after, segments, gate=gate)

    m = modulation
    qkv, out, up, down = (acting.low_rank(name) for name in ("qkv", "out", "up", "down"))
    qkv = ops.linear(normed(block.attention_in, m and m.attention_scale), block.qkv, low_rank=qkv)
    ops.qk_norm_rope(qkv, heads, block.q_norm, block.k_norm, *rope, eps=QK_EPS)
    q, k, v = (ops.columns(qkv, i * d, (i + 1) * d) for i in range(3))
    attended = ops.attention(q, k, v, segments, heads)
    attended = ops.linear(attended, block.out, dtype="float32", low_rank=out)
    add(attended, block.attention_out, m and m.attention_gate)
    hidden = ops.linear(normed(block.feed_in, m and m.feed_scale), block.up, activation="swiglu", low_rank=up)
    add(ops.linear(hidden, block.down, dtype="float32", low_rank=down), block.feed_out, m and m.feed_gate)


@lru_cache(maxsize=64)
def _text_tables(length: int, axes: tuple[int, ...], theta: float) -> Table:
    """Return the tables of a text and the learned rows behind it, which stand on the first axis from 1 on."""
    ids = np.zeros((length, 3), np.int64)
    ids[:, 0] = np.arange(1, length + 1)
    return id_tables(ids, axes, theta)


@lru_cache(maxsize=64)
def _grid_tables(grid: tuple[int, int], text: int, axes: tuple[int, ...], theta: float) -> Table:
    """Return the tables of an image behind a text of so many rows; the learned rows stand at 0."""
    count = grid[0] * grid[1]
    ids = np.zeros((filled(count), 3), np.int64)
    ids[:count, 0] = text + 1
    ids[:count, 1], ids[:count, 2] = np.divmod(np.arange(count), grid[1])
    return id_tables(ids, axes, theta)
