"""Provide the cpu backend: compiled kernels for the best instruction set of the machine."""

from __future__ import annotations

from ..cpu import CpuOps
from . import Options

HELP = "compiled kernels"


def create(options: Options) -> CpuOps:
    """See `Backend`."""
    if options.device not in (None, "cpu"):
        raise ValueError(f"device: got {options.device!r}, want cpu (the cpu backend has no other)")
    return CpuOps(options.isa, options.dtype, options.threads)
