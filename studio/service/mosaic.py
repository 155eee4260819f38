"""Join the pictures of a generation side by side."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

UInt8 = NDArray[np.uint8]

_EMPTY_CELL = 2.3  # the price of an empty cell: three pictures stand in one row, five in two


def mosaic(pictures: UInt8) -> UInt8:
    """Join pictures uint8 [n, height, width, 3] into one, row by row without gaps. Cells that are left over are black.

    The whole is as near to square as it gets without many empty cells: four square pictures become 2 x 2, three stand
    in a row, two wide ones one above the other.
    """
    count, height, width, channels = pictures.shape

    def badness(columns: int) -> tuple[float, int]:
        rows = math.ceil(count / columns)
        wide, high = columns * width, rows * height
        off_square = math.log(max(wide, high) / min(wide, high))  # equal for a shape and its transpose, to the bit
        return _EMPTY_CELL * (rows * columns - count) + 2 * off_square, -columns

    columns = min(range(1, count + 1), key=badness)
    rows = math.ceil(count / columns)
    cells = np.zeros((rows * columns, height, width, channels), np.uint8)
    cells[:count] = pictures
    grid = cells.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return np.ascontiguousarray(grid.reshape(rows * height, columns * width, channels))
