"""Hold bfloat16 in numpy, which has no such type: the bits are uint16, the upper half of a float32."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .ops import Float32


def holds_bits(values: NDArray[Any]) -> bool:
    """Return whether an array holds bfloat16 bits. In Salon, 16-bit unsigned integers never mean anything else."""
    return values.dtype.kind == "u" and values.dtype.itemsize == 2


def want_numbers(values: NDArray[Any], what: str) -> None:
    """Raise ValueError, which names `what`, unless this is an array that holds numbers."""
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
        got = values.dtype if isinstance(values, np.ndarray) else type(values).__name__
        raise ValueError(f"{what}: got {got}, want a float dtype, or uint16 holding bfloat16 bits")


def widen(values: NDArray[Any], what: str) -> Float32:
    """Return a copy in C-contiguous float32: bfloat16 bits as their numbers, any other number rounded to nearest.

    Raises:
        ValueError: the array holds no numbers; the message names `what`.
    """
    want_numbers(values, what)
    if holds_bits(values):
        return (values.astype(np.uint32, order="C") << 16).view(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # numbers beyond float32's range become infinite
        return np.array(values, np.float32, order="C")


def as_float32(values: NDArray[Any], what: str) -> Float32:
    """Return an array in C-contiguous float32: itself if it is so already, else a copy as `widen` makes it.

    Raises: as `widen`.
    """
    want_numbers(values, what)
    return values if values.dtype == np.float32 and values.flags.c_contiguous else widen(values, what)
