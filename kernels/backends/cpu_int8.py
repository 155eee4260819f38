"""Provide the cpu backend with weights of linear layers in int8: less memory, and other pixels."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import complaint
from ..cpu_int8 import Int8Ops
from . import Options
from .cpu import can_be_halved

HELP = "the same with linear layers in 8 bits, a quarter of the memory: other pixels"
LINEAR_BYTES = 1


def lighter(dtype: str) -> Sequence[str]:
    """See `Backend`."""
    return ["--dtype bfloat16, which takes half of what is not in linear layers"] if can_be_halved(dtype) else []


def create(options: Options) -> Int8Ops:
    """See `Backend`."""
    if options.device not in (None, "cpu"):
        allowed = "cpu (the cpu_int8 backend has no other)"
        raise ValueError(complaint("device", repr(options.device), allowed, "choose --backend triton for a GPU"))
    return Int8Ops(options.isa, options.dtype, options.threads)
