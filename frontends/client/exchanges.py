"""What was asked and what came back: a `Call` has one answer, a `Watching` many, a `Fetching` a file's bytes.

Pure data. Each knows the request that goes on from where it is, so that after a lost connection the same exchange is
simply sent again: a watch from its last event, a picture from its last byte.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from ...bounds import FINAL, REPLACED
from ...errors import SalonError, complaint
from ..wire.messages import Chunk, Credit, Event, Fetch, OpsDrain, OpsRetry, Record, Watch, Watched
from .errors import BadAnswer, BadPicture

MANY: Final = 64  # events that wait for the reader before that happens
MAX_PICTURE: Final = 1 << 30  # bytes


class Exchange:
    """A request, and what came back.

    Attributes:
        deadline: when whoever asked stops waiting (the core's clock); may be moved.
        asked_at: when it began.
        answers: what came and was not taken yet.
        error: why nothing more comes.
        ended: nothing more comes.
        sent: it was sent on this connection, and may be answered.
        doubtful: it was sent on a connection that broke, so it may have been done already.
        refused_since: since when it is being turned away.
        refusal: why, the last time; None: it was not, or something else came since.
        orphan: nobody waits for it any more, and what comes is thrown away.
        wake: called when something came; whoever waits sets it.
    """

    repeatable: bool = True  # it may be done twice
    slot: str = ""  # which of the server's limits on how many at a time it counts for

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
        """Whether waiting is over: something came, or nothing will."""
        return bool(self.answers) or self.ended

    def request(self) -> Record:
        """What to send now."""
        raise NotImplementedError

    def accept(self, reply: Record, payload: bytes | None, id: bytes, now: float) -> Record | None:
        """An answer came; `id` is that of the request. A notice to send back, or None."""
        raise NotImplementedError

    def end(self, error: SalonError | None = None) -> None:
        """Nothing more comes."""
        self.ended, self.error = True, error
        self.call()

    def call(self) -> None:
        """Wake whoever waits."""
        if self.wake is not None:
            self.wake()


class Call(Exchange):
    """One request, one answer."""

    def __init__(self, request: Record, deadline: float) -> None:
        super().__init__(deadline)
        self._request = request
        # a drain that ends the server must not meet the one that was started after it
        self.repeatable = not (isinstance(request, OpsDrain) and request.stop) and not isinstance(request, OpsRetry)

    def request(self) -> Record:
        return self._request

    def accept(self, reply: Record, payload: bytes | None, id: bytes, now: float) -> None:
        self.answers.append((reply, payload))
        self.end()


class Watching(Exchange):
    """A watched job. Every event once, in order, whatever happens to the connection."""

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
    """A picture on its way. `deadline` moves on with every chunk: a slow line is no reason to give up.

    Attributes:
        patience_s: longest wait for a chunk.
        data: what came so far.
    """

    slot = "fetch"

    def __init__(self, job: str, index: int, deadline: float, patience_s: float, credit: int) -> None:
        super().__init__(deadline)
        self._job, self._index, self._credit, self.patience_s = job, index, credit, patience_s
        self._granted = 0
        self._again = False  # it was started from byte 0 a second time
        self._forget()

    def _forget(self) -> None:
        self.data = bytearray()
        self._size = 0  # bytes that came, also of an orphan, which keeps none
        self._total: int | None = None
        self._digest = ""
        import hashlib  # OpenSSL: not for those who fetch nothing

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
        """Once from the beginning: it may have been made anew between two connections."""
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
