"""Stream weights of the triton backend: pinned memory of the host, a CUDA stream for copies, and events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ..streaming import PLACE_BYTES, PLACES, Residency, Stream


class HostLane:
    """Places in the host's memory, for the interpreter: a copy is done when it has begun. See `Lane`."""

    def __init__(self, device: torch.device, num_bytes: int) -> None:
        self.places = [torch.empty(num_bytes, dtype=torch.uint8, device=device) for _ in range(PLACES)]

    def copy(self, place: int, piece: Sequence[torch.Tensor]) -> None:
        """See `Lane`. Parts of a piece are bytes, which stand one after another."""
        start = 0
        for part in piece:
            self.places[place][start : start + part.numel()].copy_(part, non_blocking=True)
            start += part.numel()

    def enter(self, place: int) -> None:
        """See `Lane`."""

    def leave(self, place: int) -> None:
        """See `Lane`."""


class CudaLane(HostLane):
    """Places on a CUDA device, which a stream of their own copies to. See `Lane`."""

    def __init__(self, device: torch.device, num_bytes: int) -> None:
        super().__init__(device, num_bytes)
        self._device = device
        self._copies: Any = torch.cuda.Stream(device)
        self._ready: list[Any] = [torch.cuda.Event() for _ in range(PLACES)]
        self._left: list[Any] = [None] * PLACES

    def copy(self, place: int, piece: Sequence[torch.Tensor]) -> None:
        """See `Lane`."""
        with torch.cuda.stream(self._copies):
            if self._left[place] is not None:
                self._copies.wait_event(self._left[place])
            super().copy(place, piece)
            self._ready[place].record(self._copies)

    def enter(self, place: int) -> None:
        """See `Lane`."""
        torch.cuda.current_stream(self._device).wait_event(self._ready[place])

    def leave(self, place: int) -> None:
        """See `Lane`."""
        if self._left[place] is None:
            self._left[place] = torch.cuda.Event()
        self._left[place].record(torch.cuda.current_stream(self._device))


class WeightStream:
    """The weights of an op table that are not on its device.

    Args:
        device: the device.
        residency: decides which those are.
        place_bytes: of each of the two places.
    """

    def __init__(self, device: torch.device, residency: Residency, place_bytes: int = PLACE_BYTES) -> None:
        self.residency = residency
        self.place_bytes = place_bytes
        self._device = device
        self._lane = (CudaLane if device.type == "cuda" else HostLane)(device, place_bytes)
        self.stream = Stream(self._lane)
        self._count = 0

    def __str__(self) -> str:
        kept, streamed = (size / 1e9 for size in (self.residency.kept, self.residency.streamed))
        return (
            f"the model is larger than the device: {streamed:.1f} GB of its weights come from the host's memory at "
            f"every step, {kept:.1f} GB stay; a device that holds all of it is faster"
        )

    def host(self, rows: int, width: int, dtype: torch.dtype) -> torch.Tensor:
        """Return an array for a weight in the host's memory, from which copies wait for nothing."""
        made = torch.zeros((rows, width), dtype=dtype)
        if self._device.type == "cuda":  # torch's own pinned memory would be rounded up to a power of two
            torch.cuda.cudart().cudaHostRegister(made.data_ptr(), made.nbytes, 0)  # if not, copies wait, and are right
        return made

    def add(self, parts: Sequence[torch.Tensor]) -> int:
        """Make a piece known: rows of weights, one below another. Return its name."""
        self._count += 1
        self.stream.add(self._count, [part.reshape(-1).view(torch.uint8) for part in parts])
        return self._count

    def take(self, name: int, rows: int, width: int, dtype: torch.dtype) -> torch.Tensor:
        """Return a piece [rows, width] on the device, for launches before the next call."""
        place = self._lane.places[self.stream.take(name)]
        return place[: rows * width * dtype.itemsize].view(dtype).view(rows, width)
