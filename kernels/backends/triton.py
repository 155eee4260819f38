"""Provide the triton backend: kernels for NVIDIA GPUs, over torch tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import Options

if TYPE_CHECKING:
    from ..triton.table import TritonOps

HELP = "NVIDIA GPUs, by Triton kernels"
EXTRA = "gpu"
CORES = False


def create(options: Options) -> TritonOps:
    """See `Backend`. Without torch and triton this raises ImportError."""
    from ..triton.devices import open_device
    from ..triton.table import TritonOps

    for name, value in (("isa", options.isa), ("threads", options.threads)):
        if value is not None:
            raise ValueError(f"{name}: got {value!r}, want none for the triton backend, which computes on a GPU")
    return TritonOps(open_device(options.device, options.dtype))
