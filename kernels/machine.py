"""What this process may use of the machine: a container's share, not the whole."""

from __future__ import annotations

from pathlib import Path

from . import _C


def usable_cores(root: str | Path = "/", affinity: int | None = None) -> int:
    """Return how many cores this process can keep busy, at least 1.

    That is the least of its affinity and, rounded up, the CPU quotas of its control group and of all groups above it
    (version 2's `cpu.max`, version 1's `cpu.cfs_quota_us`).

    Args:
        root: stands before /proc and the mounts' paths: a folder can imitate another machine.
        affinity: of the process; None: asks the system.
    """
    return _C.usable_cores(_before(root), 0 if affinity is None else affinity)


def memory_limit(root: str | Path = "/") -> int | None:
    """Return the bytes that this process may use, None where nothing limits them.

    That is the least limit of its control group and of all groups above it (version 2's `memory.max`, version 1's
    `memory.limit_in_bytes`). `root`: see `usable_cores`."""
    return _C.memory_limit(_before(root)) or None


def _before(root: str | Path) -> str:
    return str(root).rstrip("/")
