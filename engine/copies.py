"""Bring arrays to the host while a device goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.accelerator import accelerator_of
from ..kernels.ops import Ops

Float32 = NDArray[np.float32]


def fetch(ops: Ops[Any, Any], arrays: Sequence[Any]) -> Callable[[], list[Float32 | None]]:
    """Begin to bring backend arrays float32 to the host, all together; None stays None.

    Returns:
        What waits for the copies and returns them. The arrays must not be written before it was called, unless by what
        is launched on their device.
    """
    there, device = [array for array in arrays if array is not None], accelerator_of(ops)
    pending = None if device is None else device.fetch(there)

    def arrived() -> list[Float32 | None]:
        found = iter([ops.numpy(array) for array in there] if pending is None else pending.numpy())
        return [None if array is None else next(found) for array in arrays]

    return arrived
