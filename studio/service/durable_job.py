"""Give a program a job of a durable studio."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ...bounds import FINAL, GRID, LOCAL
from ...engine.inquiries import Text
from ...errors import complaint
from ..errors import BlobMissing, JobBlocked, JobCancelled, JobFailed, JobTimeout
from ..job import seconds_of
from .errors import no_such_job
from .events import JobEvent
from .given import checks_arguments
from .job_record import JobRecord

if TYPE_CHECKING:
    from .embedded import DurableStudio

ANSWER_S: Final = 30.0  # the longest wait of a request that waits only for the disk


class Listener:
    """Wakes a thread when a log has something new. See `events.Watcher`."""

    def __init__(self) -> None:
        self.news = threading.Event()

    def touched(self) -> None:
        self.news.set()


@checks_arguments()
@dataclass(frozen=True)
class DurableJob:
    """A job of a durable studio. Its id finds it again in any later process. It may be used on any thread.

    Attributes:
        studio: the studio that has the job.
        id: the job's id.
    """

    studio: DurableStudio
    id: str

    def record(self, *, timeout_s: float = ANSWER_S) -> JobRecord:
        """Return the job's present record.

        Raises:
            UnknownJob: the job was deleted.
            JobTimeout: the answer does not come within `timeout_s` seconds.
        """
        return self.studio._ask(self.studio._open.find(self.id, LOCAL), timeout_s)

    def wait(self, timeout_s: float) -> JobRecord:
        """Wait until the job has ended, and its end is on disk.

        Raise JobTimeout if it has not within `timeout_s` seconds.
        """
        for _ in self.events(timeout_s):
            pass
        return self.record()

    def events(self, timeout_s: float, *, after: int = 0) -> Iterator[JobEvent]:
        """Yield the job's events, from behind event number `after` to its end. Of steps only the latest is kept.

        Raises:
            JobTimeout: the job has not ended within `timeout_s` seconds in all.
            UnknownJob: the job does not exist.
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
        """Wait for the job's end, and return its images as PNG files with their recipes inside.

        Raises:
            JobTimeout: the job has not ended within `timeout_s` seconds.
            JobFailed, JobBlocked, JobCancelled: the job ended without pictures.
            UnknownJob: the job was deleted.
        """
        record = self._done(timeout_s)
        return tuple(self._file(picture.digest) for picture in record.pictures if picture.index != GRID)

    def texts(self, timeout_s: float) -> tuple[Text, ...]:
        """Wait for the job's end, and return the texts that it made in place of pictures. Raises as `pictures`."""
        return self._done(timeout_s).texts

    def grid(self, timeout_s: float) -> bytes:
        """Wait for the job's end, and return its images side by side, as `pictures` returns them."""
        record = self._done(timeout_s)
        return next(self._file(picture.digest) for picture in record.pictures if picture.index == GRID)

    def again(self, **options: Any) -> DurableJob:
        """Run this job again as a new job, of any kind. Options and errors: see `DurableStudio.again`."""
        return self.studio.again(self.id, **options)

    def cancel(self, *, timeout_s: float = ANSWER_S) -> bool:
        """End the job. Return, when that is on disk, whether it had not ended before.

        Raises:
            UnknownJob: the job was deleted.
            JobTimeout: the answer does not come within `timeout_s` seconds.
        """
        return self.studio._ask(self.studio._open.cancel(self.id, LOCAL), timeout_s)

    def delete(self, *, timeout_s: float = ANSWER_S) -> bool:
        """Remove the job's pictures and words. Return whether it had any.

        Raises:
            UnknownJob: the job does not exist.
            NotEnded: the job has not ended.
            JobTimeout: the answer does not come within `timeout_s` seconds.
        """
        return self.studio._ask(self.studio._open.delete(self.id, LOCAL), timeout_s)

    def _done(self, timeout_s: float) -> JobRecord:
        record = self.wait(timeout_s)
        if record.state == "cancelled":
            raise JobCancelled(f"job {self.id!r}: {record.reason}")
        if record.state == "blocked":
            raise JobBlocked(f"job {self.id!r}: {record.reason}", record.failure)
        if record.state != "done":
            raise JobFailed(f"job {self.id!r}: {record.reason}", record.failure)
        return record

    def _file(self, digest: str) -> bytes:
        try:
            return self.studio._context.blobs.get(digest)
        except BlobMissing:  # the job was deleted meanwhile
            raise no_such_job(self.id) from None
