"""Tell kernels which rows are whose: tables on the device, made once for each `Segments`.

Their shapes depend on the numbers of rows, segments and samples alone, never on how the rows are divided. A graph that
was captured with one table therefore replays with any other of the same numbers, whose content is copied over it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..segments import Int32, Segments
from .arrays import DeviceVector, bring


@dataclass(frozen=True, eq=False)
class Tiles:
    """Blocks of rows that never reach over two segments.

    Attributes:
        table: int32 [T // size + N, 2], the segment of a block and its first row; segment -1: no block.
        first: int32 [N + 1], segment j has the blocks first[j] to first[j + 1].
        size: rows of a block; the last of a segment may have fewer.
    """

    table: torch.Tensor
    first: torch.Tensor
    size: int

    def __len__(self) -> int:
        return len(self.table)


@dataclass(frozen=True, eq=False)
class BySample:
    """Rows in the order of their samples, and those of a sample in that of its segments.

    Attributes:
        order: int32 [T], the row at each place.
        back: int32 [T], the place of each row.
        ends: int32 [S + 1], the first place of each sample, and T.
    """

    order: torch.Tensor
    back: torch.Tensor
    ends: torch.Tensor


class SegmentTables:
    """Everything that kernels read of one `Segments`.

    Attributes:
        offsets: int32 [N + 1].
        owners: int32 [N].
        row_owner: int32 [T], the sample of every row.
        places: int32 [N], how many rows of its sample stand in earlier segments.
        kv_first, kv_ranges: int32 [S + 1] and [N, 3]: sample s has the row ranges kv_first[s] to kv_first[s + 1], in
            the order of its segments: first row, last row, and how many rows of the sample stand before.
    """

    def __init__(self, segments: Segments, device: torch.device) -> None:
        self._lengths = segments.lengths()
        self._starts = segments.offsets
        self._device = device
        order = np.argsort(segments.owners, kind="stable")
        counts = np.bincount(segments.owners, minlength=segments.num_samples)
        first = np.concatenate([[0], np.cumsum(counts)])
        before = np.cumsum(self._lengths[order]) - self._lengths[order]  # of all samples, in their order
        starts = np.concatenate([before, [0]])[np.minimum(first[:-1], len(order))]  # of each sample
        before -= starts[segments.owners[order]]
        places = np.zeros_like(before)
        places[order] = before
        ranges = np.stack([segments.offsets[:-1][order], segments.offsets[1:][order], before], axis=1)
        self.offsets, self.owners, self.row_owner, self.places, self.kv_first, self.kv_ranges = bring(
            [
                segments.offsets,
                segments.owners,
                segments.row_owners(),
                places.astype(np.int32),
                first.astype(np.int32),
                ranges.astype(np.int32),
            ],
            device,
        )
        self.num_samples = segments.num_samples
        self._owners = segments.owners
        self._by_sample: BySample | None = None
        self._tiles: dict[int, Tiles] = {}

    def tiles(self, size: int) -> Tiles:
        """Return the blocks of `size` rows, made at the first call."""
        if size not in self._tiles:
            host, first = tile_tables(self._starts, self._lengths, size)
            tiles, starts = bring([host, first], self._device)
            self._tiles[size] = Tiles(tiles, starts, size)
        return self._tiles[size]

    def by_sample(self) -> BySample:
        """Return where rows stand when those of a sample stand together, made at the first call."""
        if self._by_sample is None:
            sample = np.repeat(self._owners, self._lengths)
            order = np.argsort(sample, kind="stable")
            ends = np.concatenate([[0], np.cumsum(np.bincount(sample, minlength=self.num_samples))])
            whole = [values.astype(np.int32) for values in (order, np.argsort(order), ends)]
            self._by_sample = BySample(*bring(whole, self._device))
        return self._by_sample

    def buffers(self) -> list[torch.Tensor]:
        """Return all arrays, in an order that tables of equal numbers and uses share."""
        own = [self.offsets, self.owners, self.row_owner, self.places, self.kv_first, self.kv_ranges]
        for size in sorted(self._tiles):
            own += [self._tiles[size].table, self._tiles[size].first]
        if self._by_sample is not None:
            own += [self._by_sample.order, self._by_sample.back, self._by_sample.ends]
        return own

    def copy_from(self, other: SegmentTables) -> None:
        """Take the content of other tables of equal numbers into these arrays, which keep their places."""
        for size in self._tiles:
            other.tiles(size)
        for size in list(other._tiles):
            self.tiles(size)
        if self._by_sample is not None or other._by_sample is not None:
            self.by_sample()
            other.by_sample()
        for mine, theirs in zip(self.buffers(), other.buffers(), strict=True):
            mine.copy_(theirs, non_blocking=True)
        self._lengths, self._starts = other._lengths, other._starts
        self._owners = other._owners


def tile_tables(starts: Int32, lengths: Int32, size: int) -> tuple[Int32, Int32]:
    """Return `Tiles.table` and `Tiles.first` for segments that start at `starts` [N + 1]."""
    counts = -(-lengths.astype(np.int64) // size)
    first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    table = np.full((int(starts[-1]) // size + len(lengths), 2), -1, np.int32)
    number = int(first[-1])
    table[:number, 0] = np.repeat(np.arange(len(lengths)), counts)
    table[:number, 1] = starts[:-1][table[:number, 0]] + (np.arange(number) - first[table[:number, 0]]) * size
    return table, first


@dataclass(frozen=True, eq=False)
class TermTable:
    """The adapter terms of each query segment, in their order.

    Attributes:
        first: int32 [N + 1]; segment j has the terms order[first[j]] to order[first[j + 1] - 1].
        order: int32 [M], numbers of terms.
    """

    first: torch.Tensor
    order: torch.Tensor

    @classmethod
    def of(cls, segments: DeviceVector, count: int, device: torch.device) -> TermTable:
        """Make the table of terms that act on `segments` [M], of `count` segments in all."""
        order = np.argsort(segments.host, kind="stable").astype(np.int32)
        counts = np.bincount(segments.host, minlength=count)
        return cls(*bring([np.concatenate([[0], np.cumsum(counts)]).astype(np.int32), order], device))
