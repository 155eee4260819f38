"""Implement the client's side of the protocol, without a socket, a thread or a clock of its own: frames in, frames out.

One `Core` is one user's connection over its whole life, across every socket that it takes. `link.py` owns the sockets.
All callers of a core share a lock, or one event loop.

    idle ----> waiting ----> greeting ----> open
    nothing    for the time  Hello is on    requests
    to do      of a new      its way        go out
               socket

From `greeting` and `open`, every failure leads back to `waiting` (`idle`, if no request is open). Unanswered requests
are sent again after the next Welcome. `closed` is the end.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Final

from ...errors import SalonError, complaint
from ..wire.errors import MessageError, UnknownMessage
from ..wire.frames import NO_ID, read_reply
from ..wire.messages import FEATURES, VERSION, Bye, Closing, Failure, Hello, Ping, Reply, Welcome
from ..wire.version import OLDEST
from .errors import BadAnswer, Disconnected, failed
from .exchanges import Exchange
from .pauses import FIRST_PAUSE_S, dice, pause_before
from .pending import Pending, pause_of

STEADY_S: Final = 5.0  # after a connection of this age, failures are counted anew
SILENCES: Final = 3  # after so many heartbeats of silence, the connection counts as lost
TALK: Final = 0.75  # after this share of a heartbeat without a message of our own, a ping is sent
REMEDY: Final = "check that it runs, the address, the key after #, and what is between"


class Core:
    """The state machine of one connection; see the module.

    Args:
        where: the address, for errors.
        patience_s: how long a request may be turned away, and how long a watch may be without a server, in seconds.
        clock: returns seconds that only rise.
        client: name and version of this side, for people.
        chance: returns random numbers from 0 to 1.

    Attributes:
        state: see the module.
        welcome: the server's last Welcome.
        trouble: the last failure that was seen, in words.
        outbox: messages to send, as frames.
        away_since: since when there is no open connection; None: there is one.
        heard: time of the server's last message on this connection.
        pending: the exchanges that have not ended.
    """

    def __init__(
        self,
        where: str,
        *,
        patience_s: float,
        clock: Callable[[], float],
        client: str = "",
        chance: Callable[[], float] = dice,
    ) -> None:
        self.where, self.patience_s, self.clock = where, patience_s, clock
        self.state = "idle"
        self.welcome: Welcome | None = None
        self.trouble = ""
        self.outbox: deque[list[bytes]] = deque()
        self.away_since: float | None = clock()
        self._client, self._chance = client, chance
        self.pending = Pending(self.outbox, patience_s=patience_s, chance=chance)
        self._reopen_at = math.inf
        self._hello = NO_ID
        self._failures = 0  # connections in a row that failed
        self._since = self._said = self.heard = 0.0  # `_since`: when this state began
        self._barred: SalonError | None = None
        self._shortage = ""  # why the last attempt to make a socket failed

    # ---- for operations --------------------------------------------------------------------------------------------

    def ask(self, exchange: Exchange) -> None:
        """Begin an exchange, which is sent on every connection until it has ended, the present one first."""
        if self._barred is not None:
            exchange.end(self._barred)
            return
        if self.state == "idle":
            self._wait(0.0)
            self.away_since = self.clock()
        exchange.asked_at = self.clock()
        self.pending.add(exchange)
        self._flush()

    def drop(self, exchange: Exchange) -> None:
        """Give up an exchange for which no caller waits any more."""
        self.pending.drop(exchange, connected=self.state == "open")
        self._flush()

    def unreachable(self) -> Disconnected:
        """Return the error for having no connection."""
        if self._shortage:
            remedy = "close some files or raise the limit (ulimit -n), and ask again"
            return Disconnected(f"client: there is no socket to be had here ({self._shortage}); {remedy}")
        seen = self.trouble or "no answer"
        return Disconnected(complaint(f"server {self.where}", seen, "a Salon server that answers", REMEDY))

    # ---- for the link ----------------------------------------------------------------------------------------------

    @property
    def wants_socket(self) -> bool:
        """Whether it is time for a new socket."""
        return self.state == "waiting" and self.clock() >= self._reopen_at

    @property
    def has_socket(self) -> bool:
        """Whether the present socket, if any, is still of use."""
        return self.state in ("greeting", "open")

    @property
    def due(self) -> float:
        """When a new socket or `tick` is due, if nothing else happens first."""
        if self.state == "waiting":
            return self._reopen_at
        if self.state == "greeting":
            return self.heard + self._beat * SILENCES
        if self.state == "open":
            return min(self._said + self._beat * TALK, self.heard + self._beat * SILENCES, self.pending.due)
        return math.inf

    def opened(self) -> None:
        """Take note of a new socket."""
        assert self.state == "waiting"
        self._shortage = ""
        self._greet()

    def unopened(self, why: str) -> None:
        """Take note that no socket can be made now. The core tries again later, as long as a caller waits."""
        self._failures, self._shortage = self._failures + 1, why
        self._wait(pause_before(self._failures, self._chance))
        if not self.pending:
            self._become("idle")

    def receive(self, message: list[bytes]) -> None:
        """Take a message of the server."""
        if not self.has_socket:
            return
        self.heard = self.clock()
        try:
            id, reply, payload = read_reply(message)
        except UnknownMessage:
            return  # a message of a newer server, which answers no request of this side
        except MessageError as error:
            if (exchange := self.pending.find(error.id)) is not None:
                text = complaint("answer", str(error), "what docs/wire.md says", "use versions that fit")
                self.pending.end(exchange, BadAnswer(text))
                self._flush()
            return
        if isinstance(reply, Closing):
            self._closing(reply)
        elif isinstance(reply, Failure) and reply.code == "hello":
            self._forgotten(id)
        elif self.state == "greeting":
            if id == self._hello:
                self._greeted(reply)
        elif (exchange := self.pending.find(id)) is not None:
            self._answered(exchange, id, reply, payload)

    def tick(self) -> None:
        """Do what time demands: send a heartbeat, end a silent connection, send again what was turned away."""
        if not self.has_socket:
            return
        now = self.clock()
        if now >= self.heard + self._beat * SILENCES:
            self.lost("no answer" if self.state == "greeting" else "silence")
        elif self.state == "open":
            self._flush()
            if now >= self._said + self._beat * TALK:
                self.ping()

    def ping(self) -> None:
        """Send a Ping over an open connection, so that the server answers."""
        self.pending.push(Ping(), NO_ID)
        self._said = self.clock()

    def lost(self, why: str, pause_s: float = 0.0) -> None:
        """Take note that the connection is lost. The server may ask to wait `pause_s` seconds before the next."""
        if not self.has_socket:
            return
        now = self.clock()
        steady = self.state == "open" and now - self._since >= STEADY_S
        self._failures = 0 if steady else self._failures + 1
        self.trouble = why
        self.outbox.clear()
        self.pending.disconnect(why)
        self.away_since = now if self.away_since is None else self.away_since
        self._wait(max(pause_before(self._failures, self._chance), pause_s * (1 + self._chance() / 4)))
        if not self.pending:
            self._become("idle")
        for exchange in self.pending:
            exchange.call()  # wake the caller: its longest wait has changed

    def fail(self, error: SalonError, *, bar: bool = False) -> None:
        """End all exchanges with an error. With `bar` later ones end so, too; else a later one tries anew."""
        self._barred = error if bar else None
        self.outbox.clear()
        for exchange in self.pending:
            self.pending.end(exchange, error)
        self.away_since = self.clock() if self.away_since is None else self.away_since
        self._become("idle")

    def close(self, error: SalonError) -> None:
        """End for good: all exchanges fail with that error, now and later. A Bye is left in the outbox."""
        was_open = self.state == "open"
        self.fail(error, bar=True)
        if was_open:
            self.pending.push(Bye(), NO_ID)
        self._become("closed")

    # ---- the connection --------------------------------------------------------------------------------------------

    @property
    def _beat(self) -> float:
        return max(0.01, self.pending.limits.heartbeat_ms / 1000)

    def _become(self, state: str) -> None:
        self.state, self._since = state, self.clock()

    def _wait(self, pause_s: float) -> None:
        self._become("waiting")
        self._reopen_at = self.clock() + pause_s

    def _greet(self) -> None:
        self._become("greeting")
        self._hello = self.pending.push(Hello(version=VERSION, oldest=OLDEST, features=FEATURES, client=self._client))
        self.heard = self._said = self.clock()

    def _greeted(self, reply: Reply) -> None:
        if isinstance(reply, Failure):
            if (pause := pause_of(reply)) is None:
                self.fail(failed(reply))
            else:
                self.lost(reply.text, pause)
        elif not isinstance(reply, Welcome):
            self.lost("another answer than Welcome")
        elif not OLDEST <= reply.version <= VERSION:
            text = complaint("version", reply.version, f"{OLDEST} to {VERSION}", "use a client that fits the server")
            self.fail(failed(Failure(code="unsupported", kind="UnsupportedVersion", text=text)))
        else:
            self.welcome, self.pending.limits = reply, reply.limits
            self.away_since = None
            self._become("open")
            self._flush()

    def _forgotten(self, id: bytes) -> None:
        """Take note that the server asks for a Hello: it restarted, or ZeroMQ made the connection anew."""
        if (exchange := self.pending.find(id)) is not None:
            self.pending.again(exchange)  # the server surely did not carry it out
        if self.state == "greeting":
            return  # that request was sent before the Hello that is on its way
        if self.clock() - self._since < FIRST_PAUSE_S:
            self.lost("the server forgets this connection")  # a pause, and a new socket
            return
        self.outbox.clear()
        self.pending.disconnect("the server forgot this connection")
        self.away_since = self.clock()
        self._greet()

    def _closing(self, notice: Closing) -> None:
        why = notice.reason or "the server ends the connection"
        if notice.retry_after_ms < 0:
            self.trouble = why
            self.fail(self.unreachable(), bar=True)
        else:
            self.lost(why, notice.retry_after_ms / 1000)

    # ---- exchanges -------------------------------------------------------------------------------------------------

    def _answered(self, exchange: Exchange, id: bytes, reply: Reply, payload: bytes | None) -> None:
        if isinstance(reply, Failure):
            self.pending.turned_away(exchange, reply, self.heard)
            self._flush()
            return
        exchange.refused_since = exchange.refusal = None
        if (notice := exchange.accept(reply, payload, id, self.heard)) is not None:
            self.pending.push(notice, NO_ID)
            self._said = self.heard
        if exchange.ended:
            self.pending.remove(exchange)
            self._flush()
        elif not exchange.sent:
            self.pending.again(exchange)
            self._flush()

    def _flush(self) -> None:
        if self.state == "open" and self.pending.flush(self.clock()):
            self._said = self.clock()
