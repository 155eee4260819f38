"""Find out what this process may use of the machine: a container's share, not the whole."""

from __future__ import annotations

from pathlib import Path

from . import _C


def usable_cores(root: str | Path = "/", affinity: int | None = None) -> int:
    """Return how many cores this process can keep busy, at least 1.

    That is the least of its affinity and, rounded up, the CPU quotas of its control group and of all groups above it
    (version 2's `cpu.max`, version 1's `cpu.cfs_quota_us`).

    Args:
        root: prefix of /proc and of the mounts' paths, so that a folder can imitate another machine.
        affinity: number of cores in the process's affinity; None: the system's answer.
    """
    return _C.usable_cores(_before(root), 0 if affinity is None else affinity)


def memory_limit(root: str | Path = "/") -> int | None:
    """Return the bytes that this process may use; None if nothing limits them.

    That is the least limit of its control group and of all groups above it (version 2's `memory.max`, version 1's
    `memory.limit_in_bytes`).

    Args:
        root: see `usable_cores`.
    """
    return _C.memory_limit(_before(root)) or None


def _before(root: str | Path) -> str:
    return str(root).rstrip("/")
