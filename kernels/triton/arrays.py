"""Make arrays and vectors of the triton backend: torch tensors, brought over without waiting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from ..bfloat16 import holds_bits, widen
from ..vectors import HostVector, host_vectors

ALIGNMENT: Final = 16  # bytes; a row starts at a multiple, so that no view's place changes how it is loaded

PINNED: Final = 64 * 2**20  # bytes of an array that may take as much pinned memory on its way


@dataclass(frozen=True, eq=False)
class DeviceVector:
    """A small vector that kernels read on the device, and checks on the host.

    Attributes:
        host: int32 or float32 [n], read-only.
        data: the same on the device.
    """

    host: HostVector
    data: torch.Tensor

    def __len__(self) -> int:
        return len(self.host)

    def __getitem__(self, places: slice) -> DeviceVector:
        """Return a view of consecutive numbers."""
        return DeviceVector(self.host[places], self.data[places])


def empty(rows: int, width: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return an array [rows, width] of unspecified content, whose rows start at multiples of `ALIGNMENT` bytes."""
    step = ALIGNMENT // dtype.itemsize
    return torch.empty((rows, -(-width // step) * step), dtype=dtype, device=device)[:, :width]


def from_host(values: NDArray[Any], dtype: torch.dtype, device: torch.device, what: str) -> torch.Tensor:
    """Copy a numpy array [T, D] to the device, rounded to nearest even. Bits of bfloat16 stay as they are.

    Only for a large one the host waits until it is there.

    Raises:
        ValueError: the array holds no numbers; the message names `what`.
    """
    if holds_bits(values) and dtype == torch.bfloat16:
        host = torch.from_numpy(np.ascontiguousarray(values).view(np.int16).copy()).view(torch.bfloat16)
    else:
        host = torch.from_numpy(widen(values, what)).to(dtype)
    made = empty(host.shape[0], host.shape[1], dtype, device)
    if device.type == "cuda" and host.nbytes <= PINNED:
        made.copy_(host.pin_memory(), non_blocking=True)
    else:
        made.copy_(host)
    return made


def bring(arrays: Sequence[NDArray[Any]], device: torch.device) -> list[torch.Tensor]:
    """Copy int32 or float32 arrays of any shapes to the device, all in one copy that nothing waits for.

    Each starts at a multiple of `ALIGNMENT` bytes.
    """
    step = ALIGNMENT // 4
    starts = np.cumsum([0, *(-(-array.size // step) * step for array in arrays)]).tolist()
    on_device = device.type == "cuda"
    host = torch.zeros(starts[-1], dtype=torch.int32, pin_memory=on_device)
    room = host.numpy()
    for start, array in zip(starts, arrays, strict=False):
        room[start : start + array.size] = np.ascontiguousarray(array).reshape(-1).view(np.int32)
    whole = host.to(device, non_blocking=True) if on_device else host
    parts = []
    for start, array in zip(starts, arrays, strict=False):
        part = whole[start : start + array.size]
        parts.append((part.view(torch.float32) if array.dtype == np.float32 else part).view(array.shape))
    return parts


def bring_vectors(values: tuple[NDArray[Any], ...], device: torch.device) -> list[DeviceVector]:
    """Copy host vectors to the device, all in one copy. Raise ValueError unless they are int32 or float32 [n]."""
    hosts = host_vectors(values)
    return [DeviceVector(host, data) for host, data in zip(hosts, bring(hosts, device), strict=True)]
