"""Which server a command speaks with, if any."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .parsing import UsageError

if TYPE_CHECKING:
    from ..client.client import Client


def server_of(options: argparse.Namespace) -> str | None:
    """The address that --server or else SALON_SERVER gives; None: neither does."""
    if options.server is not None:
        if not options.server.strip():
            raise UsageError("--server: got '', allowed an address; write it like tcp://localhost:5599")
        return str(options.server)
    return os.environ.get("SALON_SERVER") or None


@contextmanager
def connected(options: argparse.Namespace, timeout_s: float | None = None) -> Iterator[Client]:
    """A client of that server. `timeout_s`: instead of --timeout.

    Raises:
        UsageError: no server is named.
        SalonError: as `Client`.
    """
    address = server_of(options)
    if address is None:
        raise UsageError("no server; set SALON_SERVER, or pass --server tcp://localhost:5599")

    from ..client.client import Client

    with Client(address, timeout_s=options.timeout if timeout_s is None else timeout_s) as client:
        yield client
