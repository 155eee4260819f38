"""Pad batches to few sizes, so that those of any mix of requests are alike to captured graphs.

What is added is filler samples of zeros behind all others. No other sample's numbers depend on them, since no op's row
depends on the other rows of a call, and their velocities are not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .denoiser import AdapterTable, Sample
from .text.pipeline import TextEncoding, read_only


class Filler(NamedTuple):
    """What is added to a batch: samples of so many image rows and text rows each."""

    image_rows: tuple[int, ...]
    text_rows: tuple[int, ...]

    def samples(self, like: Sample) -> list[Sample]:
        """Return the samples; their text is as wide as that of `like`."""
        made = []
        for image, text in zip(self.image_rows, self.text_rows, strict=True):
            tokens = np.zeros((text, like.text.tokens.shape[1]), np.float32)
            encoding: TextEncoding = read_only(tokens, np.zeros_like(like.text.pooled))
            made.append(Sample((1, image), encoding, like.guidance))
        return made


NONE = Filler((), ())


def bucket(count: int, least: int) -> int:
    """Return the least size from `count` on that batches are padded to: at most an eighth more, or a multiple of
    `least`."""
    step = max(least, 1 << max(0, count.bit_length() - 4))
    return -(-count // step) * step


def filler_of(samples: Sequence[Sample], *, rows: int = 64) -> Filler:
    """Return what pads a batch: image rows, text rows and samples to the next bucket each.

    Args:
        rows: least step between sizes in rows.
    """
    image = sum(sample.rows for sample in samples)
    text = sum(len(sample.text.tokens) for sample in samples)
    count = bucket(len(samples), 1)
    if count == len(samples) and bucket(image, rows) == image and bucket(text, rows) == text:
        return NONE
    count = bucket(max(count, len(samples) + 1), 1)
    more = count - len(samples)
    image_rows = bucket(image + more, rows) - image - (more - 1)
    text_rows = bucket(text, rows) - text
    return Filler((image_rows, *[1] * (more - 1)), (text_rows, *[0] * (more - 1)))


def padded_table(table: AdapterTable | None, filler: Filler, samples: int) -> AdapterTable | None:
    """Return an adapter table with terms of weight 0 on the first filler sample, to the next bucket of terms and rows.

    Args:
        samples: number of samples before the filler.
    """
    if table is None or not filler.image_rows:
        return table
    terms = bucket(len(table.samples) + 1, 1) - len(table.samples)
    rows = bucket(len(table.rows) + 1, 64) - len(table.rows)
    ends = np.full(terms, len(table.rows) + rows, np.int32)  # the first term has all the rows
    return AdapterTable(
        samples=np.concatenate([table.samples, np.full(terms, samples, np.int32)]),
        offsets=np.concatenate([table.offsets, ends]),
        rows=np.concatenate([table.rows, np.full(rows, table.rows[0] if len(table.rows) else 0, np.int32)]),
        weights=np.concatenate([table.weights, np.zeros(terms, np.float32)]),
        joined=table.joined,
    )
