"""The server that a command speaks with, if any."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from . import words
from .parsing import UsageError

if TYPE_CHECKING:
    from ..client.client import Client


def server_of(options: argparse.Namespace) -> str | None:
    """Return the address that --server or else SALON_SERVER gives; None if neither does."""
    if options.server is not None:
        if not options.server.strip():
            raise UsageError("--server: got '', allowed an address; write it like tcp://localhost:5599")
        return str(options.server)
    return os.environ.get("SALON_SERVER") or None


class Contact:
    """Says on standard error when the server does not answer, and when it does again; each once.

    Attributes:
        silent: it does not answer.
        meanwhile: what happens there, and what one can do here.
    """

    def __init__(self, address: str, *, quiet: bool) -> None:
        self.silent, self.meanwhile = False, "Ctrl-C ends the wait"
        self._server, self._quiet = f"the server at {address}", quiet

    def __call__(self, seconds: float | None) -> None:
        """Take note of so many seconds of silence; None: there was an answer."""
        self.silent = seconds is not None
        if self._quiet:
            return
        told = "answers again"
        if seconds is not None:
            told = f"has not answered for {round(seconds)} s; {self.meanwhile}"
        with suppress(OSError, ValueError):  # without a reader, the connection still goes on
            print(words.clean(f"salon: note: {self._server} {told}"), file=sys.stderr, flush=True)


@contextmanager
def connected(
    options: argparse.Namespace, timeout_s: float | None = None, contact: Contact | None = None
) -> Iterator[Client]:
    """Open a client of the server. `timeout_s` takes the place of --timeout. `contact` tells when the server is silent.

    Raises:
        UsageError: no server is named.
        SalonError: as `Client`.
    """
    address = server_of(options)
    if address is None:
        raise UsageError("no server; set SALON_SERVER, or pass --server tcp://localhost:5599")

    from ..client.client import Client

    timeout_s = options.timeout if timeout_s is None else timeout_s
    with Client(address, timeout_s=timeout_s, on_contact=contact) as client:
        yield client
