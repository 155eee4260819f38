"""Say of a CUDA device what the engine needs beside its ops."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final

import torch

from ..accelerator import Room
from ..streaming import Residency
from . import graphs
from .copies import CudaFetch

# What CUDA says when a device or its context is gone for this process; whatever runs later fails with the same words.
_LOST: Final = {
    "device-side assert": "a kernel failed a check",
    "illegal memory access": "a kernel read or wrote where it must not",
    "misaligned address": "a kernel read or wrote where it must not",
    "illegal instruction": "a kernel could not be executed",
    "unspecified launch failure": "a kernel broke off",
    "uncorrectable ecc": "its memory is damaged",
    "ecc error": "its memory is damaged",
    "fell off the bus": "it fell off the bus",
    "device unavailable": "it is not available any more",
    "devices unavailable": "it is not available any more",
    "no cuda-capable device": "it is not there any more",
    "driver shutting down": "its driver was unloaded",
    "unknown error": "its driver reports an unknown error",
    "hardware stack error": "its hardware reports an error",
    "nvlink": "a link of it failed",
    "context is destroyed": "its context is gone",
}


class CudaAccelerator:
    """See `kernels.accelerator.Accelerator`."""

    def __init__(self, ops: Any, device: torch.device) -> None:
        self._device = device
        self._ops = ops
        self._label = str(torch.cuda.get_device_name(device))  # now: a lost device may not say it any more
        self._parts = graphs.LayoutParts(ops)
        self._capture = graphs.CudaCapture(device)
        self._copies: Any = None  # the stream of copies to the host

    @property
    def name(self) -> str:
        """See `Accelerator`."""
        return str(self._device)

    @property
    def label(self) -> str:
        """See `Accelerator`."""
        return self._label

    def room(self) -> Room:
        """See `Accelerator`. What torch keeps for later counts as free."""
        free, total = torch.cuda.mem_get_info(self._device)
        kept = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return Room(int(free + kept), int(total))

    def trim(self) -> None:
        """See `Accelerator`."""
        torch.cuda.empty_cache()

    def full(self, error: BaseException) -> bool:
        """See `Accelerator`."""
        return isinstance(error, torch.OutOfMemoryError) or "CUDA error: out of memory" in str(error)

    def lost(self, error: BaseException) -> str | None:
        """See `Accelerator`."""
        return why_lost(error)

    @property
    def streams(self) -> bool:
        """See `Accelerator`."""
        return self._ops.streamed is not None

    def stream(self, residency: Residency) -> None:
        """See `Accelerator`."""
        self._ops.stream(residency)

    @property
    def weight_bytes(self) -> int:
        """See `Accelerator`."""
        return int(self._ops.resident.num_bytes)

    def unload(self) -> int:
        """See `Accelerator`."""
        return int(self._ops.resident.unload())

    def wake(self) -> None:
        """See `Accelerator`."""
        self._ops.resident.wake()

    def fetch(self, arrays: Sequence[Any]) -> CudaFetch:
        """See `Accelerator`."""
        if self._copies is None:
            self._copies = torch.cuda.Stream(self._device)
        return CudaFetch(self._device, self._copies, arrays)

    def describe(self, value: Any) -> Hashable | None:
        """See `Accelerator`."""
        return self._parts.describe(value)

    def clone(self, value: Any) -> Any:
        """See `Accelerator`."""
        return self._parts.clone(value)

    def copy(self, into: Any, value: Any) -> None:
        """See `Accelerator`."""
        self._parts.copy(into, value)

    def capture(self, work: Callable[[], Any]) -> graphs.CudaGraph:
        """See `Accelerator`."""
        return self._capture.capture(work)


def why_lost(error: BaseException) -> str | None:
    """Return in words why a CUDA device cannot be used any more in this process, if an error says that."""
    text = str(error).lower()
    if not isinstance(error, RuntimeError) or isinstance(error, torch.OutOfMemoryError):
        return None
    if "cuda error" not in text and "cuda driver" not in text and "triton error [cuda]" not in text:
        return None
    return next((why for words, why in _LOST.items() if words in text), None)


def accelerator_of(ops: Any, device: torch.device) -> CudaAccelerator | None:
    """Return what the engine needs of the device of an op table; None: it is the host's (the interpreter)."""
    return CudaAccelerator(ops, device) if device.type == "cuda" else None
