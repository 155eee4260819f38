"""Compute keys and values of references once for FLUX.2 [klein] KV, and say which samples meet them.

Source: FLUX.2 [klein] 9B KV (Black Forest Labs, 2026); diffusers' `Flux2KleinKVPipeline`, with which tests compare
it. References stand at time 0 and attend to one another alone, so what the image meets of them depends on neither
prompt, picture nor step. diffusers computes it within the first step; here it is a pass of its own, whose rows have
the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import numpy as np

from ...kernels.ops import LowRankTerm, Ops, Vector
from ...kernels.segments import Segments
from ..denoiser import KeptReferences, Pages, Sample
from ..weights import flux2_lora as names
from ..weights.flux2 import Flux2Config, Flux2Weights
from .flux2_blocks import Beside, Rows, double_block, modulation, single_block, tables
from .low_rank import BatchLoras, loras_of, low_rank, ranges_of

A = TypeVar("A")
REFERENCE_STEP: Final = 10  # of references on the first rotary axis


@dataclass(frozen=True, eq=False)
class ReferencePass(Generic[A]):
    """References of which keys and values are computed: those of a generation are a sample of its own, without text.

    Attributes:
        tokens: compute [R, C], the latents of all of them.
        segments: the rows of each sample.
        rope: cos and sin, float32 [R, E / 2].
        times: vector float32 [S] of zeros.
        loras: the LoRAs that they are read through; None: there are none.
    """

    tokens: A
    segments: Segments
    rope: tuple[A, A]
    times: Vector
    loras: BatchLoras | None = None

    def low_rank(self, target: str, place: str) -> Sequence[LowRankTerm]:
        """Return the low-rank terms of a linear (`flux2_lora`), which reads the rows of a place."""
        return low_rank(self.loras, target, place)


@dataclass(frozen=True, eq=False)
class MetKeys(Generic[A]):
    """The references whose keys and values samples meet in every layer, beside those of their own rows.

    Attributes:
        segments: whose the keys are that attention reads: those of the stream, then of every sample with references
            theirs, first those in the arena.
        kept: vector int32, where these lie in the arena's arrays; None: there are none.
        rows: vector int32, the rows of the others among those of `computed`; None: there are none.
        computed: what has no room in the arena, and is computed at every step; None: nothing.
    """

    segments: Segments
    kept: Vector | None
    rows: Vector | None
    computed: ReferencePass[A] | None


def reference_pass(ops: Ops[Any, Any], config: Flux2Config, samples: Sequence[KeptReferences]) -> ReferencePass[Any]:
    """Lay out references, of which `reference_keys` computes keys and values."""
    counts = [len(sample) for sample in samples]
    ranges = ranges_of(counts)
    places = {"image": ranges, "stream": ranges, "sample": ranges_of([1] * len(samples))}
    grids = tuple((*grid, REFERENCE_STEP * place) for each in samples for place, grid in enumerate(each.grids, 1))
    cos, sin = (ops.array(table, "float32") for table in tables(config.axes_dims_rope, config.rope_theta, (), grids))
    (times,) = ops.vectors(np.zeros(len(samples), np.float32))
    return ReferencePass(
        tokens=ops.cast(ops.concat([sample.tokens for sample in samples])),
        segments=ops.segments(counts),
        rope=(cos, sin),
        times=times,
        loras=loras_of([sample.loras for sample in samples], places),
    )


def reference_keys(
    ops: Ops[Any, Any], weights: Flux2Weights, references: ReferencePass[Any]
) -> Iterator[tuple[Any, Any]]:
    """Yield keys and values of references, compute [R, D] each, of every block in the order of computation."""
    config, segments, rope = weights.config, references.segments, references.rope
    into = references.low_rank(names.IMAGE_IN, "image")
    stream = ops.linear(references.tokens, weights.image_in, dtype="float32", low_rank=into)
    of_image, _, of_single, _ = modulation(ops, weights, references.low_rank, references.times)
    image = Rows("image", stream, of_image, segments, rope)
    whole = Rows("stream", stream, of_single, segments, rope)
    for number, double in enumerate(weights.double_blocks):
        yield double_block(ops, config, number, [(double.image, image)], segments, references.low_rank)
    for number, single in enumerate(weights.single_blocks):
        yield single_block(ops, config, number, single, whole, references.low_rank)


def met_keys(
    ops: Ops[Any, Any], config: Flux2Config, samples: Sequence[Sample], texts: Sequence[int]
) -> MetKeys[Any] | None:
    """Return the references that samples meet without having them in their rows; None: there are none.

    Args:
        texts: text rows of each sample.
    """
    looking = [(place, sample.kept) for place, sample in enumerate(samples) if sample.kept is not None]
    if not looking:
        return None
    kept = [(place, each.rows) for place, each in looking if each.rows is not None]
    others = [(place, each) for place, each in looking if each.rows is None]
    computed = list({id(each): each for _, each in others}.values())
    starts = dict(zip(map(id, computed), np.cumsum([0, *map(len, computed)]).tolist(), strict=False))
    rows = [np.arange(len(each), dtype=np.int32) + np.int32(starts[id(each)]) for _, each in others]
    own, arena = range(len(samples)), [each for _, each in kept]
    lengths = [*texts, *(sample.rows for sample in samples), *map(len, arena), *map(len, rows)]
    owners = [*own, *own, *(place for place, _ in kept), *(place for place, _ in others)]
    first, second = (ops.vectors(np.concatenate(each))[0] if each else None for each in (arena, rows))
    return MetKeys(
        segments=ops.segments(lengths, owners, len(samples)),
        kept=first,
        rows=second,
        computed=reference_pass(ops, config, computed) if computed else None,
    )


def beside_layers(
    ops: Ops[Any, Any], weights: Flux2Weights, met: MetKeys[Any] | None, pages: Pages | None
) -> Iterator[Beside | None]:
    """Yield what the attention of each layer reads beside its own rows; None: nothing.

    Args:
        pages: the arrays in which `MetKeys.kept` lies.
    """
    count = len(weights.double_blocks) + len(weights.single_blocks)
    if met is None:
        yield from (None for _ in range(count))
        return
    computed = iter(()) if met.computed is None else reference_keys(ops, weights, met.computed)
    for layer in range(count):
        tables_read = []
        if met.kept is not None:
            assert pages is not None, "references without their keys and values"
            tables_read.append((met.kept, (pages.keys[layer], pages.values[layer])))
        if met.rows is not None:
            tables_read.append((met.rows, next(computed)))
        keys, values = (
            [ops.cast(ops.embed([rows], [both[which]])) for rows, both in tables_read] for which in range(2)
        )
        yield Beside(keys, values, met.segments)
