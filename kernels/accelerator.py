"""Define what an op table offers of a device that has memory of its own, beside the ops: room, captured graphs, faults.

A table on such a device has it as its attribute `accelerator`; the tables on the host have none.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .streaming import Residency


class Room(NamedTuple):
    """Memory of a device in bytes: what is free now, and all that it has."""

    free: int
    total: int


class Graph(Protocol):
    """Captured work."""

    @property
    def result(self) -> Any:
        """What the work returned. Every replay overwrites it."""

    @property
    def num_bytes(self) -> int:
        """Device memory that the graph holds, beside what it was given."""

    def replay(self) -> None:
        """Do the work again on the same arrays. The host does not wait for it."""


class Fetch(Protocol):
    """Arrays on their way to the host."""

    def numpy(self) -> list[NDArray[np.float32]]:
        """Wait for these copies, and for nothing else, and return them."""


class CaptureError(RuntimeError):
    """Work could not be captured: it waited for the device, or did something else that no graph can hold."""


class Accelerator(Protocol):
    """A device with memory of its own. Methods raise what the backend raises."""

    @property
    def name(self) -> str:
        """Its name for this backend: "cuda:0"."""

    @property
    def label(self) -> str:
        """Its name for people: "NVIDIA H200"."""

    def room(self) -> Room:
        """Return its memory."""

    def trim(self) -> None:
        """Give memory back to the device that is kept for later."""

    def full(self, error: BaseException) -> bool:
        """Return whether an error says that no memory was left."""

    def lost(self, error: BaseException) -> str | None:
        """Return in words why the device cannot be used any more in this process, if an error says that; else None."""

    @property
    def streams(self) -> bool:
        """Whether weights come from the host's memory as ops need them, which no graph can hold."""

    def stream(self, residency: Residency) -> None:
        """Leave weights that are packed from now on in the host's memory, unless `residency` keeps them."""

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights that are on the device now."""

    def unload(self) -> int:
        """Move the weights to the host's memory. Return how many bytes that gives back; ops fail until `wake`."""

    def wake(self) -> None:
        """Bring the weights back to their places. If it fails, it can be called again."""

    def fetch(self, arrays: Sequence[Any]) -> Fetch:
        """Begin to copy float32 arrays to the host, as they are when all is done that was launched so far.

        Neither the host nor what is launched later waits for it.
        """

    # ---- graphs ------------------------------------------------------------------------------------------------------

    def describe(self, value: Any) -> Hashable | None:
        """Return what captured work holds of an array, a vector or segments, beside their content: shapes, strides,
        dtypes, sizes of launches. None: the value is of any other kind.
        """

    def clone(self, value: Any) -> Any:
        """Return a copy of such a value that shares no memory with it, and is laid out as it is."""

    def copy(self, into: Any, value: Any) -> None:
        """Copy the content of such a value into one of the same description. The host does not wait for it."""

    def capture(self, work: Callable[[], Any]) -> Graph:
        """Capture work that was done at least once before, so that nothing of it is left to compile.

        Raises:
            CaptureError: the work cannot be captured. The device goes on as before.
        """


def accelerator_of(ops: Any) -> Accelerator | None:
    """Return the device of an op table; None: it computes on the host."""
    found: Accelerator | None = getattr(ops, "accelerator", None)
    return found
