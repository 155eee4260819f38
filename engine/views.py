"""What the model sees of the samples of a batch, where that is not each as it is: with margins, or in windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.ops import Ops
from .tiling import framed, grid_seen, margin_of
from .windows import Window, places_of, tokens_of, weights_of

if TYPE_CHECKING:
    from .generation import Generation

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class View:
    """How the model sees the images of a generation at its next evaluation.

    Attributes:
        margin: tokens around the picture of what lies at the opposite side.
        windows: the parts in which it sees it; (): as a whole.
    """

    margin: int = 0
    windows: tuple[Window, ...] = ()

    @classmethod
    def of(cls, generation: Generation) -> View:
        """Return the view of a generation."""
        return cls(margin_of(generation), generation.windows)

    @property
    def whole(self) -> bool:
        """Whether it sees the images as they are."""
        return not self.margin and not self.windows

    def grids(self, grid: tuple[int, int]) -> list[tuple[int, int]]:
        """Return the (height, width) in tokens of each model sample of an image of a grid."""
        return [window.grid for window in self.windows] or [grid_seen(grid, self.margin)]


class Views:
    """The samples of a batch, some of which the model does not see as they are.

    Args:
        ops: op table of the backend.
        grids: (height, width) in tokens of each sample, in the order of their rows.
        views: the view of each.
    """

    def __init__(self, ops: Ops[Any, Any], grids: Sequence[tuple[int, int]], views: Sequence[View]) -> None:
        self.ops = ops
        seen, kept, shares, sizes = list[Int32](), list[Int32](), list[Float32](), list[int]()
        start = first = 0
        for grid, view in zip(grids, views, strict=True):
            if view.windows:
                parts = [tokens_of(grid, window) for window in view.windows]
                there, here = np.concatenate(parts), places_of(grid, view.windows)
                share = np.concatenate(weights_of(grid, view.windows))
                sizes += map(len, parts)
            else:
                there, own = framed(grid, view.margin)
                here, share = own[None], np.ones((len(there), 1), np.float32)
                sizes.append(len(there))
            seen.append(there + np.int32(start))
            kept.append(np.where(here < 0, np.int32(-1), here + np.int32(first)))
            shares.append(share)
            start, first = start + here.shape[1], first + len(there)
        most = max(map(len, kept))
        padded = [np.pad(each, ((0, most - len(each)), (0, 0)), constant_values=-1) for each in kept]
        places = np.concatenate(padded, axis=1)
        places[places < 0] = first  # the row of nothing, behind all others
        vectors = ops.vectors(np.concatenate(seen), *places, np.array([1.0] * len(sizes), np.float32))
        self._seen, self._ones = vectors[0], vectors[-1]
        self._kept: list[Any] = vectors[1:-1]
        self._shares = ops.array(np.concatenate(shares), "float32") if most > 1 else None
        self._segments = ops.segments(sizes)
        self._rows, self._nothing, self._none = first, None, None

    def split(self, latents: Any) -> Any:
        """Return what the model sees, float32 [T', C], of the latents float32 [T, C] of all samples."""
        return self.ops.embed([self._seen], [latents])

    def join(self, velocity: Any, width: int) -> Any:
        """Return the velocity float32 [T, C] of all samples of the one of what the model sees, [T', C], which is used
        up. `width`: C.

        What is added to nothing is -0, the one number that changes no other, so that samples without windows have the
        same bits in any company.
        """
        ops = self.ops
        if self._shares is None:
            return ops.embed(self._kept, [velocity])
        if self._nothing is None:
            self._nothing = ops.array(np.full((self._rows, width), -0.0, np.float32), "float32")
            self._none = ops.rows(self._nothing, 0, 1)
        ops.blend(velocity, self._nothing, self._nothing, self._shares, self._segments, self._ones, self._ones)
        table = ops.concat([velocity, self._none])
        return ops.embed(self._kept, [table] * len(self._kept))
