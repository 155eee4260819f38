"""Keep requests and their answers: a `Call` has one answer, a `Watching` many, a `Fetching` a file's bytes.

Exchanges are pure data. Each knows the request that continues it. After a lost connection the same exchange is simply
sent again: a watch from its last event, a picture from its last byte.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from ...bounds import FINAL, REPLACED
from ...errors import SalonError, complaint
from ..wire.messages import (
    Chunk,
    Credit,
    Event,
    Fetch,
    NewLink,
    NewTasteProfile,
    NewToken,
    OpsDrain,
    OpsRetry,
    Record,
    TasteUndo,
    Watch,
    Watched,
)
from .errors import BadAnswer, BadPicture

ONCE: Final = (OpsRetry, NewTasteProfile, TasteUndo, NewLink, NewToken)  # requests that do more when they come twice
MANY: Final = 64  # unread events from which on a new step or preview replaces the last one
MAX_PICTURE: Final = 1 << 30  # bytes


class Exchange:
    """A request and its answers.

    Attributes:
        deadline: when the caller stops waiting (the core's clock); may be moved.
        asked_at: when the exchange began.
        answers: the answers that no caller has taken yet.
        error: the error that ended it, if one did.
        ended: whether no further answer comes.
        sent: whether it was sent on this connection, and may be answered.
        doubtful: whether it was sent on a connection that broke, so that the server may have carried it out already.
        refused_since: since when the server turns it away; None: it does not.
        refusal: the error of the last refusal; None: there was none, or an answer came since.
        orphan: whether no caller waits for it any more, so that its answers are thrown away.
        wake: called when an answer comes or the exchange ends; the waiting caller sets it.
    """

    repeatable: bool = True  # the server may carry it out more than once without harm
    slot: str = ""  # the limit of the server on simultaneous exchanges that it counts for

    def __init__(self, deadline: float = math.inf) -> None:
        self.deadline = deadline
        self.asked_at = 0.0
        self.answers: deque[tuple[Any, bytes | None]] = deque()
        self.error: SalonError | None = None
        self.ended = False
        self.sent = False
        self.doubtful = False
        self.refused_since: float | None = None
        self.refusal: SalonError | None = None
        self.orphan = False
        self.wake: Callable[[], object] | None = None

    @property
    def ready(self) -> bool:
        """Whether waiting is over: there is an answer, or none will come."""
        return bool(self.answers) or self.ended

    def request(self) -> Record:
        """Return the record to send now."""
        raise NotImplementedError

    def accept(self, reply: Record, payload: bytes | None, id: bytes, now: float) -> Record | None:
        """Take an answer. Return a notice to send back, or None. `id` is the id of the request."""
        raise NotImplementedError

    def end(self, error: SalonError | None = None) -> None:
        """End the exchange: no further answer comes."""
        self.ended, self.error = True, error
        self.call()

    def call(self) -> None:
        """Wake the caller that waits."""
        if self.wake is not None:
            self.wake()


class Call(Exchange):
    """An exchange of one request and one answer."""

    def __init__(self, request: Record, deadline: float) -> None:
        super().__init__(deadline)
        self._request = request
        # A drain that ends the server must not reach the server that was started after it.
        self.repeatable = not (isinstance(request, OpsDrain) and request.stop) and not isinstance(request, ONCE)

    def request(self) -> Record:
        return self._request

    def accept(self, reply: Record, payload: bytes | None, id: bytes, now: float) -> None:
        self.answers.append((reply, payload))
        self.end()


class Watching(Exchange):
    """A watched job. It yields every event once, in order, also across lost connections."""

    slot = "watch"

    def __init__(self, job: str, after: int, previews: bool) -> None:
        super().__init__()
        self._job, self.last, self._previews = job, after, previews

    def request(self) -> Watch:
        return Watch(job=self._job, after=self.last, previews=self._previews)

    def accept(self, reply: Record, payload: bytes | None, id: bytes, now: float) -> None:
        if isinstance(reply, Watched):
            self.end()
        elif not isinstance(reply, Event):
            self.end(_unfit(reply, "an event"))
        elif reply.number > self.last:
            self.last = reply.number
            if reply.kind in REPLACED and len(self.answers) >= MANY:
                self._thin(reply.kind)
            self.answers.append((reply, payload))
            if reply.kind in FINAL:
                self.end()
            else:
                self.call()

    def _thin(self, kind: str) -> None:
        for position, (event, _) in enumerate(self.answers):
            if event.kind == kind:
                del self.answers[position]
                return


class Fetching(Exchange):
    """A picture on its way.

    `deadline` moves on with every chunk, so that a slow line does not end the fetch.

    Attributes:
        patience_s: longest wait for a chunk, in seconds.
        data: the bytes that have come.
    """

    slot = "fetch"

    def __init__(self, job: str, index: int, deadline: float, patience_s: float, credit: int) -> None:
        super().__init__(deadline)
        self._job, self._index, self._credit, self.patience_s = job, index, credit, patience_s
        self._granted = 0
        self._again = False  # whether it was started from byte 0 a second time
        self._forget()

    def _forget(self) -> None:
        self.data = bytearray()
        self._size = 0  # bytes that have come; an orphan counts them, but keeps none
        self._total: int | None = None
        self._digest = ""
        import hashlib  # loads OpenSSL, which a client that fetches nothing does without

        self._sum = hashlib.sha256()

    def request(self) -> Fetch:
        self._granted = self._credit
        return Fetch(job=self._job, index=self._index, offset=self._size, credit=self._credit)

    def accept(self, reply: Record, payload: bytes | None, id: bytes, now: float) -> Credit | None:
        if not isinstance(reply, Chunk) or payload is None:
            self.end(_unfit(reply, "a chunk"))
            return None
        if self._total is None:
            self._total, self._digest = reply.total, reply.digest
        if (reply.total, reply.digest) != (self._total, self._digest):
            self._retry("another file than before")
            return None
        if not 0 < reply.total <= MAX_PICTURE or reply.offset != self._size or not payload:
            self._retry(f"bytes {reply.offset:,} to {reply.offset + len(payload):,} of {reply.total:,}")
            return None
        self.deadline = now + self.patience_s
        self._granted -= 1
        self._size += len(payload)
        if not self.orphan:
            self._sum.update(payload)
            self.data += payload
        if self._size >= reply.total:
            if not self.orphan and (self._size > reply.total or self._sum.hexdigest() != reply.digest):
                self._retry("bytes with another sha256")
            else:
                self.end()
        elif self._granted <= self._credit // 2:
            more, self._granted = self._credit - self._granted, self._credit
            return Credit(fetch=id, chunks=more)
        return None

    def _retry(self, got: str) -> None:
        """Fetch once more from the beginning: the file may have been made anew between two connections."""
        if self._again or self.orphan:
            what = f"picture {self._index} of job {self._job}"
            self.end(BadPicture(complaint(what, got, "the bytes that its sha256 belongs to", "fetch it again")))
            return
        self._again, self.sent = True, False
        self._forget()


def _unfit(reply: Record, allowed: str) -> BadAnswer:
    return BadAnswer(
        complaint("answer", type(reply).__name__, allowed, "use the versions of client and server that fit")
    )
