"""Pictures that tile: each side goes on at the opposite one.

A model draws within the borders of what it sees, since it knows where every token stands. So at every evaluation it
sees the picture shifted round by another offset, and its velocity is shifted back: what is the seam of the picture lies
somewhere within what the model sees, and no seam of what it sees stays where it is. Which offset it is depends on the
seed, the image and the evaluation alone. The autoencoder's convolutions wrap (`Ops.conv2d`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..kernels.ops import Ops
from .generation import Generation

DOMAIN: Final = 0x54494C45  # "TILE": keeps these streams apart from other uses of the same generator

Int32 = NDArray[np.int32]


class Tiles:
    """The samples of a batch, some of which belong to pictures that tile.

    Args:
        samples: in the order of their rows: each one's generation, and the index of its image there.
    """

    def __init__(self, ops: Ops[Any, Any], samples: Sequence[tuple[Generation, int]]) -> None:
        self.ops = ops
        self.samples = tuple(samples)

    @classmethod
    def of(cls, ops: Ops[Any, Any], samples: Sequence[tuple[Generation, int]]) -> Tiles | None:
        """Return the tiles of a batch, or None if no picture of it tiles."""
        return cls(ops, samples) if any(generation.spec.tile for generation, _ in samples) else None

    def shift(self, latents: Any) -> tuple[Any, Any]:
        """Shift the latents float32 [T, C] of all samples for the evaluation that their generations are at.

        Returns:
            The shifted latents, and what shifts a velocity back (`back`). Samples that do not tile stay as they are.
        """
        there, start = [], 0
        for generation, image in self.samples:
            rows = generation.rows
            order = np.arange(rows, dtype=np.int32)
            if generation.spec.tile:
                order = shifted(generation.grid, offset(generation, image))
            there.append(order + np.int32(start))
            start += rows
        order = np.concatenate(there)
        back = np.empty_like(order)
        back[order] = np.arange(len(order), dtype=np.int32)
        to, back = self.ops.vectors(order, back)
        return self.ops.embed([to], [latents]), back

    def back(self, velocity: Any, back: Any) -> Any:
        """Shift a velocity float32 [T, C] back; `back`: of `shift`."""
        return self.ops.embed([back], [velocity])


def offset(generation: Generation, image: int) -> tuple[int, int]:
    """Return by how many tokens, down and to the right, an image is shifted at its generation's next evaluation."""
    counter = np.array([0, 0, generation.position, DOMAIN], np.uint64)
    key = np.array([generation.spec.seed, image], np.uint64)
    words = np.random.Philox(key=key, counter=counter).random_raw(2)
    height, width = generation.grid
    return int(words[0] % np.uint64(height)), int(words[1] % np.uint64(width))


def shifted(grid: tuple[int, int], by: tuple[int, int]) -> Int32:
    """Return which token, int32 [height * width], stands in each place of a grid that is shifted round."""
    height, width = grid
    rows = np.roll(np.arange(height * width, dtype=np.int32).reshape(height, width), by, axis=(0, 1))
    return rows.reshape(-1)
