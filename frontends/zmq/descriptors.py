"""Provide file descriptors: every connection takes one, and so does every file that is read or stored."""

from __future__ import annotations

import resource
from typing import Final

from ...system import need_descriptors

MAX_SESSIONS: Final = 20_000
OTHERS: Final = 200  # for the store, pictures, workers and the page of metrics
HTTP: Final = 384  # connections of HTTP, at most
FEWEST: Final = 16
LEAST: Final = 64  # of a server with few clients: ZeroMQ, connections to the database, pictures, the page of metrics
OF_A_WORKER: Final = 16


def raise_limit(workers: int) -> None:
    """Raise the limit to what this process may have.

    A shell's limit (often 1,024) is meant for programs that use select.

    Raises:
        TooFewDescriptors: they are not enough for a server with so many workers; libzmq would abort it later.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    need_descriptors(LEAST + OF_A_WORKER * workers, "server")


def max_sessions() -> int:
    """Return how many connections may say hello, so that descriptors are left for everything else."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_SESSIONS if soft == resource.RLIM_INFINITY else max(FEWEST, min(MAX_SESSIONS, soft - OTHERS - HTTP))
