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
from typing import Any, Final, Generic, TypeVar

import numpy as np

from ...kernels.ops import AdapterTerms, LowRankTerm, Ops, Vector
from ..denoiser import AdapterTable, Pages, Sample
from ..weights import flux_lora as names
from ..weights.flux import TIME_CHANNELS, DoubleBlock, FluxConfig, FluxWeights, SingleBlock, load_flux
from ..weights.ip_adapter import IpAdapter, load_adapter_branch, load_ip_adapter
from .joint_rows import JointRows, placed_grids, shared_texts, text_readers
from .low_rank import BatchLoras, loras_of, ranges_of
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
REFERENCE_STEP: Final = 1  # of references on the first rotary axis, as FLUX.1 Kontext has them


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
        joint_terms: the same over text and image, of adapters that act in single blocks too; None: no such ones.
        loras: the LoRAs of the samples; None: none has any.
        beside: float32 [Ti, D], what the image rows of FLUX.1 Fill have beside their tokens; None: of other models.
    """

    rows: JointRows
    text: A
    pooled: A
    guidance: A | None
    rope: tuple[A, A]
    text_rope: tuple[A, A]
    image_rope: tuple[A, A]
    terms: _Terms | None
    loras: BatchLoras | None = None
    beside: A | None = None
    joint_terms: _Terms | None = None

    def low_rank(self, target: str, place: str) -> Sequence[LowRankTerm]:
        """Return the low-rank terms of a linear (`flux_lora`), which reads the rows of a place (`_loras`)."""
        return () if self.loras is None else self.loras.terms(target, place)


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
    (tokens, places), readers = shared_texts(samples), text_readers(samples)
    reading = loras_of([one.loras for one in readers], {"text": ranges_of([len(one.text.tokens) for one in readers])})
    acting = adapters if adapters is not None and len(adapters.samples) else None
    terms = () if reading is None else reading.terms(names.TEXT_IN, "text")
    embedded = ops.linear(ops.array(tokens), weights.text_in, dtype="float32", low_rank=terms)

    grids = placed_grids(samples, REFERENCE_STEP)
    lengths = [len(sample.text.tokens) for sample in samples]
    rows = JointRows.of(ops, lengths, [sample.rows for sample in samples])
    loras = _loras(samples, rows, lengths)
    cos, sin = (ops.array(table, "float32") for table in batch_tables(config.axes_dims_rope, rows.text, grids))
    cuts = [ops.split(table, [rows.text, rows.image]) for table in (cos, sin)]
    pooled = ops.array(np.stack([sample.text.pooled for sample in samples]))
    hidden = None
    if weights.guidance is not None:
        (guidance,) = ops.vectors(np.array([sample.guidance for sample in samples], np.float32) * np.float32(1000))
        sinusoid = ops.timestep_embedding(guidance, TIME_CHANNELS)
        terms = () if loras is None else loras.terms(f"{names.GUIDANCE}.first", "sample")
        hidden = ops.linear(sinusoid, weights.guidance.first, activation="silu", low_rank=terms)
    terms = () if loras is None else loras.terms(f"{names.POOLED}.first", "sample")
    return FluxLayout(
        rows=rows,
        text=ops.embed(ops.vectors(places), [embedded]),
        pooled=ops.linear(pooled, weights.pooled.first, activation="silu", low_rank=terms),
        guidance=hidden,
        rope=(cos, sin),
        text_rope=(cuts[0][0], cuts[1][0]),
        image_rope=(cuts[0][1], cuts[1][1]),
        terms=None if acting is None else _Terms.of(ops, acting, len(samples)),
        joint_terms=None if acting is None or not acting.joined else _Terms.joint(ops, acting, len(samples)),
        loras=loras,
        beside=_beside(ops, weights, samples, loras),
    )


def _beside(ops: Ops[Any, Any], weights: FluxWeights, samples: Sequence[Sample], loras: BatchLoras | None) -> Any:
    """Return what the image rows of FLUX.1 Fill have beside their tokens, float32 [Ti, D]; None: of other models."""
    channels = weights.config.beside_channels
    if not channels:
        return None
    parts = [np.zeros((each.rows, channels), np.float32) if each.beside is None else each.beside for each in samples]
    terms = () if loras is None else loras.terms(names.BESIDE_IN, "image")
    return ops.linear(ops.array(np.concatenate(parts)), weights.beside_in, dtype="float32", low_rank=terms)


def _loras(samples: Sequence[Sample], rows: JointRows, lengths: Sequence[int]) -> BatchLoras | None:
    """Return the LoRAs of a batch. `lengths`: text rows of each sample."""
    text, image = ranges_of(lengths), ranges_of([sample.rows for sample in samples])
    stream = [
        [*a, *((rows.text + start, rows.text + stop) for start, stop in b)] for a, b in zip(text, image, strict=True)
    ]
    places = {"text": text, "image": image, "stream": stream, "sample": ranges_of([1] * len(samples))}
    return loras_of([sample.loras for sample in samples], places)


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
        latents: float32 [Ti, C], the tokens of all images one after another, each row-major and with its references
            behind it.
        times: vector float32 [S], sigma in 0..1 times 1000.
        pages: where the rows of the layout's adapter table lie, a pair of arrays for each double block.

    Raises:
        ValueError: an argument does not fit the layout.
    """
    rows, width, heads = layout.rows, weights.config.width, weights.config.num_attention_heads
    given = (0, 0) if pages is None else (len(pages.keys), len(pages.values))
    doubles, joint = len(weights.double_blocks), layout.joint_terms
    count = doubles + (0 if joint is None else len(weights.single_blocks))
    if layout.terms is not None and given != (count, count):
        wanted = f"{count} of each, for the {'double blocks' if joint is None else 'blocks'}"
        raise ValueError(f"velocity: pages: got {given[0]} keys and {given[1]} values, want {wanted}")
    image = ops.linear(
        ops.cast(latents), weights.image_in, dtype="float32", low_rank=layout.low_rank(names.IMAGE_IN, "image")
    )
    if layout.beside is not None:
        ops.add(image, layout.beside)
    stream = ops.concat([layout.text, image])
    text, image = ops.split(stream, [rows.text, rows.image])

    condition = _condition(ops, weights, layout, times)
    terms = layout.low_rank(names.MODULATION, "sample")
    columns = ops.linear(condition, weights.modulation, dtype="float32", low_rank=terms)
    modulations = _Modulations(ops, columns, width)
    for i, double in enumerate(weights.double_blocks):
        adapters = None
        if layout.terms is not None and pages is not None:
            adapters = layout.terms.of_layer(pages.keys[i], pages.values[i])
        _double_block(ops, f"double.{i}", double, stream, text, image, layout, modulations, heads, adapters)
    for i, single in enumerate(weights.single_blocks):
        adapters = None
        if joint is not None and pages is not None:
            adapters = joint.of_layer(pages.keys[doubles + i], pages.values[doubles + i])
        _single_block(ops, f"single.{i}", single, stream, layout, modulations, heads, adapters)

    scale, shift = modulations.take(2)
    normed = ops.modulate(image, shift, scale, rows.image_segments)
    terms = layout.low_rank(names.IMAGE_OUT, "image")
    return ops.linear(normed, weights.image_out, dtype="float32", low_rank=terms)


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

    @classmethod
    def joint(cls, ops: Ops[Any, Any], table: AdapterTable, samples: int) -> _Terms:
        """Return the terms of text and image segments alike."""
        segments = np.concatenate([table.samples, table.samples + np.int32(samples)]).astype(np.int32)
        offsets = np.concatenate([table.offsets, table.offsets[1:] + table.offsets[-1]]).astype(np.int32)
        rows, weights = np.tile(table.rows, 2), np.tile(table.weights, 2)
        return cls(*ops.vectors(segments, offsets, rows, weights, np.unique(segments)))

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

    def terms(target: str) -> Sequence[LowRankTerm]:
        return layout.low_rank(target, "sample")

    time = ops.timestep_embedding(times, TIME_CHANNELS)
    time = ops.linear(time, weights.time.first, activation="silu", low_rank=terms(f"{names.TIME}.first"))
    total = ops.linear(time, weights.time.second, dtype="float32", low_rank=terms(f"{names.TIME}.second"))
    if weights.guidance is not None:
        second = terms(f"{names.GUIDANCE}.second")
        ops.linear(layout.guidance, weights.guidance.second, residual=total, low_rank=second)
    ops.linear(layout.pooled, weights.pooled.second, residual=total, low_rank=terms(f"{names.POOLED}.second"))
    return ops.cast(total, activation="silu")


def _double_block(
    ops: Ops[Any, Any],
    at: str,
    block: DoubleBlock,
    stream: Any,
    text: Any,
    image: Any,
    layout: FluxLayout[Any],
    modulations: _Modulations,
    heads: int,
    terms: AdapterTerms | None,
) -> None:
    """Add joint attention over text and image to `stream`, of which `text` and `image` are views. `at` names the block.

    Text and image each have weights of their own.

    The query of adapters is the image's, normed but not rotated. Their output joins the image rows after the
    feed-forward, past `to_out` and without a gate (diffusers' FluxIPAdapterAttnProcessor), or is added to what
    attention gives (`AdapterBranch.head`).
    """
    image_mod, text_mod = modulations.take(6), modulations.take(6)
    rows, width = layout.rows, modulations.width
    qkv = ops.empty(rows.total, 3 * width)
    plain_q = None
    if terms is not None:
        plain_q = ops.empty(rows.total, width)
        terms = replace(
            terms, queries=plain_q, out=None if layout.joint_terms is not None else ops.empty(rows.total, width)
        )
    halves = (
        ("text", block.text, text, text_mod, rows.text_segments, layout.text_rope, 0, rows.text),
        ("image", block.image, image, image_mod, rows.image_segments, layout.image_rope, rows.text, rows.total),
    )
    for name, half, x, mod, segments, (cos, sin), start, stop in halves:
        part = ops.rows(qkv, start, stop)
        low_rank = layout.low_rank(f"{at}.{name}.qkv", name)
        ops.linear(ops.modulate(x, mod[0], mod[1], segments), half.qkv, out=part, low_rank=low_rank)
        plain = ops.rows(plain_q, start, stop) if half is block.image and plain_q is not None else None
        ops.qk_norm_rope(part, heads, half.q_norm, half.k_norm, cos, sin, plain_q=plain)

    q, k, v = (ops.columns(qkv, i * width, (i + 1) * width) for i in range(3))
    attended = ops.attention(q, k, v, rows.segments, heads, adapters=terms)
    for name, half, x, mod, segments, _, start, stop in halves:
        own = ops.rows(attended, start, stop)
        low_rank = layout.low_rank(f"{at}.{name}.out", name)
        ops.linear(own, half.out, gate=mod[2], residual=x, segments=segments, low_rank=low_rank)
        up, down = (layout.low_rank(f"{at}.{name}.{part}", name) for part in ("up", "down"))
        hidden = ops.modulate(x, mod[3], mod[4], segments)
        hidden = ops.linear(hidden, half.up, activation="gelu_tanh", low_rank=up)
        ops.linear(hidden, half.down, gate=mod[5], residual=x, segments=segments, low_rank=down)
    if terms is not None and terms.out is not None and layout.terms is not None:
        ops.add(stream, terms.out, rows.segments, layout.terms.touched)


def _single_block(
    ops: Ops[Any, Any],
    at: str,
    block: SingleBlock,
    stream: Any,
    layout: FluxLayout[Any],
    modulations: _Modulations,
    heads: int,
    terms: AdapterTerms | None = None,
) -> None:
    """Add attention and MLP, side by side over text and image alike, to `stream`. `at` names the block."""
    shift, scale, gate = modulations.take(3)
    rows, width = layout.rows, modulations.width
    normed = ops.modulate(stream, shift, scale, rows.segments)
    qkv = ops.linear(normed, block.qkv, low_rank=layout.low_rank(f"{at}.qkv", "stream"))
    if terms is not None:
        terms = replace(terms, queries=ops.empty(rows.total, width))
    plain_q = None if terms is None else terms.queries
    ops.qk_norm_rope(qkv, heads, block.q_norm, block.k_norm, *layout.rope, plain_q=plain_q)
    both = ops.empty(rows.total, 5 * width)  # attention | MLP: what `out` reads
    mlp, out = (layout.low_rank(f"{at}.{part}", "stream") for part in ("mlp", "out"))
    ops.linear(normed, block.mlp, activation="gelu_tanh", out=ops.columns(both, width, 5 * width), low_rank=mlp)
    q, k, v = (ops.columns(qkv, i * width, (i + 1) * width) for i in range(3))
    ops.attention(q, k, v, rows.segments, heads, out=ops.columns(both, 0, width), adapters=terms)
    ops.linear(both, block.out, gate=gate, residual=stream, segments=rows.segments, low_rank=out)


def _want_fitting(config: FluxConfig, samples: Sequence[Sample], adapters: AdapterTable | None) -> None:
    for sample in samples:
        if len(sample.grid) != 2 or min(sample.grid) < 1:
            raise ValueError(f"layout: grid: got {sample.grid}, want height and width from 1 up")
        if sample.beside is not None and sample.beside.shape != (sample.rows, config.beside_channels):
            shape = [sample.rows, config.beside_channels]
            raise ValueError(f"layout: beside: got {list(sample.beside.shape)}, want {shape}")
        if (sample.guidance is not None) != config.guidance_embeds:
            wanted = "a number" if config.guidance_embeds else "None: the model has no guidance embedding"
            raise ValueError(f"layout: guidance: got {sample.guidance}, want {wanted}")
    if adapters is not None and ((adapters.samples < 0) | (adapters.samples >= len(samples))).any():
        raise ValueError(f"layout: adapters: got samples {adapters.samples.tolist()}, want 0..{len(samples) - 1}")
