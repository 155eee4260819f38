"""Define small vectors: the numbers of a batch or a step that ops read beside arrays."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Vector: TypeAlias = Any  # int32 or float32 [n], as a backend's `vectors` returns it; v[a:b] is a view of it
HostVector: TypeAlias = NDArray[Any]  # the vector of a backend that reads it from the host: contiguous, read-only


def host_vectors(values: tuple[NDArray[Any], ...]) -> list[HostVector]:
    """Return read-only copies of int32 or float32 vectors. Raise ValueError for any other array."""
    made: list[HostVector] = []
    for value in values:
        if not isinstance(value, np.ndarray) or value.ndim != 1 or value.dtype not in (np.int32, np.float32):
            got = f"{list(value.shape)} {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
            raise ValueError(f"vectors: values: got {got}, want [n] int32 or float32")
        copy = value.copy(order="C")
        copy.flags.writeable = False
        made.append(copy)
    return made
