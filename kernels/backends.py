"""The backends by name."""

from __future__ import annotations

from typing import Any

from .ops import Dtype, Ops

NAMES = ("cpu", "reference")


def create(
    name: str = "cpu", *, isa: str | None = None, dtype: Dtype | None = None, threads: int | None = None
) -> Ops[Any, Any]:
    """The op table called `name`.

    Args:
        name: "cpu" (compiled kernels) or "reference" (numpy float32, slow, the definition).
        isa, dtype, threads: see `CpuOps`; the reference has no instruction sets, one thread, and takes only its own
            dtype, "float32".

    Raises:
        ValueError: unknown name, or an option that the backend does not have.
    """
    if name == "cpu":
        from .cpu import CpuOps

        return CpuOps(isa, dtype, threads)
    if name == "reference":
        from .reference import ReferenceOps

        if isa is not None or dtype not in (None, "float32") or threads not in (None, 1):
            got = f"isa={isa!r}, dtype={dtype!r}, threads={threads!r}"
            raise ValueError(f"the reference backend is plain float32 on one thread: got {got}, want neither")
        return ReferenceOps()
    raise ValueError(f"backend: got {name!r}, want one of {', '.join(NAMES)}")
