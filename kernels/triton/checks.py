"""Check arguments of the triton ops: each ValueError names the op, the argument, its value and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch

from ..reference.checks import (
    refuse,
    want_choice,
    want_dtype_name,
    want_eps,
    want_grids,
    want_low_rank,
    want_segments,
)
from .arrays import DeviceVector, bring_vectors

__all__ = [
    "NAMES",
    "describe",
    "refuse",
    "want_array",
    "want_choice",
    "want_dtype_name",
    "want_eps",
    "want_grids",
    "want_indices",
    "want_low_rank",
    "want_segments",
    "want_vector",
]

NAMES: Final = {torch.float32: "float32", torch.bfloat16: "bfloat16"}


def describe(x: object) -> str:
    """Return shape and dtype for a message: "[3, 384] float32"."""
    if isinstance(x, torch.Tensor | np.ndarray):
        where = "" if isinstance(x, torch.Tensor) else " of numpy"
        return f"{list(x.shape)} {str(x.dtype).removeprefix('torch.')}{where}"
    return f"{list(x.host.shape)} {x.host.dtype}" if isinstance(x, DeviceVector) else type(x).__name__


def want_array(
    op: str,
    argument: str,
    x: Any,
    device: torch.device,
    rows: int | None = None,
    width: int | None = None,
    dtypes: Sequence[torch.dtype] = (torch.float32, torch.bfloat16),
) -> None:
    """Raise ValueError unless this is an array of the backend, [rows, width], of one of the dtypes.

    None allows any number.
    """
    fits = isinstance(x, torch.Tensor) and x.ndim == 2 and x.dtype in dtypes and x.device == device
    if not fits or rows not in (None, x.shape[0]) or width not in (None, x.shape[1]) or _strided(x):
        sides = ", ".join("any" if n is None else str(n) for n in (rows, width))
        names = " or ".join(NAMES[dtype] for dtype in dtypes)
        got = describe(x)
        if isinstance(x, torch.Tensor) and (x.device != device or _strided(x)):
            got += f" on {x.device}, strides {list(x.stride())}"
        refuse(op, argument, got, f"[{sides}] {names}, an array of this backend on {device}")


def _strided(x: torch.Tensor) -> bool:
    return bool(x.ndim == 2 and x.shape[1] > 1 and x.stride(1) != 1)


def want_vector(
    op: str, argument: str, x: Any, device: torch.device, dtype: type[Any], length: int | None = None
) -> DeviceVector:
    """Return a vector of the backend; a numpy vector is brought over first.

    Raises:
        ValueError: it is not [length] of the dtype.
    """
    host = x.host if isinstance(x, DeviceVector) else x
    fits = isinstance(host, np.ndarray) and host.ndim == 1 and host.dtype == dtype
    if not fits or length not in (None, len(host)):
        refuse(op, argument, describe(x), f"[{'any' if length is None else length}] {np.dtype(dtype).name}")
    return x if isinstance(x, DeviceVector) else bring_vectors((host,), device)[0]


def want_indices(op: str, argument: str, x: Any, device: torch.device, stop: int) -> DeviceVector:
    """Return a vector int32 of the backend. Raise ValueError unless every element lies in 0..stop-1."""
    vector = want_vector(op, argument, x, device, np.int32)
    if len(vector) and (vector.host.min() < 0 or vector.host.max() >= stop):
        got = f"{int(vector.host.min())}..{int(vector.host.max())}"
        refuse(op, argument, got, f"indices in 0..{stop - 1}")
    return vector
