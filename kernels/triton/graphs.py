"""Capture work of the triton backend as CUDA graphs, all of which share one pool of memory.

Only one graph runs at a time, and its result is read before the next one begins; so their temporary arrays may lie in
the same memory.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import torch

from ..accelerator import CaptureError
from ..segments import Segments
from .arrays import DeviceVector


class CudaGraph:
    """See `Graph`."""

    def __init__(self, graph: Any, result: Any, num_bytes: int) -> None:
        self._graph, self.result, self.num_bytes = graph, result, num_bytes

    def replay(self) -> None:
        """See `Graph`."""
        self._graph.replay()


class CudaCapture:
    """Captures on one device.

    Args:
        device: the CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool: Any = None
        self._stream: Any = None

    def capture(self, work: Callable[[], Any]) -> CudaGraph:
        """See `Accelerator`."""
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
            self._stream = torch.cuda.Stream(self._device)
        torch.cuda.synchronize(self._device)
        before = torch.cuda.memory_reserved(self._device)
        graph = torch.cuda.CUDAGraph()
        try:
            # "thread_local": the capture refuses what this thread does wrong, and no other thread's work
            with (
                torch.cuda.device(self._device),
                torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"),
            ):
                result = work()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            if "captur" in str(error).lower():
                raise CaptureError(str(error).splitlines()[0]) from error
            raise
        return CudaGraph(graph, result, max(0, torch.cuda.memory_reserved(self._device) - before))


class LayoutParts:
    """Describes and copies arrays, vectors and segments of an op table, with the tables that its ops make of them.

    Args:
        ops: the op table.
    """

    def __init__(self, ops: Any) -> None:
        self._ops = ops

    def describe(self, value: Any) -> Hashable | None:
        """See `Accelerator`. Launches over segments depend on their numbers of rows, segments and samples alone."""
        if isinstance(value, torch.Tensor):
            return "array", tuple(value.shape), tuple(value.stride()), str(value.dtype)
        if isinstance(value, DeviceVector):
            return "vector", len(value), str(value.host.dtype)
        if isinstance(value, Segments):
            return "segments", value.num_rows, len(value), value.num_samples
        return None

    def clone(self, value: Any) -> Any:
        """See `Accelerator`."""
        if isinstance(value, DeviceVector):
            return DeviceVector(value.host, value.data.clone())
        if isinstance(value, Segments):
            return Segments(value.offsets.copy(), value.owners.copy(), value.num_samples)
        made = torch.empty_strided(tuple(value.shape), tuple(value.stride()), dtype=value.dtype, device=value.device)
        return made.copy_(value)

    def copy(self, into: Any, value: Any) -> None:
        """See `Accelerator`."""
        if isinstance(value, DeviceVector):
            into.data.copy_(value.data, non_blocking=True)
            self._ops.copy_derived(into, value)
        elif isinstance(value, Segments):
            self._ops.tables(into).copy_from(self._ops.tables(value))
        else:
            into.copy_(value, non_blocking=True)
