"""Compute elementary functions in float64 with the same bits on every machine.

numpy and the C library choose other code on other CPUs, and their results differ in the last bit. Salon computes
everything that decides a pixel with these functions instead (csrc/elementary.h states their errors). They take arrays
of any shape, and numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _C

Float64 = NDArray[np.float64]


def exp(x: ArrayLike) -> Float64:
    """Return e^x."""
    return _C.exp(_doubles(x))


def log(x: ArrayLike) -> Float64:
    """Return the natural logarithm: -infinity for 0, NaN below."""
    return _C.log(_doubles(x))


def cos_sin(x: ArrayLike) -> tuple[Float64, Float64]:
    """Return (cos x, sin x), with x in radians."""
    return _C.cos_sin(_doubles(x))


def cos_sin_turns(turns: ArrayLike) -> tuple[Float64, Float64]:
    """Return (cos, sin) of 2 pi `turns`, each in [0, 1)."""
    return _C.cos_sin_turns(_doubles(turns))


def _doubles(x: ArrayLike) -> Float64:
    return np.asarray(x, np.float64, order="C")
