"""bfloat16 in numpy, which has no such type: its bits are held as uint16, the upper half of a float32."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .ops import Float32


def holds_bits(values: NDArray[Any]) -> bool:
    """Whether an array holds bfloat16 bits: 16-bit unsigned integers never mean anything else here."""
    return values.dtype.kind == "u" and values.dtype.itemsize == 2


def want_numbers(values: NDArray[Any], what: str) -> None:
    """ValueError, which names `what`, unless this is an array that holds numbers."""
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
        got = values.dtype if isinstance(values, np.ndarray) else type(values).__name__
        raise ValueError(f"{what}: got {got}, want a float dtype, or uint16 holding bfloat16 bits")


def widen(values: NDArray[Any], what: str) -> Float32:
    """A copy in C-contiguous float32: bfloat16 bits as the numbers they mean, any other number rounded to nearest.

    Raises:
        ValueError: no numbers; names `what`.
    """
    want_numbers(values, what)
    if holds_bits(values):
        return (values.astype(np.uint32, order="C") << 16).view(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is infinite
        return np.array(values, np.float32, order="C")
