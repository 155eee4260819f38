"""Provide the cpu backend: compiled kernels for the best instruction set of the machine."""

from __future__ import annotations

from ...errors import complaint
from ..cpu import CpuOps
from . import Options

HELP = "compiled kernels"


def create(options: Options) -> CpuOps:
    """See `Backend`."""
    if options.device not in (None, "cpu"):
        allowed = "cpu (the cpu backend has no other)"
        raise ValueError(complaint("device", repr(options.device), allowed, "choose --backend triton for a GPU"))
    return CpuOps(options.isa, options.dtype, options.threads)
