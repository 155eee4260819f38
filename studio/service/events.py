"""What happened to each job, numbered: from here, watchers are told, and who reconnects goes on where it was.

Numbers rise over the whole life of a job. Each start of a service has a range of its own (its `life`), so that no step
has to be written. Of steps and previews only the latest is kept, so a job's log stays short whatever it does.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import msgspec

from ...bounds import FINAL, GRID, REPLACED
from .job_record import StoredPicture

PER_LIFE: Final = 1 << 24  # numbers of a start: 2**53 (what JavaScript can count) lasts for 500 million starts


class JobEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to a job.

    Attributes:
        number: rises with every event of the job, over its whole life.
        kind: "queued", "note" (`reason` says what of its prompt is left out or replaced), "started", "step", "preview",
            "paused", "resumed", "requeued", "image" (a picture can be fetched), or the one final event, of
            `bounds.FINAL`.
        at_ms: UTC.
        step, steps: solver steps done by then, and in all.
        reason: why, where there is something to say.
        picture: of an "image".
    """

    number: int
    kind: str
    at_ms: int
    step: int = 0
    steps: int = 0
    reason: str = ""
    picture: StoredPicture | None = None


class Watcher(Protocol):
    """What wants to know when a log has something new."""

    def touched(self) -> None:
        """Take note that there is something new. Called on the service's thread; must be quick."""


class JobLog:
    """The events of one job.

    Attributes:
        last: the number of the latest event.
        events: those that are kept, in the order of their numbers.
        preview: bytes (JPEG) of the latest preview event.
        watchers: who is told.
        waiting: called once, when the final event is there.
    """

    __slots__ = ("events", "job", "last", "preview", "waiting", "watchers")

    def __init__(self, job: str, last: int) -> None:
        self.job = job
        self.last = last
        self.events: list[JobEvent] = []
        self.preview = b""
        self.watchers: set[Watcher] = set()
        self.waiting: list[Callable[[], object]] = []

    @property
    def final(self) -> bool:
        """Whether nothing comes after."""
        return bool(self.events) and self.events[-1].kind in FINAL

    @property
    def step(self) -> int:
        """Of the latest step event."""
        return next((event.step for event in reversed(self.events) if event.kind == "step"), 0)

    def add(
        self,
        kind: str,
        at_ms: int,
        *,
        step: int = 0,
        steps: int = 0,
        reason: str = "",
        picture: StoredPicture | None = None,
        preview: bytes = b"",
    ) -> None:
        """Something happened. Nothing does after the final event."""
        if self.final:
            return
        if kind in REPLACED:
            self.events = [event for event in self.events if event.kind != kind]
        if kind == "preview":
            self.preview = preview
        self.last += 1
        self.events.append(
            JobEvent(number=self.last, kind=kind, at_ms=at_ms, step=step, steps=steps, reason=reason, picture=picture)
        )
        if kind in FINAL:
            self.preview = b""
            self.events = [event for event in self.events if event.kind != "preview"]
            waiting, self.waiting = self.waiting, []
            for call in waiting:
                call()
        for watcher in list(self.watchers):
            watcher.touched()

    def since(self, number: int) -> Iterator[JobEvent]:
        """Events that are kept, after that number."""
        return (event for event in self.events if event.number > number)


class Logs:
    """The logs of all jobs that have not ended, and of those that ended last.

    Args:
        life: which start of the service this is, from 1.
        keep: logs of ended jobs that are kept.
    """

    def __init__(self, life: int, keep: int = 1000) -> None:
        self._first = life * PER_LIFE
        self._keep = keep
        self._open: dict[str, JobLog] = {}
        self._ended: OrderedDict[str, JobLog] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def open(self, job: str, last: int = 0) -> JobLog:
        """A new log, or the one that the job has. `last`: the latest number that it had before: a job that is tried
        again goes on behind it."""
        self._ended.pop(job, None)
        return self._open.setdefault(job, JobLog(job, max(self._first, last)))

    def get(self, job: str) -> JobLog | None:
        """The log of a job, if it is here."""
        return self._open.get(job) or self._ended.get(job)

    def end(self, job: str) -> None:
        """Its final event is there."""
        log = self._open.pop(job, None)
        if log is not None:
            self._ended[job] = log
            while len(self._ended) > self._keep:
                self._ended.popitem(last=False)

    def drop(self, job: str) -> None:
        """There is no such job (any more)."""
        self._open.pop(job, None)
        self._ended.pop(job, None)


def log_of_ended(
    job: str, kind: str, at_ms: int, reason: str, pictures: tuple[StoredPicture, ...], last: int
) -> JobLog:
    """Return the log of a job that ended long ago, from what is stored: its images and its final event, numbered to
    `last`, each with the number that it had when it happened."""
    log = JobLog(job, last - len(pictures) - 1)
    for picture in sorted(pictures, key=lambda picture: (picture.index == GRID, picture.index)):  # as they were made
        log.add("image", at_ms, picture=picture)
    log.add(kind, at_ms, reason=reason)
    return log
