"""Lay out text and images of a batch as one residual stream: the text rows of all samples, then their image rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...kernels.ops import Ops
from ...kernels.segments import Segments
from ..denoiser import Sample


@dataclass(frozen=True, eq=False)
class JointRows:
    """Which rows of the stream belong to which part.

    Attributes:
        text, image: number of text rows and of image rows.
        text_segments, image_segments: of each sample, in one part alone.
        segments: S text segments, then S image segments of the whole; sample j owns the j-th of both.
    """

    text: int
    image: int
    text_segments: Segments
    image_segments: Segments
    segments: Segments

    @classmethod
    def of(cls, ops: Ops[Any, Any], texts: Sequence[int], images: Sequence[int]) -> JointRows:
        """Return the rows of samples with so many text rows and image rows each."""
        both = ops.segments([*texts, *images], [*range(len(texts)), *range(len(images))])
        return cls(sum(texts), sum(images), ops.segments(texts), ops.segments(images), both)

    @property
    def total(self) -> int:
        """All rows of the stream."""
        return self.text + self.image


def placed_grids(samples: Sequence[Sample], step: int) -> tuple[tuple[int, int, int], ...]:
    """Return (height, width, position on the first rotary axis) of every image and, behind it, of its references.

    Images stand at 0, the references of each at `step`, 2 * `step`, and so on.
    """
    return tuple(
        (*grid, step * place) for sample in samples for place, grid in enumerate((sample.grid, *sample.references))
    )


def shared_texts(samples: Sequence[Sample]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the text rows of all samples, float32 [U, E], those of a shared text once; and which of them each sample
    reads one after another, int32 [Tt]. Samples with different LoRAs share none."""
    texts = [sample.text.tokens for sample in text_readers(samples)]
    ends = np.cumsum([0, *map(len, texts)])
    starts = dict(zip(map(reading_of, text_readers(samples)), ends.tolist(), strict=False))
    places = [np.arange(len(sample.text.tokens)) + starts[reading_of(sample)] for sample in samples]
    return np.concatenate(texts), np.concatenate(places).astype(np.int32)


def text_readers(samples: Sequence[Sample]) -> list[Sample]:
    """Return one sample for each text of `shared_texts`, in the order of its rows."""
    first: dict[tuple[int, int], Sample] = {}
    for sample in samples:
        first.setdefault(reading_of(sample), sample)
    return list(first.values())


def reading_of(sample: Sample) -> tuple[int, int]:
    """Return the key of a text: the text itself, and the LoRAs that it is read through."""
    return id(sample.text), id(sample.loras) if sample.loras else 0
