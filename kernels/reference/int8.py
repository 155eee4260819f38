"""Define products with weights in int8, in numpy: what `cpu_int8` computes, to the bit."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..ops import Float32

GROUP: Final = 512  # inputs that share a scale of a row
MOST: Final = 127  # of a weight
MOST_OF_ROWS: Final = 32767
LEAST: Final = np.float32(1e-30)  # numbers that are all smaller count as zero


@np.errstate(all="ignore")
def rounded(x: Float32, most: int = MOST) -> tuple[NDArray[np.int64], Float32]:
    """Round numbers [..., K] to whole ones by one scale for each K of them, to nearest even.

    Args:
        most: the largest of the whole numbers.

    Returns:
        Whole numbers [..., K] within -most .. most, and scales [...]. A scale is 0 where all numbers are zero, and NaN
        where one is not finite.
    """
    largest = np.abs(x).max(-1)
    finite = np.isfinite(largest)
    some = finite & (largest >= LEAST)
    inverse = np.divide(np.float32(most), largest, out=np.zeros_like(largest), where=some)
    whole = np.rint(np.where(finite[..., None], x, 0) * inverse[..., None]).astype(np.int64)
    scale = np.where(some, largest / np.float32(most), np.where(finite, 0, np.nan))
    return whole, scale.astype(np.float32)


@np.errstate(all="ignore")
def product(x: Float32, weight: NDArray[Any]) -> Float32:
    """Return x [T, K] times a weight [N, K] that is rounded, float32 [T, N].

    The sum over groups of (integer sum * scale of the row's group), in their order, times the scale of the column. Each
    operation is rounded to float32 by itself, the integer sum too; it is below 2^31.
    """
    whole, column = rounded(np.asarray(weight, np.float32))
    y = np.zeros((len(x), len(whole)), np.float32)
    for start in range(0, x.shape[1], GROUP):
        numbers, scale = rounded(x[:, start : start + GROUP], MOST_OF_ROWS)
        sums = (numbers @ whole[:, start : start + GROUP].T).astype(np.float32)
        y = y + sums * scale[:, None]
    return y * column
