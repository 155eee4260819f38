"""Put the rows of references behind those of the samples that look at them, and take them away again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..kernels.ops import Ops
from .denoiser import Sample


class ReferenceRows:
    """The rows of a batch of which some samples have references.

    Args:
        ops: op table of the backend.
        samples: what the model sees, in the order of their rows.
        tokens: of each the latents of its references, backend array float32 [rows, C], which several may share; None:
            it has none.
    """

    def __init__(self, ops: Ops[Any, Any], samples: Sequence[Sample], tokens: Sequence[Any]) -> None:
        self.ops = ops
        tables = {id(each): each for each in tokens if each is not None}
        self._tokens = ops.concat(list(tables.values()))
        own = [sample.grid[0] * sample.grid[1] for sample in samples]
        start, starts = sum(own), dict[int, int]()
        for key, each in tables.items():
            starts[key] = start
            start += each.shape[0]
        rows, kept, first, place = [], [], 0, 0
        for sample, count, table in zip(samples, own, tokens, strict=True):
            rows.append(np.arange(first, first + count, dtype=np.int32))
            if (beside := sample.rows - count) > 0:
                rows.append(np.arange(beside, dtype=np.int32) + np.int32(starts[id(table)]))
            kept.append(np.arange(place, place + count, dtype=np.int32))
            first, place = first + count, place + count + beside
        self._rows, self._kept = ops.vectors(np.concatenate(rows), np.concatenate(kept))

    def put(self, latents: Any) -> Any:
        """Return the latents float32 [T, C] of all samples with those of references, float32 [T', C]."""
        return self.ops.embed([self._rows], [self.ops.concat([latents, self._tokens])])

    def take(self, velocity: Any) -> Any:
        """Return the rows float32 [T, C] of the samples alone of a velocity [T', C]."""
        return self.ops.embed([self._kept], [velocity])
