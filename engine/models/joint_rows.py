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


def shared_texts(samples: Sequence[Sample]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the text rows of all samples, float32 [U, E], those of a shared text once; and which of them each sample
    reads one after another, int32 [Tt]."""
    texts = {id(sample.text): sample.text.tokens for sample in samples}
    ends = np.cumsum([0, *(len(tokens) for tokens in texts.values())])
    starts = dict(zip(texts, ends.tolist(), strict=False))
    places = [np.arange(len(sample.text.tokens)) + starts[id(sample.text)] for sample in samples]
    return np.concatenate([*texts.values()]), np.concatenate(places).astype(np.int32)
