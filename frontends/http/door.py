"""Listen for HTTP on the server's own event loop, and stop with it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import uvicorn
from starlette.routing import BaseRoute

from ...errors import complaint
from ...system import explain
from .api import Api
from .app import Front
from .connections import SELDOM, SERVED, Connection, encrypted
from .following import Ending
from .gate import Gate
from .place import HttpError, place_of, tls_of
from .visitors import Everybody, Known

if TYPE_CHECKING:
    from ...studio.service.service import Service
    from ..zmq.answers import Answers
    from ..zmq.options import ServeOptions
    from ..zmq.rates import Rates

LOG = logging.getLogger("salon.http")
END_S: Final = 2  # for answers to be read at the end


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
        answers: does so for the wire's records.
        rates: bound how often an account may ask.
        keyed: whether keys tell accounts apart; then browsers need a session, and programs a token.

    Attributes:
        address: by which people use it, like `http://127.0.0.1:5580`; empty: it is not open.
        routes: what it answers.
    """

    def __init__(self, service: Service, answers: Answers, rates: Rates, *, keyed: bool) -> None:
        self.address = ""
        self.routes: list[BaseRoute] = []
        self._service, self._answers, self._rates, self._keyed = service, answers, rates, keyed
        self._api: Api | None = None
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
            await self._open(options)
        except HttpError as error:
            if not options.http_optional:
                raise
            LOG.warning("no HTTP: %s", error)
        else:
            LOG.info("http", extra={"address": self.address})

    def clients(self) -> int:
        """Return how many connections there are."""
        return 0 if self._uvicorn is None else len(self._uvicorn.server_state.connections)

    def streams(self) -> int:
        """Return how many streams of events pages read."""
        return 0 if self._api is None else self._api.streams

    async def close(self) -> None:
        """Tell all who follow jobs that the server ends, let them read that, and stop."""
        self._ending.tell()
        if self._uvicorn is not None and self._task is not None:
            self._uvicorn.end()
            await asyncio.gather(self._task, return_exceptions=True)
            self._uvicorn = self._task = None
        if self._api is not None:
            self._api.close()
            self._api = None

    async def _open(self, options: ServeOptions) -> None:
        place = place_of(options, keyed=self._keyed)
        http = Connection if place.tls is None else encrypted(tls_of(place.tls))
        try:
            family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
            host = "0.0.0.0" if place.host == "*" else place.host
            listener = socket.create_server((host, place.port), family=family, backlog=256)
            # What it accepts inherits this. asyncio does not see that it is TCP, and answers would take 40 ms longer.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except (OSError, OverflowError) as error:
            got, allowed, remedy = explain(error)
            raise HttpError(complaint(f"--http {options.http}", got, f"{allowed}, or off", remedy)) from error
        place = replace(place, port=listener.getsockname()[1])
        visitors = Known(self._service, place.cookie) if self._keyed else Everybody(self._service)
        self._api = Api(self._service, self._answers, visitors, self._ending, place.cookie)
        app = Front(self._service, self._ending, self._api.routes).app
        self.routes, gate = app.routes, Gate(app, visitors, self._rates, place)
        config = uvicorn.Config(
            gate, lifespan="off", log_config=None, access_log=False, ws="none", http=http, server_header=False,
            proxy_headers=False, limit_concurrency=SERVED, timeout_graceful_shutdown=END_S,
        )  # fmt: skip
        log = logging.getLogger("uvicorn.error")
        log.setLevel(logging.WARNING)  # its start and end are the server's
        log.addFilter(SELDOM)
        self._uvicorn = _Uvicorn(config)
        self._task = asyncio.get_running_loop().create_task(self._uvicorn.serve(sockets=[listener]))
        self.address = place.address
