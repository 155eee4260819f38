"""Pictures that tile: each side goes on at the opposite one.

A model draws within the borders of what it sees, and draws them: it knows where every token stands. So it sees a
picture that tiles with a margin all around of what lies at the opposite side, and what it draws of the margin is
dropped: no border of what it sees is part of the picture, and beside every side it finds what goes on there. While the
noise is strong it sees the picture alone, so that it still puts the thing where it belongs. The autoencoder's
convolutions wrap (`Ops.conv2d`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .generation import Generation

MARGIN: Final = 1  # tokens
COMPOSED: Final = 0.85  # the sigma from which on there is a margin

Int32 = NDArray[np.int32]


def margin_of(generation: Generation) -> int:
    """Return how many tokens the model sees around a generation's pictures at its next evaluation."""
    if not generation.spec.tile or generation.position == len(generation.evaluations):
        return 0
    last = generation.position + 1 == len(generation.evaluations)
    return MARGIN if last or generation.evaluations[generation.position].sigma <= COMPOSED else 0


def grid_seen(grid: tuple[int, int], margin: int) -> tuple[int, int]:
    """Return the (height, width) in tokens of a grid with its margin."""
    return grid[0] + 2 * margin, grid[1] + 2 * margin


def rows_seen(tile: bool, grid: tuple[int, int]) -> int:
    """Return the most rows that the model sees of an image of a grid, which tiles or not."""
    height, width = grid_seen(grid, MARGIN if tile else 0)
    return height * width


def framed(grid: tuple[int, int], margin: int) -> tuple[Int32, Int32]:
    """Return the token that stands in each place of a grid with a margin, and the places of its own tokens.

    Both are int32, [rows seen] and [rows], row-major.
    """
    height, width = grid
    tokens = np.arange(height * width, dtype=np.int32).reshape(grid)
    seen = np.pad(tokens, margin, mode="wrap")
    places = np.arange(seen.size, dtype=np.int32).reshape(seen.shape)
    return seen.reshape(-1), places[margin : margin + height, margin : margin + width].reshape(-1)
