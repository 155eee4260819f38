"""Make the rotary tables of FLUX: three axes (0, row, column), text at the origin."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...kernels.elementary import cos_sin, exp, log

Float32 = NDArray[np.float32]

THETA: Final = 10000.0


@lru_cache(maxsize=64)
def grid_tables(height: int, width: int, axes: tuple[int, ...]) -> tuple[Float32, Float32]:
    """Return cos and sin, float32 [height * width, sum(axes) / 2], of one image's tokens in row-major order.

    Axis i has axes[i] columns, that is axes[i] / 2 frequencies THETA^(-2j / axes[i]) (RoFormer, 2104.09864, eq. 15).
    Its position is 0 for every token, the token's row, and its column, for i = 0, 1, 2. The tables are computed in
    float64 and rounded once, so the bits are the same on every machine.
    """
    rows, columns = np.divmod(np.arange(height * width), width)
    angles = [
        np.outer(position, exp(log(THETA) * (-np.arange(0, dim, 2) / dim)))
        for position, dim in zip((np.zeros_like(rows), rows, columns), axes, strict=True)
    ]
    joined = np.concatenate(angles, axis=1)
    cos, sin = cos_sin(joined)
    return cos.astype(np.float32), sin.astype(np.float32)


@lru_cache(maxsize=2)  # the batch that is running and the one before
def batch_tables(axes: tuple[int, ...], text_rows: int, grids: tuple[tuple[int, int], ...]) -> tuple[Float32, Float32]:
    """Return cos and sin of a whole batch, float32 [text_rows + image rows, sum(axes) / 2].

    The text rows, which are not rotated, come first, then the rows of every image.

    Args:
        axes: columns of each axis, as `grid_tables` takes them.
        grids: height and width of each image in tokens.
    """
    half = sum(axes) // 2
    tables = [grid_tables(height, width, axes) for height, width in grids]
    cos = [np.ones((text_rows, half), np.float32), *(table[0] for table in tables)]
    sin = [np.zeros((text_rows, half), np.float32), *(table[1] for table in tables)]
    return np.concatenate(cos), np.concatenate(sin)
