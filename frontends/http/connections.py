"""Bound the connections of HTTP: how many there are, how long one may take to say what it wants, and what is logged."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST: Final = 384  # connections at a time; further ones are closed at once, as each takes a file descriptor
SERVED: Final = 360  # of these; requests on the others are answered 503
ABORT: Final = "salon.abort"  # in the scope of a request: ends its connection at once
HEADERS_S: Final = 10.0  # the longest time from a connection, or the first byte after an answer, to a request's headers
REST_S: Final = 120.0  # the longest time for the rest of a body that was answered before its end
SELDOM_S: Final = 60.0  # between two log lines of a kind that every stranger can cause


class Connection(H11Protocol):
    """A connection of uvicorn's that is bounded, from its first byte: it agrees on its encryption by itself, since
    asyncio would tell of it only after that.

    Attributes:
        tls: the certificate with which connections are encrypted; None: they are not.
    """

    tls: ClassVar[ssl.SSLContext | None] = None
    _slow: asyncio.TimerHandle | None = None
    _agreeing: asyncio.Task[None] | None = None
    _early: bytearray | None = None  # what comes right behind the agreement, before this is told of it

    def connection_made(self, transport: Any) -> None:
        """Take a connection, or close it."""
        super().connection_made(transport)
        if len(self.connections) > MOST:
            transport.abort()
            return
        self._slow = self.loop.call_later(HEADERS_S, transport.abort)
        if self.tls is not None:
            transport.pause_reading()  # nothing that comes before the agreement is taken for what comes after it
            self._early = bytearray()
            self._agreeing = self.loop.create_task(self._agree(transport, self.tls))

    async def _agree(self, transport: Any, tls: ssl.SSLContext) -> None:
        """Agree on the encryption, and go on with what has come encrypted."""
        try:
            secure = await self.loop.start_tls(transport, self, tls, server_side=True, ssl_handshake_timeout=HEADERS_S)
        except OSError as error:  # of SSL, too
            transport.abort()
            self.connection_lost(error)
            return
        early, self._early = self._early, None
        if secure is None or self not in self.connections:  # lost meanwhile
            self.connection_lost(None)
            return
        super().connection_made(secure)
        if early:
            self.data_received(bytes(early))

    def data_received(self, data: bytes) -> None:
        """Take what comes. Uvicorn waits for ever for the rest of what has begun after an answer."""
        if self._early is not None:
            self._early += data
            return
        super().data_received(data)
        if self._slow is None and self.cycle is not None and self.cycle.response_complete:
            most_s = REST_S if self.cycle.more_body else HEADERS_S
            self._slow = self.loop.call_later(most_s, self.transport.abort)

    def handle_events(self) -> None:
        """Go on with what has come."""
        super().handle_events()
        if self.scope is not None:
            self.scope[ABORT] = self.transport.abort  # type: ignore[typeddict-unknown-key]  # its task starts later
        if self.cycle is not None and not self.cycle.response_complete:
            self._in_time()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection, once."""
        if self in self.connections:
            self._in_time()
            super().connection_lost(exc)

    def _in_time(self) -> None:
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None


def encrypted(tls: ssl.SSLContext) -> type[Connection]:
    """Return the class of connections that are encrypted with a certificate."""

    class Encrypted(Connection):
        """One of them."""

    Encrypted.tls = tls
    return Encrypted


class Seldom(logging.Filter):
    """Lets a warning of each kind through once a minute: uvicorn has one for every malformed request."""

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is written."""
        if record.levelno != logging.WARNING:
            return True
        now = time.monotonic()
        if now - self._told.get(str(record.msg), -SELDOM_S) < SELDOM_S:
            return False
        self._told[str(record.msg)] = now  # as it was written in the code, without what came: few
        return True


SELDOM: Final = Seldom()
