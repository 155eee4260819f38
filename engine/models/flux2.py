"""Compute the FLUX.2 transformer family over ragged rows: [dev] and [klein].

Source: FLUX.2 (Black Forest Labs, 2025). Unlike FLUX.1, all blocks of a kind share one modulation, nothing has a bias,
feed-forward parts are SwiGLU (2002.05202), and rotary embedding has four axes: 0 or the place of a reference, row and
column of an image token, and the place of a text token. Tests compare it with diffusers' `Flux2Transformer2DModel`.

ONE array holds the residual stream of the batch, see `JointRows`; double blocks take its two parts, single blocks take
the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...kernels.ops import LowRankTerm, Ops, Vector
from ..denoiser import Sample
from ..weights import flux2_lora as names
from ..weights.flux2 import DoubleBlock, Flux2Config, Flux2Weights, SingleBlock, load_flux2
from .joint_rows import JointRows, placed_grids, shared_texts, text_readers
from .low_rank import BatchLoras, joint_loras, low_rank, text_loras
from .rope import id_tables

__all__ = ["Flux2Config", "Flux2Layout", "Flux2Weights", "layout", "load_flux2", "velocity"]

A = TypeVar("A")
REFERENCE_STEP: Final = 10  # of references on the first rotary axis
Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Flux2Layout(Generic[A]):
    """What stays the same while S samples step together.

    Attributes:
        rows: which rows of the stream belong to which part.
        text: float32 [Tt, D], the text rows of the stream as the first block finds them.
        guidance: compute [S, D], the guidance halfway through its embedding; None: the model has no guidance embedding.
        rope: cos and sin, float32 [Tt + Ti, E / 2], of all rows, of the text rows, of the image rows.
        loras: the LoRAs of the samples; None: none has any.
    """

    rows: JointRows
    text: A
    guidance: A | None
    rope: tuple[A, A]
    text_rope: tuple[A, A]
    image_rope: tuple[A, A]
    loras: BatchLoras | None = None

    def low_rank(self, target: str, place: str) -> Sequence[LowRankTerm]:
        """Return the low-rank terms of a linear (`flux2_lora`), which reads the rows of a place."""
        return low_rank(self.loras, target, place)


def layout(ops: Ops[Any, Any], weights: Flux2Weights, samples: Sequence[Sample]) -> Flux2Layout[Any]:
    """Lay out a batch of at least one sample.

    Raises:
        ValueError: parts of a sample do not fit each other or the model.
    """
    config = weights.config
    _want_fitting(config, samples)
    tokens, places = shared_texts(samples)
    readers = text_readers(samples)
    reading = low_rank(text_loras(readers, [len(one.text.tokens) for one in readers]), names.TEXT_IN, "text")
    embedded = ops.linear(ops.array(tokens), weights.text_in, dtype="float32", low_rank=reading)
    grids = placed_grids(samples, REFERENCE_STEP)
    lengths = tuple(len(sample.text.tokens) for sample in samples)
    rows = JointRows.of(ops, lengths, [sample.rows for sample in samples])
    loras = joint_loras([sample.loras for sample in samples], rows)
    tables = _tables(config.axes_dims_rope, config.rope_theta, lengths, grids)
    cos, sin = (ops.array(table, "float32") for table in tables)
    cuts = [ops.split(table, [rows.text, rows.image]) for table in (cos, sin)]
    hidden = None
    if weights.guidance is not None:
        (guidance,) = ops.vectors(np.array([sample.guidance for sample in samples], np.float32) * np.float32(1000))
        sinusoid = ops.timestep_embedding(guidance, config.timestep_guidance_channels)
        terms = low_rank(loras, f"{names.GUIDANCE}.first", "sample")
        hidden = ops.linear(sinusoid, weights.guidance.first, activation="silu", low_rank=terms)
    return Flux2Layout(
        rows=rows,
        text=ops.embed(ops.vectors(places), [embedded]),
        guidance=hidden,
        rope=(cos, sin),
        text_rope=(cuts[0][0], cuts[1][0]),
        image_rope=(cuts[0][1], cuts[1][1]),
        loras=loras,
    )


def velocity(ops: Ops[Any, Any], weights: Flux2Weights, layout: Flux2Layout[Any], latents: Any, times: Vector) -> Any:
    """Return dx/dsigma of every image, float32 [Ti, C].

    Args:
        latents: float32 [Ti, C], the tokens of all images one after another, each row-major and with its references
            behind it.
        times: vector float32 [S], sigma in 0..1 times 1000.
    """
    config, rows = weights.config, layout.rows
    into, out = (layout.low_rank(name, "image") for name in (names.IMAGE_IN, names.IMAGE_OUT))
    image = ops.linear(ops.cast(latents), weights.image_in, dtype="float32", low_rank=into)
    stream = ops.concat([layout.text, image])
    text, image = ops.split(stream, [rows.text, rows.image])

    condition, terms = _condition(ops, weights, layout, times), layout.low_rank(names.MODULATION, "sample")
    columns = ops.linear(condition, weights.modulation, dtype="float32", low_rank=terms)
    d = config.width
    parts = [ops.columns(columns, i * d, (i + 1) * d) for i in range(17)]
    of_image, of_text, of_single, last = parts[:6], parts[6:12], parts[12:15], parts[15:]
    for number, double in enumerate(weights.double_blocks):
        _double_block(ops, config, number, double, text, image, layout, of_image, of_text)
    for number, single in enumerate(weights.single_blocks):
        _single_block(ops, config, number, single, stream, layout, of_single)

    scale, shift = last
    normed = ops.modulate(image, shift, scale, rows.image_segments, eps=config.eps)
    return ops.linear(normed, weights.image_out, dtype="float32", low_rank=out)


def _condition(ops: Ops[Any, Any], weights: Flux2Weights, layout: Flux2Layout[Any], times: Vector) -> Any:
    """Return silu(time + guidance), compute [S, D], which every adaLN projection reads."""
    sinusoid = ops.timestep_embedding(times, weights.config.timestep_guidance_channels)
    first, second = (layout.low_rank(f"{names.TIME}.{name}", "sample") for name in ("first", "second"))
    hidden = ops.linear(sinusoid, weights.time.first, activation="silu", low_rank=first)
    total = ops.linear(hidden, weights.time.second, dtype="float32", low_rank=second)
    if weights.guidance is not None:
        terms = layout.low_rank(f"{names.GUIDANCE}.second", "sample")
        ops.linear(layout.guidance, weights.guidance.second, residual=total, low_rank=terms)
    return ops.cast(total, activation="silu")


def _double_block(
    ops: Ops[Any, Any], config: Flux2Config, number: int, block: DoubleBlock, text: Any, image: Any,
    layout: Flux2Layout[Any], of_image: list[Any], of_text: list[Any],
) -> None:  # fmt: skip
    """Add joint attention and feed-forward parts to `text` and `image`, which have weights of their own each."""
    rows, d = layout.rows, config.width
    qkv = ops.empty(rows.total, 3 * d)
    halves = (
        ("text", block.text, text, of_text, rows.text_segments, layout.text_rope, 0, rows.text),
        ("image", block.image, image, of_image, rows.image_segments, layout.image_rope, rows.text, rows.total),
    )
    for name, half, x, mod, segments, (cos, sin), start, stop in halves:
        part, terms = ops.rows(qkv, start, stop), layout.low_rank(f"double.{number}.{name}.qkv", name)
        ops.linear(ops.modulate(x, mod[0], mod[1], segments, eps=config.eps), half.qkv, out=part, low_rank=terms)
        ops.qk_norm_rope(part, config.num_attention_heads, half.q_norm, half.k_norm, cos, sin, eps=config.eps)
    q, k, v = (ops.columns(qkv, i * d, (i + 1) * d) for i in range(3))
    attended = ops.attention(q, k, v, rows.segments, config.num_attention_heads)
    for name, half, x, mod, segments, _, start, stop in halves:
        out, up, down = (layout.low_rank(f"double.{number}.{name}.{part}", name) for part in ("out", "up", "down"))
        own = ops.rows(attended, start, stop)
        ops.linear(own, half.out, gate=mod[2], residual=x, segments=segments, low_rank=out)
        hidden = ops.modulate(x, mod[3], mod[4], segments, eps=config.eps)
        hidden = ops.linear(hidden, half.up, activation="swiglu", low_rank=up)
        ops.linear(hidden, half.down, gate=mod[5], residual=x, segments=segments, low_rank=down)


def _single_block(
    ops: Ops[Any, Any], config: Flux2Config, number: int, block: SingleBlock, stream: Any, layout: Flux2Layout[Any],
    mod: list[Any],
) -> None:  # fmt: skip
    """Add attention and feed-forward part, side by side over text and image alike, to `stream`."""
    shift, scale, gate = mod
    rows, d, heads = layout.rows, config.width, config.num_attention_heads
    normed = ops.modulate(stream, shift, scale, rows.segments, eps=config.eps)
    terms = {name: layout.low_rank(f"single.{number}.{name}", "stream") for name in ("qkv", "up", "out")}
    qkv = ops.linear(normed, block.qkv, low_rank=terms["qkv"])
    ops.qk_norm_rope(qkv, heads, block.q_norm, block.k_norm, *layout.rope, eps=config.eps)
    both = ops.empty(rows.total, d + config.hidden)  # attention | feed-forward: what `out` reads
    hidden = ops.columns(both, d, d + config.hidden)
    ops.linear(normed, block.up, activation="swiglu", out=hidden, low_rank=terms["up"])
    q, k, v = (ops.columns(qkv, i * d, (i + 1) * d) for i in range(3))
    ops.attention(q, k, v, rows.segments, heads, out=ops.columns(both, 0, d))
    ops.linear(both, block.out, gate=gate, residual=stream, segments=rows.segments, low_rank=terms["out"])


@lru_cache(maxsize=2)  # the batch that is running and the one before
def _tables(
    axes: tuple[int, ...], theta: float, lengths: tuple[int, ...], grids: tuple[tuple[int, int, int], ...]
) -> tuple[Float32, Float32]:
    """Return cos and sin of a whole batch, float32 [text rows + image rows, sum(axes) / 2]."""
    tables = [_text_tables(length, axes, theta) for length in lengths]
    tables += [_grid_tables(*grid, axes, theta) for grid in grids]
    return np.concatenate([cos for cos, _ in tables]), np.concatenate([sin for _, sin in tables])


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


def _want_fitting(config: Flux2Config, samples: Sequence[Sample]) -> None:
    for sample in samples:
        if len(sample.grid) != 2 or min(sample.grid) < 1:
            raise ValueError(f"layout: grid: got {sample.grid}, want height and width from 1 up")
        if (sample.guidance is not None) != config.guidance_embeds:
            wanted = "a number" if config.guidance_embeds else "None: the model has no guidance embedding"
            raise ValueError(f"layout: guidance: got {sample.guidance}, want {wanted}")
