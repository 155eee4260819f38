"""A job of a durable studio in the hands of a program."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ...bounds import FINAL, GRID, LOCAL
from ...errors import complaint
from ..errors import BlobMissing, JobCancelled, JobFailed, JobTimeout
from ..job import seconds_of
from .errors import no_such_job
from .events import JobEvent
from .job_record import JobRecord

if TYPE_CHECKING:
    from .embedded import DurableStudio

ANSWER_S: Final = 30.0  # for a request that waits for the disk only


class Listener:
    """Wakes a thread when a log has something new. See `events.Watcher`."""

    def __init__(self) -> None:
        self.news = threading.Event()

    def touched(self) -> None:
        self.news.set()


@dataclass(frozen=True)
class DurableJob:
    """A job in the hands of a program; its id finds it again in any later process. Safe to use from any thread.

    Attributes:
        studio: knows it.
        id: see there.
    """

    studio: DurableStudio
    id: str

    def record(self, *, timeout_s: float = ANSWER_S) -> JobRecord:
        """Return what is known of it now. UnknownJob: it was deleted; JobTimeout."""
        return self.studio._ask(self.studio._open.find(self.id, LOCAL), timeout_s)

    def wait(self, timeout_s: float) -> JobRecord:
        """Wait until it has ended, and that is on disk. JobTimeout: it has not within `timeout_s` seconds."""
        for _ in self.events(timeout_s):
            pass
        return self.record()

    def events(self, timeout_s: float, *, after: int = 0) -> Iterator[JobEvent]:
        """Yield what happens to it, from behind event number `after` to its end; of steps only the latest is kept.

        Raises:
            JobTimeout: it has not ended within `timeout_s` seconds in all.
            UnknownJob: there is no such job.
        """
        end = time.monotonic() + seconds_of(timeout_s)
        listener = Listener()
        log = self.studio._ask(self.studio._listen(self.id, listener), ANSWER_S)
        try:
            while True:
                listener.news.clear()
                for event in list(log.since(after)):
                    after = event.number
                    yield event
                    if event.kind in FINAL:
                        return
                if log.final:
                    return
                if not listener.news.wait(max(0.0, end - time.monotonic())):
                    allowed = "one that has ended"
                    raise JobTimeout(complaint(f"job {self.id!r}", "one that goes on", allowed, "wait longer"))
                self.studio._open  # noqa: B018  # StudioClosed
        finally:
            self.studio._unlisten(log, listener)

    def pictures(self, timeout_s: float) -> tuple[bytes, ...]:
        """Wait for its end, and return its images as PNG files with their recipes inside.

        Raises:
            JobTimeout: it has not ended within `timeout_s` seconds.
            JobFailed, JobCancelled: it has none.
            UnknownJob: it was deleted.
        """
        record = self._done(timeout_s)
        return tuple(self._file(picture.digest) for picture in record.pictures if picture.index != GRID)

    def grid(self, timeout_s: float) -> bytes:
        """Wait for its end, and return its images side by side, as `pictures` returns them."""
        record = self._done(timeout_s)
        return next(self._file(picture.digest) for picture in record.pictures if picture.index == GRID)

    def cancel(self, *, timeout_s: float = ANSWER_S) -> bool:
        """End it; return, when that is on disk, whether it had not ended before. UnknownJob, JobTimeout."""
        return self.studio._ask(self.studio._open.cancel(self.id, LOCAL), timeout_s)

    def delete(self, *, timeout_s: float = ANSWER_S) -> bool:
        """Remove its pictures and words; return whether it had any. UnknownJob, NotEnded, JobTimeout."""
        return self.studio._ask(self.studio._open.delete(self.id, LOCAL), timeout_s)

    def _done(self, timeout_s: float) -> JobRecord:
        record = self.wait(timeout_s)
        if record.state == "cancelled":
            raise JobCancelled(f"job {self.id!r}: {record.reason}")
        if record.state != "done":
            raise JobFailed(f"job {self.id!r}: {record.reason}", record.failure)
        return record

    def _file(self, digest: str) -> bytes:
        try:
            return self.studio._context.blobs.get(digest)
        except BlobMissing:  # it was deleted meanwhile
            raise no_such_job(self.id) from None
