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
from typing import Any, Generic, TypeVar

import numpy as np

from ...kernels.ops import LowRankTerm, Ops, Vector
from ..denoiser import Pages, Sample
from ..weights import flux2_lora as names
from ..weights.flux2 import Flux2Config, Flux2Weights, load_flux2
from .flux2_blocks import Rows, double_block, modulation, single_block, tables
from .flux2_references import REFERENCE_STEP, MetKeys, beside_layers, met_keys
from .joint_rows import JointRows, placed_grids, shared_texts, text_readers
from .low_rank import BatchLoras, joint_loras, low_rank, text_loras

__all__ = ["Flux2Config", "Flux2Layout", "Flux2Weights", "layout", "load_flux2", "velocity"]

A = TypeVar("A")


@dataclass(frozen=True, eq=False)
class Flux2Layout(Generic[A]):
    """What stays the same while S samples step together.

    Attributes:
        rows: which rows of the stream belong to which part.
        text: float32 [Tt, D], the text rows of the stream as the first block finds them.
        guidance: compute [S, D], the guidance halfway through its embedding; None: the model has no guidance embedding.
        rope: cos and sin, float32 [Tt + Ti, E / 2], of all rows, of the text rows, of the image rows.
        loras: the LoRAs of the samples; None: none has any.
        met: keys and values of references that stand in no rows; None: there are none.
    """

    rows: JointRows
    text: A
    guidance: A | None
    rope: tuple[A, A]
    text_rope: tuple[A, A]
    image_rope: tuple[A, A]
    loras: BatchLoras | None = None
    met: MetKeys[A] | None = None

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
    found = tables(config.axes_dims_rope, config.rope_theta, lengths, grids)
    cos, sin = (ops.array(table, "float32") for table in found)
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
        met=met_keys(ops, config, samples, lengths),
    )


def velocity(
    ops: Ops[Any, Any],
    weights: Flux2Weights,
    layout: Flux2Layout[Any],
    latents: Any,
    times: Vector,
    pages: Pages | None = None,
) -> Any:
    """Return dx/dsigma of every image, float32 [Ti, C].

    Args:
        latents: float32 [Ti, C], the tokens of all images one after another, each row-major and with its references
            behind it, unless their keys are kept.
        times: vector float32 [S], sigma in 0..1 times 1000.
        pages: keys and values of references, of each layer, where the layout meets such.
    """
    config, rows = weights.config, layout.rows
    into, out = (layout.low_rank(name, "image") for name in (names.IMAGE_IN, names.IMAGE_OUT))
    image = ops.linear(ops.cast(latents), weights.image_in, dtype="float32", low_rank=into)
    stream = ops.concat([layout.text, image])
    text, image = ops.split(stream, [rows.text, rows.image])

    parts = modulation(ops, weights, layout.low_rank, times, layout.guidance)
    of_image, of_text, of_single, (scale, shift) = parts
    of_both = (
        Rows("text", text, of_text, rows.text_segments, layout.text_rope),
        Rows("image", image, of_image, rows.image_segments, layout.image_rope),
    )
    whole = Rows("stream", stream, of_single, rows.segments, layout.rope)
    beside = beside_layers(ops, weights, layout.met, pages)
    for number, double in enumerate(weights.double_blocks):
        sides = list(zip((double.text, double.image), of_both, strict=True))
        double_block(ops, config, number, sides, rows.segments, layout.low_rank, next(beside))
    for number, single in enumerate(weights.single_blocks):
        single_block(ops, config, number, single, whole, layout.low_rank, next(beside))

    normed = ops.modulate(image, shift, scale, rows.image_segments, eps=config.eps)
    return ops.linear(normed, weights.image_out, dtype="float32", low_rank=out)


def _want_fitting(config: Flux2Config, samples: Sequence[Sample]) -> None:
    for sample in samples:
        if len(sample.grid) != 2 or min(sample.grid) < 1:
            raise ValueError(f"layout: grid: got {sample.grid}, want height and width from 1 up")
        if (sample.guidance is not None) != config.guidance_embeds:
            wanted = "a number" if config.guidance_embeds else "None: the model has no guidance embedding"
            raise ValueError(f"layout: guidance: got {sample.guidance}, want {wanted}")
