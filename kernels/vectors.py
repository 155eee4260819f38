"""Small vectors of backends that read them from the host."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[Any]  # int32 or float32 [n], contiguous and read-only


def host_vectors(values: tuple[NDArray[Any], ...]) -> list[Vector]:
    """Return read-only copies of int32 or float32 vectors. ValueError for anything else."""
    made: list[Vector] = []
    for value in values:
        if not isinstance(value, np.ndarray) or value.ndim != 1 or value.dtype not in (np.int32, np.float32):
            got = f"{list(value.shape)} {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
            raise ValueError(f"vectors: values: got {got}, want [n] int32 or float32")
        copy = value.copy(order="C")
        copy.flags.writeable = False
        made.append(copy)
    return made
