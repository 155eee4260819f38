"""Keep the state of one connection: its account, its watches and fetches, and the messages that it has not read yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ...studio.service.events import JobLog
from ..wire.messages import Event, Watched
from . import views

MAX_WAITING: Final = 1024  # answers that a connection may leave unread, beyond what the socket holds
MAX_WAITING_BYTES: Final = 64 << 20  # bytes of these answers, enough for all chunks that may be outstanding
MAX_HELD_BYTES: Final = 256 << 20  # bytes of these answers over all connections of an account
MAX_CONNECTIONS: Final = 64  # connections of one account, if keys tell accounts apart


@dataclass(eq=False, slots=True)
class Holder:
    """The connections of one account, and the bytes that they leave unread together."""

    sessions: set[Session] = field(default_factory=set)
    waiting_bytes: int = 0

    @property
    def slowest(self) -> Session:
        """The connection that leaves most bytes unread. The account must have one."""
        return max(self.sessions, key=lambda session: session.waiting_bytes)


@dataclass(eq=False, slots=True)
class Watcher:
    """A watch of a job.

    Attributes:
        told: number of the latest event that was sent.
        touch: called when there is something to send.
    """

    session: Session
    id: bytes
    log: JobLog
    told: int
    previews: bool
    touch: Callable[[Session], object]

    def touched(self) -> None:
        """See `events.Watcher`."""
        self.touch(self.session)


@dataclass(eq=False, slots=True)
class Fetching:
    """A picture on its way.

    Attributes:
        offset: the first byte that has not been sent.
        credit: number of chunks that may be sent.
        busy: whether a task is reading and sending chunks.
    """

    id: bytes
    job: str
    digest: str
    total: int
    offset: int
    credit: int
    busy: bool = False


@dataclass(eq=False, slots=True)
class Session:
    """A connection that has said hello.

    Attributes:
        route: routing id of the connection.
        account: the account of the peer.
        operator: whether that is an operator's.
        holder: the account's connections; this one is among them until it is closed.
        heard: time of the last message, by the monotonic clock.
        watchers, fetches: watches and fetches by the id of their request.
        outbox: messages that could not be sent yet, oldest first, each a list of frames without the routing id.
        waiting_bytes: bytes of the outbox.
        working: number of requests that are not answered yet.
    """

    route: bytes
    account: str
    operator: bool
    heard: float
    holder: Holder = field(default_factory=Holder)
    watchers: dict[bytes, Watcher] = field(default_factory=dict)
    fetches: dict[bytes, Fetching] = field(default_factory=dict)
    outbox: deque[list[bytes | memoryview]] = field(default_factory=deque)
    waiting_bytes: int = 0
    working: int = 0
    gone: bool = False

    def news(self, watcher: Watcher) -> tuple[Event | Watched, bytes | None] | None:
        """Return (the next record of a watch, its bytes), or None while there is nothing to tell."""
        log = watcher.log
        for event in log.since(watcher.told):
            if event.kind != "preview":
                return views.event(event), None
            if watcher.previews:
                return views.event(event), log.preview
        return (Watched(last=watcher.told), None) if log.final else None

    def keep(self, frames: list[bytes | memoryview]) -> bool:
        """Keep a message that has to wait. Return False if too many wait, or too large ones."""
        self.outbox.append(frames)
        self._wait(sum(map(len, frames)))
        return len(self.outbox) <= MAX_WAITING and self.waiting_bytes <= MAX_WAITING_BYTES

    def took(self) -> None:
        """Remove the oldest waiting message, which was sent."""
        self._wait(-sum(map(len, self.outbox.popleft())))

    def _wait(self, more_bytes: int) -> None:
        self.waiting_bytes += more_bytes
        self.holder.waiting_bytes += more_bytes

    def close(self, *, gone: bool = True) -> None:
        """Forget the session's watches and fetches, and the messages that it has not read."""
        self.gone = gone
        for watcher in self.watchers.values():
            watcher.log.watchers.discard(watcher)
        self.watchers.clear()
        self.fetches.clear()
        self.outbox.clear()
        self._wait(-self.waiting_bytes)
        if gone:
            self.holder.sessions.discard(self)
