"""Provide the triton backend: kernels for NVIDIA GPUs, over torch tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import Options

if TYPE_CHECKING:
    from ..triton.table import TritonOps

HELP = "NVIDIA GPUs, by Triton kernels"
EXTRA = "gpu"
CORES = False


def create(options: Options, *, float8: bool = False) -> TritonOps:
    """See `Backend`. Without torch and triton this raises ImportError.

    Args:
        float8: whether linear layers whose products stand it have their weights in float8.
    """
    from ..triton.devices import open_device
    from ..triton.float8 import Float8
    from ..triton.table import TritonOps

    for name, value in (("isa", options.isa), ("threads", options.threads)):
        if value is not None:
            raise ValueError(f"{name}: got {value!r}, want none for the triton backend, which computes on a GPU")
    device = open_device(options.device, options.dtype, float8=float8)
    return TritonOps(device, float8=Float8() if float8 else None)
