"""Compute the Qwen-Image transformer over ragged rows.

Source: Qwen-Image (2508.02324): double blocks as those of the MMDiT of Stable Diffusion 3 (2403.03206), conditioned on
time alone. Positions of an image are centred: its middle stands at 0, and text goes on along the diagonal from where
the longest side ends (section 2.4, MSRoPE). Reference pictures (Qwen-Image-Edit) stand at 1, 2, ... on the first axis;
some models modulate their rows as at timestep 0. Tests compare it with diffusers' `QwenImageTransformer2DModel`.

ONE array holds the residual stream of the batch: the text rows of all samples, then the image rows of all samples. Row
views of it are the two streams. Its segments are S text segments, then S image segments. Samples 0..S-1 own the text
segments and again the image segments, so one attention call joins text and image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...kernels.ops import LowRankTerm, Ops, Vector
from ...kernels.segments import Segments
from ..denoiser import Sample
from ..weights import qwen_image_lora as names
from ..weights.qwen_image import TIME_CHANNELS, QwenImageConfig, QwenImageWeights, Stream, load_qwen_image
from .joint_rows import placed_grids, shared_texts, text_readers
from .low_rank import BatchLoras, loras_of, ranges_of
from .rope import id_tables

__all__ = ["QwenImageConfig", "QwenImageLayout", "QwenImageWeights", "layout", "load_qwen_image", "velocity"]

A = TypeVar("A")
Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class QwenImageLayout(Generic[A]):
    """What stays the same while S samples step together. It is checked, computed and brought to the backend once.

    Attributes:
        text_rows, image_rows: Tt and Ti.
        text_segments, image_segments, segments: of the two streams, and of both together.
        modulated: the image rows by whose modulation is theirs: samples 0..S-1 as they are, S..2S-1 at timestep 0.
        still: compute [S, TIME_CHANNELS], timestep 0 as the model reads it; None: no row is at it.
        text: float32 [Tt, D], the text rows of the stream as the first block finds them.
        text_rope, image_rope: cos and sin, float32 [Tt, E / 2] and [Ti, E / 2].
        loras: the LoRAs of the samples; None: none has any.
    """

    text_rows: int
    image_rows: int
    text_segments: Segments
    image_segments: Segments
    segments: Segments
    modulated: Segments
    still: A | None
    text: A
    text_rope: tuple[A, A]
    image_rope: tuple[A, A]
    loras: BatchLoras | None = None

    def low_rank(self, target: str, place: str) -> Sequence[LowRankTerm]:
        """Return the low-rank terms of a linear (`qwen_image_lora`), which reads the rows of a place."""
        return () if self.loras is None else self.loras.terms(target, place)


def layout(ops: Ops[Any, Any], weights: QwenImageWeights, samples: Sequence[Sample]) -> QwenImageLayout[Any]:
    """Lay out a batch of at least one sample.

    Text that several samples read is brought to the backend, and taken through the first layer, once.

    Raises:
        ValueError: a sample's grid does not fit the model, or it has an input for a guidance embedding.
    """
    axes = weights.config.axes_dims_rope
    for sample in samples:
        if len(sample.grid) != 2 or min(sample.grid) < 1:
            raise ValueError(f"layout: grid: got {sample.grid}, want height and width from 1 up")
        if sample.guidance is not None:
            raise ValueError(f"layout: guidance: got {sample.guidance}, want None: the model has no guidance embedding")
    lengths = [len(sample.text.tokens) for sample in samples]
    (tokens, places), readers = shared_texts(samples), text_readers(samples)
    reading = loras_of([one.loras for one in readers], {"text": ranges_of([len(one.text.tokens) for one in readers])})
    normed = ops.norm(ops.array(tokens, "float32"), weights.text_norm, kind="rms", eps=1e-6)
    terms = () if reading is None else reading.terms(names.TEXT_IN, "text")
    embedded = ops.linear(normed, weights.text_in, dtype="float32", low_rank=terms)

    images = [sample.rows for sample in samples]
    count = len(samples)
    both = [*range(count), *range(count)]
    ends = [max(side // 2 for grid in (sample.grid, *sample.references) for side in grid) for sample in samples]
    text_tables = [text_tables_of(n, end, axes) for n, end in zip(lengths, ends, strict=True)]
    image_tables = [image_tables_of(grid[:2], axes, grid[2]) for grid in placed_grids(samples, 1)]
    image_segments = ops.segments(images)
    modulated, still, times = image_segments, None, ranges_of([1] * count)
    if weights.config.zero_cond_t and any(sample.references for sample in samples):
        own = [sample.grid[0] * sample.grid[1] for sample in samples]
        parts = [rows for first, every in zip(own, images, strict=True) for rows in (first, every - first)]
        modulated = ops.segments(parts, [owner for j in range(count) for owner in (j, count + j)], 2 * count)
        (zeros,) = ops.vectors(np.zeros(count, np.float32))
        still = ops.timestep_embedding(zeros, TIME_CHANNELS)
        times = [[*first, *second] for first, second in zip(times, ranges_of([1] * count, count), strict=True)]
    return QwenImageLayout(
        text_rows=sum(lengths),
        image_rows=sum(images),
        text_segments=ops.segments(lengths),
        image_segments=image_segments,
        segments=ops.segments([*lengths, *images], both),
        modulated=modulated,
        still=still,
        text=ops.embed(ops.vectors(places), [embedded]),
        text_rope=_brought(ops, text_tables),
        image_rope=_brought(ops, image_tables),
        loras=loras_of(
            [sample.loras for sample in samples],
            {"text": ranges_of(lengths), "image": ranges_of(images), "sample": times},
        ),
    )


def velocity(
    ops: Ops[Any, Any], weights: QwenImageWeights, layout: QwenImageLayout[Any], latents: Any, times: Vector
) -> Any:
    """Return dx/dsigma of every image, float32 [Ti, C].

    Args:
        latents: float32 [Ti, C], the tokens of all images one after another, each row-major and with its references
            behind it.
        times: vector float32 [S], sigma in 0..1 times 1000.
    """
    into, out = layout.low_rank(names.IMAGE_IN, "image"), layout.low_rank(names.IMAGE_OUT, "image")
    image = ops.linear(ops.cast(latents), weights.image_in, dtype="float32", low_rank=into)
    stream = ops.concat([layout.text, image])
    text, image = ops.split(stream, [layout.text_rows, layout.image_rows])
    first, second, modulation = (
        layout.low_rank(name, "sample") for name in (names.TIME_FIRST, names.TIME_SECOND, names.MODULATION)
    )
    sinusoid = ops.timestep_embedding(times, TIME_CHANNELS)
    if layout.still is not None:
        sinusoid = ops.concat([sinusoid, layout.still])
    hidden = ops.linear(sinusoid, weights.time_first, activation="silu", low_rank=first)
    time = ops.linear(hidden, weights.time_second, dtype="float32", low_rank=second)
    columns = ops.linear(ops.cast(time, activation="silu"), weights.modulation, dtype="float32", low_rank=modulation)

    d, last = weights.config.width, len(weights.blocks) - 1
    now = columns if layout.still is None else ops.rows(columns, 0, len(layout.image_segments))
    for number, block in enumerate(weights.blocks):
        at = 12 * d * number
        mods = [ops.columns(columns if i < 6 else now, at + i * d, at + (i + 1) * d) for i in range(12)]
        _block(ops, weights.config, number, block, text, image, layout, mods[:6], mods[6:], number == last)
    at = 12 * d * len(weights.blocks)
    scale, shift = ops.columns(now, at, at + d), ops.columns(now, at + d, at + 2 * d)
    normed = ops.modulate(image, shift, scale, layout.image_segments)
    return ops.linear(normed, weights.image_out, dtype="float32", low_rank=out)


def _block(
    ops: Ops[Any, Any],
    config: QwenImageConfig,
    number: int,
    block: tuple[Stream, Stream],
    text: Any,
    image: Any,
    layout: QwenImageLayout[Any],
    image_mod: Sequence[Any],
    text_mod: Sequence[Any],
    last: bool,
) -> None:
    """Add joint attention over text and image, then the MLPs, to `text` and `image`.

    What the last block makes of the text is read by none, and not computed.
    """
    d, heads, rows, end = config.width, config.num_attention_heads, layout.text_rows, layout.image_rows
    qkv = ops.empty(rows + end, 3 * d)
    halves = (
        ("text", block[1], text, text_mod, layout.text_segments, layout.text_rope, 0, rows),
        ("image", block[0], image, image_mod, layout.modulated, layout.image_rope, rows, rows + end),
    )
    for name, half, x, mod, segments, (cos, sin), start, stop in halves:
        part = ops.rows(qkv, start, stop)
        low_rank = layout.low_rank(f"{number}.{name}.qkv", name)
        ops.linear(ops.modulate(x, mod[0], mod[1], segments), half.qkv, out=part, low_rank=low_rank)
        ops.qk_norm_rope(part, heads, half.q_norm, half.k_norm, cos, sin)
    q, k, v = (ops.columns(qkv, i * d, (i + 1) * d) for i in range(3))
    attended = ops.attention(q, k, v, layout.segments, heads)
    for name, half, x, mod, segments, _, start, stop in halves[1:] if last else halves:
        out, up, down = (layout.low_rank(f"{number}.{name}.{part}", name) for part in ("out", "up", "down"))
        own = ops.rows(attended, start, stop)
        ops.linear(own, half.out, gate=mod[2], residual=x, segments=segments, low_rank=out)
        hidden = ops.modulate(x, mod[3], mod[4], segments)
        hidden = ops.linear(hidden, half.up, activation="gelu_tanh", low_rank=up)
        ops.linear(hidden, half.down, gate=mod[5], residual=x, segments=segments, low_rank=down)


@lru_cache(maxsize=64)
def image_tables_of(grid: tuple[int, int], axes: tuple[int, ...], place: int = 0) -> tuple[Float32, Float32]:
    """Return cos and sin, float32 [height * width, E / 2], of an image's tokens in row-major order.

    They stand at (place, row, column), counted from the middle: of n rows the first is at -(n - n // 2).
    """
    height, width = grid
    rows, columns = np.divmod(np.arange(height * width), width)
    ids = np.stack([np.full_like(rows, place), rows - (height - height // 2), columns - (width - width // 2)], axis=1)
    return id_tables(ids, axes, rounded=True)


@lru_cache(maxsize=64)
def text_tables_of(length: int, first: int, axes: tuple[int, ...]) -> tuple[Float32, Float32]:
    """Return cos and sin, float32 [length, E / 2], of a text whose tokens stand at `first`, `first` + 1, ... on all
    axes: beside pictures from half of the longest side on."""
    positions = np.arange(length) + first
    return id_tables(np.repeat(positions[:, None], len(axes), axis=1), axes, rounded=True)


def _brought(ops: Ops[Any, Any], tables: Sequence[tuple[Float32, Float32]]) -> tuple[Any, Any]:
    cos, sin = (ops.array(np.concatenate([table[i] for table in tables]), "float32") for i in range(2))
    return cos, sin
