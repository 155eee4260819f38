"""Compute the Flux transformer family over ragged rows: FLUX.1, and smaller models of its shape.

Source: FLUX.1 (Black Forest Labs, 2024), whose double blocks are the MMDiT of Stable Diffusion 3 (2403.03206) and whose
single blocks run attention and MLP side by side (2302.05442). Tests compare it with diffusers'
`FluxTransformer2DModel`.

ONE array holds the residual stream of the batch: the text rows of all samples, then the image rows of all samples. Row
views of it are the two streams of the double blocks; the single blocks take the whole. Its segments are S text
segments, then S image segments. Samples 0..S-1 own the text segments and again the image segments, so one attention
call joins text and image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np

from ...kernels.ops import AdapterTerms, Ops, Vector
from ...kernels.segments import Segments
from ..denoiser import AdapterTable, Pages, Sample
from ..weights.flux import TIME_CHANNELS, DoubleBlock, FluxConfig, FluxWeights, SingleBlock, Stream, load_flux
from ..weights.ip_adapter import IpAdapter, load_adapter_branch, load_ip_adapter
from .joint_rows import JointRows, shared_texts
from .rope import batch_tables

__all__ = [
    "FluxConfig",
    "FluxLayout",
    "FluxWeights",
    "IpAdapter",
    "layout",
    "load_adapter_branch",
    "load_flux",
    "load_ip_adapter",
    "velocity",
]

A = TypeVar("A")


@dataclass(frozen=True, eq=False)
class FluxLayout(Generic[A]):
    """What stays the same while S samples step together. It is checked, computed and brought to the backend once.

    Attributes:
        rows: which rows of the stream belong to which part.
        text: float32 [Tt, D], the text rows of the stream as the first block finds them.
        pooled: compute [S, D], the pooled text halfway through its embedding.
        guidance: compute [S, D], the guidance halfway through its embedding; None: the model has no guidance embedding.
        rope: cos and sin, float32 [Tt + Ti, E / 2], of all rows, of the text rows, of the image rows.
        terms: the adapters' index tables; None: no sample has an adapter.
    """

    rows: JointRows
    text: A
    pooled: A
    guidance: A | None
    rope: tuple[A, A]
    text_rope: tuple[A, A]
    image_rope: tuple[A, A]
    terms: _Terms | None


def layout(
    ops: Ops[Any, Any], weights: FluxWeights, samples: Sequence[Sample], adapters: AdapterTable | None = None
) -> FluxLayout[Any]:
    """Lay out a batch of at least one sample.

    Text that several samples read is brought to the backend, and taken through the first layer, once.

    Raises:
        ValueError: parts of a sample do not fit each other or the model.
    """
    config = weights.config
    _want_fitting(config, samples, adapters)
    tokens, places = shared_texts(samples)
    embedded = ops.linear(ops.array(tokens), weights.text_in, dtype="float32")

    grids = tuple(sample.grid for sample in samples)
    lengths = [len(sample.text.tokens) for sample in samples]
    rows = JointRows.of(ops, lengths, [height * width for height, width in grids])
    cos, sin = (ops.array(table, "float32") for table in batch_tables(config.axes_dims_rope, rows.text, grids))
    cuts = [ops.split(table, [rows.text, rows.image]) for table in (cos, sin)]
    pooled = ops.array(np.stack([sample.text.pooled for sample in samples]))
    hidden = None
    if weights.guidance is not None:
        (guidance,) = ops.vectors(np.array([sample.guidance for sample in samples], np.float32) * np.float32(1000))
        sinusoid = ops.timestep_embedding(guidance, TIME_CHANNELS)
        hidden = ops.linear(sinusoid, weights.guidance.first, activation="silu")
    return FluxLayout(
        rows=rows,
        text=ops.embed(ops.vectors(places), [embedded]),
        pooled=ops.linear(pooled, weights.pooled.first, activation="silu"),
        guidance=hidden,
        rope=(cos, sin),
        text_rope=(cuts[0][0], cuts[1][0]),
        image_rope=(cuts[0][1], cuts[1][1]),
        terms=_Terms.of(ops, adapters, len(samples)) if adapters is not None and len(adapters.samples) else None,
    )


def velocity(
    ops: Ops[Any, Any],
    weights: FluxWeights,
    layout: FluxLayout[Any],
    latents: Any,
    times: Vector,
    pages: Pages | None = None,
) -> Any:
    """Return dx/dsigma of every image, float32 [Ti, C].

    Args:
        latents: float32 [Ti, C], the tokens of all images one after another, each row-major.
        times: vector float32 [S], sigma in 0..1 times 1000.
        pages: where the rows of the layout's adapter table lie, a pair of arrays for each double block.

    Raises:
        ValueError: an argument does not fit the layout.
    """
    rows, width, heads = layout.rows, weights.config.width, weights.config.num_attention_heads
    given = (0, 0) if pages is None else (len(pages.keys), len(pages.values))
    if layout.terms is not None and given != (len(weights.double_blocks),) * 2:
        wanted = f"{len(weights.double_blocks)} of each, for the double blocks"
        raise ValueError(f"velocity: pages: got {given[0]} keys and {given[1]} values, want {wanted}")
    image = ops.linear(ops.cast(latents), weights.image_in, dtype="float32")
    stream = ops.concat([layout.text, image])
    text, image = ops.split(stream, [rows.text, rows.image])

    columns = ops.linear(_condition(ops, weights, layout, times), weights.modulation, dtype="float32")
    modulations = _Modulations(ops, columns, width)
    for i, double in enumerate(weights.double_blocks):
        terms = None
        if layout.terms is not None and pages is not None:
            terms = layout.terms.of_layer(pages.keys[i], pages.values[i])
        _double_block(ops, double, stream, text, image, layout, modulations, heads, terms)
    for single in weights.single_blocks:
        _single_block(ops, single, stream, layout, modulations, heads)

    scale, shift = modulations.take(2)
    return ops.linear(ops.modulate(image, shift, scale, rows.image_segments), weights.image_out, dtype="float32")


@dataclass(frozen=True, eq=False)
class _Terms:
    """The adapter terms of a layout, without keys and values. `AdapterTerms` describes the fields."""

    segments: Vector  # image segments of `JointRows.segments`
    offsets: Vector
    rows: Vector
    weights: Vector
    touched: Vector  # the segments that have a term, each once

    @classmethod
    def of(cls, ops: Ops[Any, Any], table: AdapterTable, samples: int) -> _Terms:
        segments = table.samples + np.int32(samples)
        return cls(*ops.vectors(segments, table.offsets, table.rows, table.weights, np.unique(segments)))

    def of_layer(self, keys: Any, values: Any) -> AdapterTerms:
        return AdapterTerms(keys, values, self.segments, self.offsets, self.rows, self.weights)


class _Modulations:
    """The columns of all adaLN projections, handed out in the order in which they were packed."""

    def __init__(self, ops: Ops[Any, Any], columns: Any, width: int) -> None:
        self.ops = ops
        self.columns = columns
        self.width = width
        self.next = 0

    def take(self, count: int) -> list[Any]:
        """Return the next `count` views [S, D]."""
        starts = [self.next + i * self.width for i in range(count)]
        self.next += count * self.width
        return [self.ops.columns(self.columns, start, start + self.width) for start in starts]


def _condition(ops: Ops[Any, Any], weights: FluxWeights, layout: FluxLayout[Any], times: Vector) -> Any:
    """Return silu(time + guidance + pooled text embedding), compute [S, D], which every adaLN projection reads."""
    time = ops.timestep_embedding(times, TIME_CHANNELS)
    total = ops.linear(ops.linear(time, weights.time.first, activation="silu"), weights.time.second, dtype="float32")
    if weights.guidance is not None:
        ops.linear(layout.guidance, weights.guidance.second, residual=total)
    ops.linear(layout.pooled, weights.pooled.second, residual=total)
    return ops.cast(total, activation="silu")


def _double_block(
    ops: Ops[Any, Any],
    block: DoubleBlock,
    stream: Any,
    text: Any,
    image: Any,
    layout: FluxLayout[Any],
    modulations: _Modulations,
    heads: int,
    terms: AdapterTerms | None,
) -> None:
    """Add joint attention over text and image to `stream`, of which `text` and `image` are views.

    Text and image each have weights of their own.

    The query of adapters is the image's, normed but not rotated. Their output joins the image rows after the
    feed-forward, past `to_out` and without a gate (diffusers' FluxIPAdapterAttnProcessor).
    """
    image_mod, text_mod = modulations.take(6), modulations.take(6)
    rows, width = layout.rows, modulations.width
    qkv = ops.empty(rows.total, 3 * width)
    plain_q = None
    if terms is not None:
        plain_q = ops.empty(rows.total, width)
        terms = replace(terms, queries=plain_q, out=ops.empty(rows.total, width))
    halves = (
        (block.text, text, text_mod, rows.text_segments, layout.text_rope, 0, rows.text),
        (block.image, image, image_mod, rows.image_segments, layout.image_rope, rows.text, rows.total),
    )
    for half, x, mod, segments, (cos, sin), start, stop in halves:
        part = ops.rows(qkv, start, stop)
        ops.linear(ops.modulate(x, mod[0], mod[1], segments), half.qkv, out=part)
        plain = ops.rows(plain_q, start, stop) if half is block.image and plain_q is not None else None
        ops.qk_norm_rope(part, heads, half.q_norm, half.k_norm, cos, sin, plain_q=plain)

    q, k, v = (ops.columns(qkv, i * width, (i + 1) * width) for i in range(3))
    attended = ops.attention(q, k, v, rows.segments, heads, adapters=terms)
    for half, x, mod, segments, _, start, stop in halves:
        ops.linear(ops.rows(attended, start, stop), half.out, gate=mod[2], residual=x, segments=segments)
        _feed_forward(ops, half, x, mod[3], mod[4], mod[5], segments)
    if terms is not None and layout.terms is not None:
        ops.add(stream, terms.out, rows.segments, layout.terms.touched)


def _feed_forward(
    ops: Ops[Any, Any], half: Stream, x: Any, shift: Any, scale: Any, gate: Any, segments: Segments
) -> None:
    """Compute x += gate * down(gelu(up(norm(x))))."""
    hidden = ops.linear(ops.modulate(x, shift, scale, segments), half.up, activation="gelu_tanh")
    ops.linear(hidden, half.down, gate=gate, residual=x, segments=segments)


def _single_block(
    ops: Ops[Any, Any],
    block: SingleBlock,
    stream: Any,
    layout: FluxLayout[Any],
    modulations: _Modulations,
    heads: int,
) -> None:
    """Add attention and MLP, side by side over text and image alike, to `stream`."""
    shift, scale, gate = modulations.take(3)
    rows, width = layout.rows, modulations.width
    normed = ops.modulate(stream, shift, scale, rows.segments)
    qkv = ops.linear(normed, block.qkv)
    ops.qk_norm_rope(qkv, heads, block.q_norm, block.k_norm, *layout.rope)
    both = ops.empty(rows.total, 5 * width)  # attention | MLP: what `out` reads
    ops.linear(normed, block.mlp, activation="gelu_tanh", out=ops.columns(both, width, 5 * width))
    q, k, v = (ops.columns(qkv, i * width, (i + 1) * width) for i in range(3))
    ops.attention(q, k, v, rows.segments, heads, out=ops.columns(both, 0, width))
    ops.linear(both, block.out, gate=gate, residual=stream, segments=rows.segments)


def _want_fitting(config: FluxConfig, samples: Sequence[Sample], adapters: AdapterTable | None) -> None:
    for sample in samples:
        if len(sample.grid) != 2 or min(sample.grid) < 1:
            raise ValueError(f"layout: grid: got {sample.grid}, want height and width from 1 up")
        if (sample.guidance is not None) != config.guidance_embeds:
            wanted = "a number" if config.guidance_embeds else "None: the model has no guidance embedding"
            raise ValueError(f"layout: guidance: got {sample.guidance}, want {wanted}")
    if adapters is not None and ((adapters.samples < 0) | (adapters.samples >= len(samples))).any():
        raise ValueError(f"layout: adapters: got samples {adapters.samples.tolist()}, want 0..{len(samples) - 1}")
