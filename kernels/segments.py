"""Record which sample owns which rows: the ragged batch's only bookkeeping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

Int32 = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Segments:
    """Contiguous row ranges of a [T, D] array, each owned by one sample.

    Segment j covers rows `offsets[j] .. offsets[j+1]` and belongs to sample `owners[j]`. A sample may own several
    segments (its text rows and its image rows stand in different places of one array); empty segments are allowed.

    Attributes:
        offsets: int32 [N+1], starts at 0, never falls, ends at T.
        owners: int32 [N], each in `0 .. num_samples-1`; defaults to 0, 1, 2, ...
        num_samples: S, by default one more than the largest owner.
    """

    offsets: Int32
    owners: Int32
    num_samples: int
    max_rows: int = field(init=False)

    def __post_init__(self) -> None:
        offsets, owners = self.offsets, self.owners
        if offsets.dtype != np.int32 or offsets.ndim != 1 or len(offsets) < 1 or offsets[0] != 0:
            raise ValueError(f"segment offsets must be int32 [N+1] from 0, got {offsets.dtype} {offsets[:4]}...")
        if (np.diff(offsets) < 0).any():
            raise ValueError(f"segment offsets must never fall, got {offsets.tolist()}")
        if owners.dtype != np.int32 or owners.shape != (len(offsets) - 1,):
            raise ValueError(f"segment owners must be int32 [{len(offsets) - 1}], got {owners.dtype} {owners.shape}")
        if len(owners) and (owners.min() < 0 or owners.max() >= self.num_samples):
            raise ValueError(f"segment owners must lie in 0..{self.num_samples - 1}, got {owners.tolist()}")
        object.__setattr__(self, "max_rows", int(np.diff(offsets).max(initial=0)))

    @classmethod
    def of(
        cls, lengths: Sequence[int], owners: Sequence[int] | None = None, num_samples: int | None = None
    ) -> Segments:
        """Make segments of the given lengths, one after another."""
        offsets = np.zeros(len(lengths) + 1, np.int32)
        np.cumsum(np.asarray(lengths, np.int64), out=offsets[1:])
        ids = np.arange(len(lengths), dtype=np.int32) if owners is None else np.asarray(owners, np.int32)
        count = num_samples if num_samples is not None else int(ids.max(initial=-1)) + 1
        return cls(offsets, ids, count)

    @property
    def num_rows(self) -> int:
        """T, the number of rows that all segments cover together."""
        return int(self.offsets[-1])

    def __len__(self) -> int:
        return len(self.owners)

    def lengths(self) -> Int32:
        """Return the number of rows of each segment, int32 [N]."""
        return np.diff(self.offsets).astype(np.int32)

    def row_owners(self) -> Int32:
        """Return the sample that each row belongs to, int32 [T], read-only.

        It is made once, since every gated layer of a step uses it.
        """
        return self._row_owners

    @cached_property
    def _row_owners(self) -> Int32:
        owners = np.repeat(self.owners, np.diff(self.offsets))
        owners.flags.writeable = False
        return owners


@lru_cache(maxsize=32)  # batches of the same shapes are frequent
def bound_segments(
    lengths: tuple[int, ...], owners: tuple[int, ...] | None = None, num_samples: int | None = None
) -> Segments:
    """Make the segments that backends on the host use: read-only, with the owner of every row computed.

    Arguments and errors are those of `Segments.of`.
    """
    bound = Segments.of(lengths, owners, num_samples)
    for part in (bound.offsets, bound.owners, bound.row_owners()):
        part.setflags(write=False)
    return bound
