"""The Flux transformer family over ragged rows: FLUX.1, and smaller models of its shape.

Source: FLUX.1 (Black Forest Labs, 2024), whose double blocks are the MMDiT of Stable Diffusion 3 (2403.03206) and whose
single blocks run attention and MLP side by side (2302.05442). Tests hold it to diffusers' `FluxTransformer2DModel`.

ONE array holds the residual stream of the batch: the text rows of all samples, then the image rows of all samples.
Row views of it are the two streams of the double blocks; the single blocks take the whole. Its segments are S text
segments, then S image segments, owned by samples 0..S-1 twice, so one attention call joins text and image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...kernels.ops import AdapterTerms, Ops
from ...kernels.segments import Int32, Segments
from .flux_weights import (
    TIME_CHANNELS,
    DoubleBlock,
    FluxConfig,
    FluxWeights,
    SingleBlock,
    Stream,
    load_flux,
)
from .ip_adapter import IpAdapter, load_adapter_branch, load_ip_adapter

__all__ = [
    "FluxBatch",
    "FluxConfig",
    "FluxWeights",
    "IpAdapter",
    "load_adapter_branch",
    "load_flux",
    "load_ip_adapter",
    "velocity",
]

A = TypeVar("A")
Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class FluxBatch(Generic[A]):
    """What the transformer reads in one evaluation of S samples.

    Attributes:
        latents: float32 [Ti, C], the tokens of all images one after another, each row-major.
        text: compute [Tt, text width], the text tokens of all samples one after another.
        pooled: compute [S, pooled width].
        timesteps: float32 [S], sigma in 0..1.
        text_lengths: text rows of each sample, summing to Tt; 0 is allowed.
        grids: int32 [S, 2], height and width of each image in tokens.
        guidance: float32 [S], exactly for models with a guidance embedding.
        adapters: None, or for each double block its terms; `segments` name image segments, S + sample. `queries` and
            `out` are filled in here.
    """

    latents: A
    text: A
    pooled: A
    timesteps: Float32
    text_lengths: Sequence[int]
    grids: Int32
    guidance: Float32 | None = None
    adapters: Sequence[AdapterTerms] | None = None


def velocity(ops: Ops[Any, Any], weights: FluxWeights, batch: FluxBatch[Any]) -> Any:
    """dx/dsigma of every image, float32 [Ti, C].

    Raises:
        ValueError: parts of the batch that do not fit each other or the model.
    """
    rows = _Rows.of(batch)
    _want_fitting(weights.config, batch, rows)
    stream = ops.empty(rows.total, weights.config.width, "float32")
    text, image = ops.rows(stream, 0, rows.text), ops.rows(stream, rows.text, rows.total)
    ops.linear(batch.text, weights.text_in, out=text)
    ops.linear(ops.cast(batch.latents), weights.image_in, out=image)

    columns = ops.linear(_condition(ops, weights, batch), weights.modulation, dtype="float32")
    modulations = _Modulations(ops, columns, weights.config.width)
    rope = weights.rope.of(ops, rows.text, batch.grids)
    for i, double in enumerate(weights.double_blocks):
        terms = batch.adapters[i] if batch.adapters is not None else None
        _double_block(ops, double, stream, rows, modulations, rope, weights.config.num_attention_heads, terms)
    for single in weights.single_blocks:
        _single_block(ops, single, stream, rows, modulations, rope, weights.config.num_attention_heads)

    scale, shift = modulations.take(2)
    return ops.linear(ops.modulate(image, shift, scale, rows.image_segments), weights.image_out, dtype="float32")


@dataclass(frozen=True, eq=False)
class _Rows:
    """How the rows of the stream are shared out."""

    text: int  # Tt
    total: int  # Tt + Ti
    text_segments: Segments
    image_segments: Segments
    segments: Segments  # both: S text segments, then S image segments

    @classmethod
    def of(cls, batch: FluxBatch[Any]) -> _Rows:
        return cls._of(tuple(batch.text_lengths), tuple(height * width for height, width in batch.grids.tolist()))

    @classmethod
    @lru_cache(maxsize=32)  # the same batch comes back step after step
    def _of(cls, texts: tuple[int, ...], images: tuple[int, ...]) -> _Rows:
        both = Segments.of(texts + images, [*range(len(texts)), *range(len(images))])
        return cls(sum(texts), both.num_rows, Segments.of(texts), Segments.of(images), both)


class _Modulations:
    """The columns of all adaLN projections, handed out in the order in which they were packed."""

    def __init__(self, ops: Ops[Any, Any], columns: Any, width: int) -> None:
        self.ops = ops
        self.columns = columns
        self.width = width
        self.next = 0

    def take(self, count: int) -> list[Any]:
        """The next `count` views [S, D]."""
        starts = [self.next + i * self.width for i in range(count)]
        self.next += count * self.width
        return [self.ops.columns(self.columns, start, start + self.width) for start in starts]


def _condition(ops: Ops[Any, Any], weights: FluxWeights, batch: FluxBatch[Any]) -> Any:
    """silu(time + guidance + pooled text embedding), compute [S, D]: what every adaLN projection reads."""
    time = ops.timestep_embedding(batch.timesteps * np.float32(1000), TIME_CHANNELS)
    total = ops.linear(ops.linear(time, weights.time.first, activation="silu"), weights.time.second, dtype="float32")
    if weights.guidance is not None and batch.guidance is not None:
        scale = ops.timestep_embedding(batch.guidance * np.float32(1000), TIME_CHANNELS)
        hidden = ops.linear(scale, weights.guidance.first, activation="silu")
        ops.linear(hidden, weights.guidance.second, residual=total)
    hidden = ops.linear(batch.pooled, weights.pooled.first, activation="silu")
    ops.linear(hidden, weights.pooled.second, residual=total)
    return ops.cast(total, activation="silu")


def _double_block(
    ops: Ops[Any, Any],
    block: DoubleBlock,
    stream: Any,
    rows: _Rows,
    modulations: _Modulations,
    rope: tuple[Any, Any],
    heads: int,
    terms: AdapterTerms | None,
) -> None:
    """Joint attention over text and image, each with weights of its own; adds to `stream`.

    Adapters: their query is the image's, normed but not rotated, and their output joins the image rows after the
    feed-forward, past `to_out` and without a gate (diffusers' FluxIPAdapterAttnProcessor)."""
    image_mod, text_mod = modulations.take(6), modulations.take(6)
    halves = (
        (block.text, text_mod, rows.text_segments, 0, rows.text),
        (block.image, image_mod, rows.image_segments, rows.text, rows.total),
    )
    width = modulations.width
    adapted = terms is not None and len(terms.segments) > 0
    qkv = ops.empty(rows.total, 3 * width)
    plain_q = ops.empty(rows.total, width) if adapted else None
    for half, mod, segments, start, stop in halves:
        shift, scale = mod[0], mod[1]
        part = ops.rows(qkv, start, stop)
        normed = ops.modulate(ops.rows(stream, start, stop), shift, scale, segments)
        ops.linear(normed, half.qkv, out=part)
        plain = ops.rows(plain_q, start, stop) if half is block.image and plain_q is not None else None
        cos, sin = (ops.rows(table, start, stop) for table in rope)
        ops.qk_norm_rope(part, heads, half.q_norm, half.k_norm, cos, sin, plain_q=plain)

    if terms is not None and adapted:
        terms = replace(terms, queries=plain_q, out=ops.empty(rows.total, width))
    q, k, v = (ops.columns(qkv, i * width, (i + 1) * width) for i in range(3))
    attended = ops.attention(q, k, v, rows.segments, heads, adapters=terms if adapted else None)
    for half, mod, segments, start, stop in halves:
        x = ops.rows(stream, start, stop)
        ops.linear(ops.rows(attended, start, stop), half.out, gate=mod[2], residual=x, segments=segments)
        _feed_forward(ops, half, x, mod[3], mod[4], mod[5], segments)
    if terms is not None and adapted:
        ops.add(stream, terms.out, rows.segments, np.unique(terms.segments))


def _feed_forward(
    ops: Ops[Any, Any], half: Stream, x: Any, shift: Any, scale: Any, gate: Any, segments: Segments
) -> None:
    """x += gate * down(gelu(up(norm(x))))."""
    hidden = ops.linear(ops.modulate(x, shift, scale, segments), half.up, activation="gelu_tanh")
    ops.linear(hidden, half.down, gate=gate, residual=x, segments=segments)


def _single_block(
    ops: Ops[Any, Any],
    block: SingleBlock,
    stream: Any,
    rows: _Rows,
    modulations: _Modulations,
    rope: tuple[Any, Any],
    heads: int,
) -> None:
    """Attention and MLP side by side over text and image alike; adds to `stream`."""
    shift, scale, gate = modulations.take(3)
    width = modulations.width
    normed = ops.modulate(stream, shift, scale, rows.segments)
    qkv = ops.linear(normed, block.qkv)
    ops.qk_norm_rope(qkv, heads, block.q_norm, block.k_norm, *rope)
    both = ops.empty(rows.total, 5 * width)  # attention | MLP: what `out` reads
    ops.linear(normed, block.mlp, activation="gelu_tanh", out=ops.columns(both, width, 5 * width))
    q, k, v = (ops.columns(qkv, i * width, (i + 1) * width) for i in range(3))
    ops.attention(q, k, v, rows.segments, heads, out=ops.columns(both, 0, width))
    ops.linear(both, block.out, gate=gate, residual=stream, segments=rows.segments)


def _want_fitting(config: FluxConfig, batch: FluxBatch[Any], rows: _Rows) -> None:
    samples = len(batch.text_lengths)
    if batch.grids.shape != (samples, 2) or batch.grids.dtype != np.int32 or (batch.grids < 1).any():
        raise ValueError(f"velocity: grids: got {batch.grids.tolist()}, want int32 [{samples}, 2] from 1 up")
    if batch.timesteps.shape != (samples,):
        raise ValueError(f"velocity: timesteps: got {batch.timesteps.shape}, want [{samples}]")
    if (batch.guidance is not None) != config.guidance_embeds:
        wanted = "an array" if config.guidance_embeds else "None: the model has no guidance embedding"
        raise ValueError(f"velocity: guidance: got {batch.guidance}, want {wanted}")
    if batch.guidance is not None and batch.guidance.shape != (samples,):
        raise ValueError(f"velocity: guidance: got {batch.guidance.shape}, want [{samples}]")
    if batch.adapters is not None:
        if len(batch.adapters) != config.num_layers:
            raise ValueError(f"velocity: adapters: got {len(batch.adapters)}, want one for each of {config.num_layers}")
        for terms in batch.adapters:
            if ((terms.segments < samples) | (terms.segments >= 2 * samples)).any():
                wanted = f"image segments {samples}..{2 * samples - 1}"
                raise ValueError(f"velocity: adapters: got segments {terms.segments.tolist()}, want {wanted}")
