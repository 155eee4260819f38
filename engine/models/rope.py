"""Rotary tables of FLUX: three axes (0, row, column), text at the origin."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...kernels.elementary import cos_sin, exp, log
from ...kernels.ops import Ops
from ...kernels.segments import Int32

Float32 = NDArray[np.float32]

THETA: Final = 10000.0
_KEPT: Final = 2  # batches whose tables stay on the device: the one that is running and the one before


@lru_cache(maxsize=64)
def grid_tables(height: int, width: int, axes: tuple[int, ...]) -> tuple[Float32, Float32]:
    """cos and sin, float32 [height * width, sum(axes) / 2], of one image's tokens in row-major order.

    Axis i has axes[i] columns, that is axes[i] / 2 frequencies THETA^(-2j / axes[i]) (RoFormer, 2104.09864, eq. 15);
    its position is 0 for every token, the token's row, and its column, for i = 0, 1, 2. In float64, rounded
    once; the same bits on every machine.
    """
    rows, columns = np.divmod(np.arange(height * width), width)
    angles = [
        np.outer(position, exp(log(THETA) * (-np.arange(0, dim, 2) / dim)))
        for position, dim in zip((np.zeros_like(rows), rows, columns), axes, strict=True)
    ]
    joined = np.concatenate(angles, axis=1)
    cos, sin = cos_sin(joined)
    return cos.astype(np.float32), sin.astype(np.float32)


class RopeTables:
    """The tables of whole batches on the backend of one model: text rows (not rotated), then every image's rows."""

    def __init__(self, axes: Sequence[int]) -> None:
        self.axes = tuple(axes)
        self._kept: OrderedDict[tuple[int, bytes], tuple[Any, Any]] = OrderedDict()

    def of(self, ops: Ops[Any, Any], text_rows: int, grids: Int32) -> tuple[Any, Any]:
        """cos and sin, backend arrays float32 [text_rows + image rows, E / 2]."""
        key = (text_rows, grids.tobytes())
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        half = sum(self.axes) // 2
        cos, sin = [np.ones((text_rows, half), np.float32)], [np.zeros((text_rows, half), np.float32)]
        for height, width in grids.tolist():
            c, s = grid_tables(height, width, self.axes)
            cos.append(c)
            sin.append(s)
        tables = ops.array(np.concatenate(cos), "float32"), ops.array(np.concatenate(sin), "float32")
        self._kept[key] = tables
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return tables
