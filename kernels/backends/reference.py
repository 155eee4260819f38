"""Provide the reference backend: numpy in float32, slow, the definition of every op."""

from __future__ import annotations

from ..reference import ReferenceOps
from . import Options

HELP = "numpy, slow, the definition of every op"
DTYPE = "float32"


def create(options: Options) -> ReferenceOps:
    """See `Backend`."""
    plain = options.isa is None and options.dtype in (None, "float32") and options.threads in (None, 1)
    if not plain or options.device not in (None, "cpu"):
        got = ", ".join(f"{name}={value!r}" for name, value in vars(options).items() if value is not None)
        raise ValueError(f"the reference backend is plain float32 on one thread: got {got}, want neither")
    return ReferenceOps()
