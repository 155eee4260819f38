"""Large pictures in windows: the model sees parts of the size that it was taught, which overlap.

Each window is a sample of its own of the same evaluation, and where windows overlap their velocities are blended by
weights that fall off towards a window's edges and sum to 1 (MultiDiffusion, 2302.08113), so that cost grows with the
area alone and no window shows. Only pictures that start from an enlarged one are drawn so: that picture says where
everything stands, which no window could know.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .spec import GenerationSpec

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]

AREA: Final = 4.0  # of a window, in areas of the model's default picture
MOST: Final = 6.0  # of a picture without windows, likewise: the double of a default one is drawn as a whole
OVERLAP: Final = 0.25  # of a window's side, at least


class Window(NamedTuple):
    """A part of a picture's grid, in tokens."""

    top: int
    left: int
    height: int
    width: int

    @property
    def grid(self) -> tuple[int, int]:
        """Its (height, width)."""
        return self.height, self.width

    @property
    def rows(self) -> int:
        """Its tokens."""
        return self.height * self.width


def windows_of(spec: GenerationSpec, unit: int, area: int) -> tuple[Window, ...]:
    """Return the windows in which the pictures of a spec are drawn, row by row; none: they are drawn as a whole.

    Args:
        unit: the model's granularity.
        area: pixels of the model's default picture.
    """
    grid = spec.height // unit, spec.width // unit
    default = area / unit**2
    if spec.start is None or spec.start.enlarge == 1 or grid[0] * grid[1] <= MOST * default:
        return ()
    return cut(grid, max(1, math.floor(math.sqrt(AREA * default) + 1e-9)))


@cache
def cut(grid: tuple[int, int], side: int) -> tuple[Window, ...]:
    """Return windows of at most `side` x `side` tokens that cover a grid (height, width), row by row.

    They overlap by a quarter of their side or more, so that each of their edges lies within another one."""
    rows, columns = (_parts(length, side) for length in grid)
    return tuple(Window(top, left, high, wide) for top, high in rows for left, wide in columns)


@cache
def weights_of(grid: tuple[int, int], windows: tuple[Window, ...]) -> tuple[Float32, ...]:
    """Return float32 [rows, 1] for each window: the share that it has in each of its tokens; over all windows they sum
    to 1 for every token."""
    total = np.zeros(grid)
    shares = []
    for window in windows:
        share = _rising(window.height)[:, None] * _rising(window.width)
        total[window.top : window.top + window.height, window.left : window.left + window.width] += share
        shares.append(share)
    found = []
    for window, share in zip(windows, shares, strict=True):
        part = total[window.top : window.top + window.height, window.left : window.left + window.width]
        found.append((share / part).astype(np.float32).reshape(-1, 1))
    return tuple(found)


def tokens_of(grid: tuple[int, int], window: Window) -> Int32:
    """Return int32 [rows]: the tokens of a grid that a window has, in its order."""
    tokens = np.arange(grid[0] * grid[1], dtype=np.int32).reshape(grid)
    part = tokens[window.top : window.top + window.height, window.left : window.left + window.width]
    return part.reshape(-1)


def places_of(grid: tuple[int, int], windows: tuple[Window, ...]) -> Int32:
    """Return int32 [most, rows]: for every token of a grid where it stands in the windows, one after another; -1: in no
    further one. `most` is the number of windows of the token that has the most."""
    found: list[list[int]] = [[] for _ in range(grid[0] * grid[1])]
    first = 0
    for window in windows:
        for i, token in enumerate(tokens_of(grid, window)):
            found[token].append(first + i)
        first += window.rows
    most = max(map(len, found))
    return np.array([each + [-1] * (most - len(each)) for each in found], np.int32).T


def _parts(length: int, side: int) -> tuple[tuple[int, int], ...]:
    """Return (start, length) of parts of a length, none longer than `side`, evenly spread."""
    if length <= side:
        return ((0, length),)
    step = max(1, side - math.ceil(side * OVERLAP))
    count = 1 + math.ceil((length - side) / step)
    return tuple((round(i * (length - side) / (count - 1)), side) for i in range(count))


def _rising(length: int) -> NDArray[np.float64]:
    """Return float64 [length]: 1 at both ends, and one more for each token towards the middle."""
    ahead = np.arange(1, length + 1, dtype=np.float64)
    return np.minimum(ahead, ahead[::-1])
