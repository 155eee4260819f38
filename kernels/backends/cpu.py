"""Provide the cpu backend: compiled kernels for the best instruction set of the machine."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import complaint
from ..cpu import CpuOps, isa_levels
from . import Options

HELP = "compiled kernels"


def lighter(dtype: str) -> Sequence[str]:
    """See `Backend`."""
    return [*halved(dtype), "--backend cpu_int8, which keeps linear layers in 8 bits"]


def halved(dtype: str) -> Sequence[str]:
    """Return the way to half of the memory, if this machine multiplies bfloat16 and does not so already."""
    able = dtype == "float32" and any(isa.endswith("bf16") for isa in isa_levels())
    return ["--dtype bfloat16, which takes half"] if able else []


def create(options: Options) -> CpuOps:
    """See `Backend`."""
    if options.device not in (None, "cpu"):
        allowed = "cpu (the cpu backend has no other)"
        raise ValueError(complaint("device", repr(options.device), allowed, "choose --backend triton for a GPU"))
    return CpuOps(options.isa, options.dtype, options.threads)
