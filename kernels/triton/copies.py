"""Copy arrays of the triton backend to the host, into pinned memory, beside what the device computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


class CudaFetch:
    """See `Fetch`.

    Args:
        device: where the arrays are.
        stream: the stream that copies.
        arrays: float32 arrays.
    """

    def __init__(self, device: torch.device, stream: Any, arrays: Sequence[torch.Tensor]) -> None:
        made, self._done = torch.cuda.Event(), torch.cuda.Event()
        made.record(torch.cuda.current_stream(device))
        stream.wait_event(made)
        self._hosts = []
        with torch.cuda.stream(stream):
            for array in arrays:
                host = torch.empty(tuple(array.shape), dtype=array.dtype, pin_memory=device.type == "cuda")
                host.copy_(array, non_blocking=True)
                if device.type == "cuda":
                    array.record_stream(stream)  # its memory is not given to anything else before it is copied
                self._hosts.append(host)
            self._done.record(stream)

    def numpy(self) -> list[NDArray[np.float32]]:
        """See `Fetch`."""
        self._done.synchronize()
        return [np.array(host.numpy(), np.float32, order="C") for host in self._hosts]
