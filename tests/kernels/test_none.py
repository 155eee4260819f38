"""None in place of an array or a weight is refused by every op of the cpu backend that does not allow it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from salon.kernels.cpu import CpuOps


@pytest.mark.parametrize(
    "call",
    [
        lambda ops, x, conv, grids: ops.linear(None, None),
        lambda ops, x, conv, grids: ops.linear(x, None),
        lambda ops, x, conv, grids: ops.cast(None),
        lambda ops, x, conv, grids: ops.concat([x, None]),
        lambda ops, x, conv, grids: ops.conv2d(None, conv, grids),
        lambda ops, x, conv, grids: ops.conv2d(x, None, grids),
        lambda ops, x, conv, grids: ops.gated(None, x, "silu"),
        lambda ops, x, conv, grids: ops.add(x, None),
    ],
)
def test_none_is_refused(call: Any) -> None:
    ops = CpuOps(dtype="float32", threads=1)
    conv = ops.pack_conv(np.zeros((4, 4, 3, 3), np.float32), None)
    with pytest.raises(ValueError, match=": got None"):
        call(ops, ops.zeros(4, 4, "float32"), conv, np.array([[2, 2]], np.int32))
