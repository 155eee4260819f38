"""Keep the exchanges that have not ended: those to be sent, those to be answered, those turned away for now.

Pure data, like `core.py`, which owns one of these. Every step takes constant or logarithmic time in their number.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from ...errors import SalonError, complaint
from ..wire.codec import encode
from ..wire.errors import BadMessage
from ..wire.frames import NO_ID
from ..wire.messages import Failure, Limits, Record, Unwatch
from .errors import Disconnected, failed, invalid
from .exchanges import Exchange, Fetching, Watching

RETRY_S: Final = 0.25  # pause after a refusal that does not say when to ask again
_AGAIN: Final = ("too_fast", "busy")  # codes after which the same request may work soon
_UNDER_WAY: Final = ("TimeoutError", "TooSlow")  # kinds of failures after which the server may still be at it
_AGAIN_IF_TOLD: Final = ("unavailable",)  # codes after which it may work if the server says when


def pause_of(failure: Failure) -> float | None:
    """Return the seconds after which the same request may be sent again; None: it would fail again."""
    if failure.code in _AGAIN or (failure.code in _AGAIN_IF_TOLD and failure.retry_after_ms > 0):
        return failure.retry_after_ms / 1000 if failure.retry_after_ms > 0 else RETRY_S
    return None


class Pending:
    """The exchanges of one core that have not ended.

    Args:
        outbox: takes messages, as frames.
        patience_s: how long an exchange may be turned away, in seconds.
        chance: returns random numbers from 0 to 1.

    Attributes:
        limits: the server's limits.
    """

    def __init__(self, outbox: deque[list[bytes]], *, patience_s: float, chance: Callable[[], float]) -> None:
        self.outbox, self.limits = outbox, Limits()
        self._patience_s, self._chance = patience_s, chance
        self._all: dict[Exchange, bytes] = {}  # exchange -> the id that it was sent with; b"": it was not sent
        self._by_id: dict[bytes, Exchange] = {}
        self._queues: dict[str, dict[Exchange, None]] = {"": {}, "watch": {}, "fetch": {}}  # to be sent, by slot
        self._open = {"": 0, "watch": 0, "fetch": 0}  # sent, by slot
        self._later: list[tuple[float, int, Exchange]] = []  # a heap of (when to send again, number, exchange)
        self._count = 0

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Exchange]:
        return iter(list(self._all))

    @property
    def due(self) -> float:
        """When the first exchange that was turned away is to be sent again."""
        return self._later[0][0] if self._later else math.inf

    def find(self, id: bytes) -> Exchange | None:
        """Return the exchange that was sent with this id on this connection, or None."""
        return self._by_id.get(id)

    def push(self, record: Record, id: bytes | None = None) -> bytes:
        """Send a message that belongs to no exchange. Return its id, which is a new one unless `id` is given."""
        id = self._new_id() if id is None else id
        self.outbox.append([id, encode(record)])
        return id

    def add(self, exchange: Exchange) -> None:
        """Add a new exchange."""
        self._all[exchange] = b""
        self._queues[exchange.slot][exchange] = None

    def drop(self, exchange: Exchange, *, connected: bool) -> None:
        """Give up an exchange for which no caller waits. Tell the server, if that frees something there."""
        exchange.wake = None
        id = self._all.get(exchange)
        if id and connected and isinstance(exchange, Fetching):
            exchange.orphan = True  # no message ends a fetch: it goes on to its end, and then its slot is free
            return
        if id and connected and isinstance(exchange, Watching):
            self.push(Unwatch(watch=id))
        self.remove(exchange)

    def end(self, exchange: Exchange, error: SalonError) -> None:
        """End an exchange with an error."""
        self.remove(exchange)
        exchange.end(error)

    def remove(self, exchange: Exchange) -> None:
        """Remove an exchange that has ended."""
        if exchange in self._all:
            self._unsend(exchange)
            del self._all[exchange]
            self._queues[exchange.slot].pop(exchange, None)

    def again(self, exchange: Exchange) -> None:
        """Queue an exchange to be sent again."""
        self._unsend(exchange)
        self._queues[exchange.slot][exchange] = None

    def disconnect(self, why: str) -> None:
        """Take note that the connection is lost. Queue again what was sent on it, if repeating that does no harm."""
        for exchange in self:
            if exchange.orphan:
                self.remove(exchange)
            elif exchange.sent and exchange.repeatable:
                exchange.doubtful = True
                self.again(exchange)
            elif exchange.sent:
                text = complaint("connection", why, "an answer", "look whether it was done before you ask again")
                self.end(exchange, Disconnected(text))

    def flush(self, now: float) -> bool:
        """Send all that may be sent now. Return whether there was anything."""
        before = len(self.outbox)
        while self._later and self._later[0][0] <= now:
            exchange = heapq.heappop(self._later)[2]
            if exchange in self._all and not exchange.sent:
                self._queues[exchange.slot][exchange] = None
        most = {"": math.inf, "watch": self.limits.max_watches, "fetch": self.limits.max_fetches}
        for slot, queue in self._queues.items():
            while queue and self._open[slot] < max(1, most[slot]):
                exchange = next(iter(queue))
                del queue[exchange]
                self._send(exchange)
        return len(self.outbox) > before

    def turned_away(self, exchange: Exchange, failure: Failure, now: float) -> None:
        """Take note that the server refused an exchange.

        Send it again later if that may help, does no harm, and there is time, else end it.
        """
        pause = pause_of(failure)
        harmless = exchange.repeatable or failure.kind not in _UNDER_WAY
        if pause is not None and harmless and not exchange.orphan:
            exchange.refused_since = now if exchange.refused_since is None else exchange.refused_since
            exchange.refusal = failed(failure)
            at = now + pause * (1 + self._chance() / 4)
            if at < min(exchange.deadline, exchange.refused_since + self._patience_s):
                self._unsend(exchange)
                self._count += 1
                heapq.heappush(self._later, (at, self._count, exchange))
                return
        self.end(exchange, failed(failure))

    def _send(self, exchange: Exchange) -> None:
        try:
            body = encode(exchange.request())
        except BadMessage as error:  # ends the exchange: the thread that sends now may be another caller's
            self.end(exchange, invalid(str(error)))
            return
        if len(body) > self.limits.max_message:
            text = complaint("request", f"{len(body):,} bytes", f"up to {self.limits.max_message:,}", "shorten it")
            self.end(exchange, failed(Failure(code="too_large", kind="LimitError", text=text)))
            return
        id = self._new_id()  # a new one each time, so that answers to an earlier sending find no exchange
        exchange.sent = True
        self._all[exchange] = id
        self._by_id[id] = exchange
        self._open[exchange.slot] += 1
        self.outbox.append([id, body])

    def _unsend(self, exchange: Exchange) -> None:
        if id := self._all[exchange]:
            del self._by_id[id]
            self._all[exchange] = NO_ID
            self._open[exchange.slot] -= 1
        exchange.sent = False

    def _new_id(self) -> bytes:
        self._count += 1
        return self._count.to_bytes(6, "big")
