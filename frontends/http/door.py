"""Listen for HTTP on the server's own event loop, and stop with it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import uvicorn

from ...bounds import LOCAL
from ...errors import SalonError, complaint
from ...system import explain
from ..wire.address import is_loopback, parse_address
from .app import Front
from .connections import SERVED, Connection
from .errors import HttpRefused
from .following import Ending
from .gate import Gate

if TYPE_CHECKING:
    from ...studio.service.service import Service
    from ..zmq.options import ServeOptions

LOG = logging.getLogger("salon.http")
END_S: Final = 2  # for answers to be read at the end


class HttpError(SalonError):
    """HTTP cannot be served there."""


class _Uvicorn(uvicorn.Server):
    """The server of uvicorn, which leaves signals to Salon's, and sleeps while there is nothing to do."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.over = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    async def main_loop(self) -> None:
        """Wait for the end; once a second the clock of the answers' headers goes on."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.over.wait(), 1.0)

    def end(self) -> None:
        """End soon."""
        self.should_exit = True
        self.over.set()


class HttpDoor:
    """The HTTP side of a server. Made and used on the event loop's thread.

    Args:
        service: carries requests out.
        keyed: whether keys tell accounts apart; then HTTP, which has none, does not open.

    Attributes:
        address: like `http://127.0.0.1:5580`; empty: it is not open.
    """

    def __init__(self, service: Service, *, keyed: bool) -> None:
        self.address = ""
        self._service, self._keyed = service, keyed
        self._ending = Ending()
        self._uvicorn: _Uvicorn | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self, options: ServeOptions) -> None:
        """Begin to answer, if the options say so. Where HTTP is optional and cannot be, that is logged.

        Raises:
            HttpError: it cannot be served there.
        """
        if options.http is None:
            return
        try:
            await self._open(options.http)
        except HttpError as error:
            if not options.http_optional:
                raise
            LOG.log(logging.INFO if self._keyed else logging.WARNING, "no HTTP: %s", error)
        else:
            LOG.info("http", extra={"address": self.address})

    async def close(self) -> None:
        """Tell all who follow jobs that the server ends, let them read that, and stop."""
        self._ending.tell()
        if self._uvicorn is not None and self._task is not None:
            self._uvicorn.end()
            await asyncio.gather(self._task, return_exceptions=True)
            self._uvicorn = self._task = None

    async def _open(self, place: str) -> None:
        want_place(place, keyed=self._keyed)
        host, _, port = place.rpartition(":")
        host = host.strip("[]")
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = socket.create_server((host, int(port)), family=family, backlog=256)
            # What it accepts inherits this. asyncio does not see that it is TCP, and answers would take 40 ms longer.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except (OSError, OverflowError) as error:
            got, allowed, remedy = explain(error)
            raise HttpError(complaint(f"--http {place}", got, f"{allowed}, or off", remedy)) from error
        gate = Gate(Front(self._service, self._ending).app, self._account, strangers=False)
        config = uvicorn.Config(
            gate, lifespan="off", log_config=None, access_log=False, ws="none", http=Connection, server_header=False,
            proxy_headers=False, limit_concurrency=SERVED, timeout_graceful_shutdown=END_S,
        )  # fmt: skip
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # its start and end are the server's
        self._uvicorn = _Uvicorn(config)
        self._task = asyncio.get_running_loop().create_task(self._uvicorn.serve(sockets=[listener]))
        shown = f"[{host}]" if ":" in host else host
        self.address = f"http://{shown}:{listener.getsockname()[1]}"

    def _account(self, token: str | None) -> str:
        """Return the account of all requests, whatever token they bring: clients of OpenAI's always send one."""
        try:
            return self._service.context.accounts.enter(LOCAL).account
        except SalonError as error:
            raise HttpRefused(str(error), status=401, code="invalid_api_key") from error


def want_place(place: str, *, keyed: bool) -> None:
    """Raise HttpError for a place at which strangers, or other users of this machine, would have a user's account.

    Args:
        place: `HOST:PORT`.
        keyed: whether keys tell accounts apart.
    """
    remedy = "leave it out, and use ZeroMQ"
    if not is_loopback(parse_address(f"tcp://{place}", bind=True)):
        got = "a place beyond loopback, where anybody could ask"
        raise HttpError(complaint(f"--http {place}", got, "127.0.0.1:PORT, as HTTP has no keys yet", remedy))
    if keyed:
        got = "it on a server where accounts have keys"
        raise HttpError(complaint(f"--http {place}", got, "one without, as HTTP has no keys yet", remedy))
