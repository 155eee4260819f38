"""The device of a run, and how work on it is timed."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from ..measure import Samples
from ..runner import Bench

FLUSH_BYTES: Final = 256 * 2**20  # more than any cache: written between two timed calls
WARM: Final = 3  # calls before the first that counts


class Gpu:
    """A device with Salon's ops on it.

    Args:
        device: "cuda:N"; "cpu": Triton's interpreter, on which nothing is timed.

    Attributes:
        ops: the triton op table.
        timed: whether figures of time mean anything.
        label: the device's name.
        model: the random model that phases share, once one has made it.

    Raises:
        ValueError: there is no such device.
        ImportError: torch or triton is not installed.
    """

    def __init__(self, device: str) -> None:
        from ...kernels.backends import create

        ops: Any = create("triton", device=device)
        self.ops = ops
        import torch

        self.torch: Any = torch
        self.device: Any = ops.device
        self.timed = self.device.type == "cuda"
        self.label = str(torch.cuda.get_device_name(self.device)) if self.timed else "interpreter"
        if self.timed:
            torch.cuda.set_device(self.device)  # whose streams events are recorded on
        self.dtype = getattr(torch, self.ops.compute)
        self._flush: Any = None
        self.model: Any = None  # what phases share

    def tensor(self, *shape: int, dtype: Any = None, scale: float = 1.0) -> Any:
        """Return random normal numbers on the device, in the compute dtype unless told otherwise."""
        made = self.torch.randn(shape, device=self.device, dtype=self.torch.float32) * scale
        return made.to(dtype or self.dtype)

    def wait(self) -> None:
        """Wait until the device has done everything."""
        if self.timed:
            self.torch.cuda.synchronize(self.device)

    def time(self, call: Callable[[], object], *, count: int = 20, cold: bool = True) -> Samples:
        """Return the device's milliseconds of each of `count` calls; none where nothing is timed.

        Args:
            cold: whether caches are overwritten before each call.
        """
        if not self.timed:
            call()
            return Samples()
        torch = self.torch
        if cold and self._flush is None:
            self._flush = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device=self.device)
        for _ in range(WARM):
            call()
        pairs = []
        for _ in range(count):
            if cold:
                self._flush.zero_()
            pair = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
            pair[0].record()
            call()
            pair[1].record()
            pairs.append(pair)
        self.wait()
        return Samples([float(start.elapsed_time(stop)) for start, stop in pairs])

    def values(self, call: Callable[[], object], *, count: int = 20, cold: bool = True) -> list[float]:
        """Return the milliseconds of `time`."""
        return self.time(call, count=count, cold=cold).values

    def graphs(self, model: Any) -> Any:
        """Return what replays a model of this benchmark: with the `velocity` of a `Denoiser`, and none of the rest."""
        from ...engine.graphs import StepGraphs

        return StepGraphs(self.ops, model, self.ops.accelerator)

    def give_back(self) -> None:
        """Free what a phase leaves behind."""
        self._flush = None
        if self.timed:
            self.torch.cuda.empty_cache()


@contextmanager
def attempt(bench: Bench, what: str) -> Iterator[None]:
    """Let a part of a phase fail alone: the note says what failed. With --tiny, which is a test, it is raised."""
    try:
        yield
    except Exception as error:
        if bench.tiny:
            raise
        traceback.print_exc()
        bench.note(f"{what} failed and was not measured: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
