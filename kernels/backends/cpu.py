"""Provide the cpu backend: compiled kernels for the best instruction set of the machine."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import complaint
from ..cpu import CpuOps, isa_levels
from . import Options

HELP = "compiled kernels"


def lighter(dtype: str) -> Sequence[str]:
    """See `Backend`."""
    half = ["--dtype bfloat16, which takes half"] if can_be_halved(dtype) else []
    return [*half, "--backend cpu_int8, which keeps linear layers in 8 bits"]


def can_be_halved(dtype: str) -> bool:
    """Return whether numbers of a compute dtype can be half as long: this machine multiplies bfloat16."""
    return dtype == "float32" and any(isa.endswith("bf16") for isa in isa_levels())


def create(options: Options) -> CpuOps:
    """See `Backend`."""
    if options.device not in (None, "cpu"):
        allowed = "cpu (the cpu backend has no other)"
        raise ValueError(complaint("device", repr(options.device), allowed, "choose --backend triton for a GPU"))
    return CpuOps(options.isa, options.dtype, options.threads)
