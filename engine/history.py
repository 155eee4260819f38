"""Give a batch's solver what it needs of evaluations before the last: sums of latents and velocities that were kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.ops import Ops
from ..kernels.segments import Segments
from .generation import Generation
from .solvers import Evaluation


class History:
    """The mixing of kept arrays, for all generations of a batch at once.

    Args:
        ops: the backend.
        segments: the rows of each image of the batch.
        images: int [N], the place of each image's generation among them.
        sizes: rows of each generation.
    """

    def __init__(self, ops: Ops[Any, Any], segments: Segments, images: NDArray[np.int64], sizes: Sequence[int]) -> None:
        self.ops, self.segments, self.images, self.sizes = ops, segments, images, sizes

    def mixed(self, x: Any, y: Any, a: Sequence[float], b: Sequence[float]) -> Any:
        """Return a x + b y, float32 [T, C] like both, with one factor of each for every generation."""
        ops = self.ops
        factors = (np.array(values, np.float32)[self.images] for values in (a, b))
        result = ops.cast(x, "float32")
        none = ops.zeros(self.segments.num_rows, 1, "float32")  # of the present content nothing stays
        ops.blend(result, x, y, none, self.segments, *ops.vectors(*factors))
        return result

    def recalled(self, start: Any, generations: Sequence[Generation], now: Sequence[Evaluation]) -> Any:
        """Return a start of the update with what these evaluations add of the kept arrays, float32 [T, C]."""
        for place in range(max(len(e.past) for e in now)):
            own = self.ops.split(start, self.sizes)
            parts = [
                g.kept[place] if place < len(e.past) else part for g, e, part in zip(generations, now, own, strict=True)
            ]
            factors = [e.past[place] if place < len(e.past) else 0.0 for e in now]
            start = self.mixed(start, self.ops.concat(parts), [1.0] * len(now), factors)
        return start

    def keep(self, generations: Sequence[Generation], now: Sequence[Evaluation], before: Any, velocity: Any) -> None:
        """Set aside what the next evaluations need, once these have been taken.

        Args:
            before, velocity: float32 [T, C], the latents before the update, and the guided velocity.
        """
        p, q = zip(*(e.keeps or (0.0, 0.0) for e in now), strict=True)
        views = self.ops.split(self.mixed(before, velocity, p, q), self.sizes)
        for g, e, view in zip(generations, now, views, strict=True):
            coming = g.evaluations[g.position : g.position + 1]
            kept = g.kept if e.keeps is None else (view, *g.kept)
            g.kept = kept[: len(coming[0].past)] if coming else ()
