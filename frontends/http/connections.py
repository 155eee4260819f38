"""Bound the connections of HTTP: how many there are, and how long one may take to say what it wants."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST: Final = 384  # connections at a time; further ones are closed at once, as each takes a file descriptor
SERVED: Final = 360  # of these; requests on the others are answered 503
ABORT: Final = "salon.abort"  # in the scope of a request: ends its connection at once
HEADERS_S: Final = 10.0  # the longest time from a connection, or the first byte after an answer, to a request's headers
REST_S: Final = 120.0  # the longest time for the rest of a body that was answered before its end


class Connection(H11Protocol):
    """A connection of uvicorn's that is bounded."""

    _slow: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Take a connection, or close it."""
        super().connection_made(transport)
        if len(self.connections) > MOST:
            transport.abort()
        else:
            self._slow = self.loop.call_later(HEADERS_S, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Take what comes. Uvicorn waits for ever for the rest of what has begun after an answer."""
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
        """Forget the connection."""
        self._in_time()
        super().connection_lost(exc)

    def _in_time(self) -> None:
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None
