"""Move weights of the triton backend to the host's memory while there is nothing to draw, and back to their places."""

from __future__ import annotations

from weakref import ref

import torch


class Unloading:
    """The tensors that a model's weights are in. Views of them stay what they are: only their memory comes and goes."""

    def __init__(self) -> None:
        self._tensors: list[ref[torch.Tensor]] = []
        self._hosts: list[tuple[torch.Tensor, torch.Tensor]] = []  # of the device; its bytes in the host's memory

    def add(self, tensor: torch.Tensor) -> torch.Tensor:
        """Make a tensor of weights known, and return it."""
        self._tensors.append(ref(tensor))
        return tensor

    @property
    def num_bytes(self) -> int:
        """Bytes of the weights on the device."""
        return sum(tensor.untyped_storage().nbytes() for each in self._tensors if (tensor := each()) is not None)

    def unload(self) -> int:
        """Move all weights to the host. Return their bytes."""
        freed = 0
        self._tensors = [each for each in self._tensors if each() is not None]
        for each in self._tensors:
            tensor = each()
            if tensor is None or not (size := tensor.untyped_storage().nbytes()):
                continue
            self._hosts.append((tensor, _bytes_of(tensor).to("cpu", copy=True)))
            tensor.untyped_storage().resize_(0)
            freed += size
        return freed

    def wake(self) -> None:
        """Bring all weights back. What an error leaves out is brought by the next call."""
        while self._hosts:
            tensor, host = self._hosts[-1]
            tensor.untyped_storage().resize_(host.numel())
            _bytes_of(tensor).copy_(host)
            self._hosts.pop()


def _bytes_of(tensor: torch.Tensor) -> torch.Tensor:
    """Return all memory of a tensor's storage as uint8 [n]."""
    storage = tensor.untyped_storage()
    return torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(storage, 0, (storage.nbytes(),), (1,))
