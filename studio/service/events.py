"""Keep each job's events, numbered. Watchers are told from here, and go on after a lost connection where they were.

Numbers rise over the whole life of a job. Each start of a service has a range of its own (its `life`), so that steps
need not be written. Of steps and previews only the latest is kept, so every job's log stays short.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import msgspec

from ...bounds import FINAL, GRID, REPLACED
from .job_record import StoredPicture

PER_LIFE: Final = 1 << 24  # numbers of one start: 2**53, to which JavaScript can count, is 500 million starts


class JobEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to a job.

    Attributes:
        number: number of the event; it rises over the whole life of the job.
        kind: "queued", "note" (`reason` says what of its prompt is left out or replaced), "started", "step", "preview",
            "paused", "resumed", "requeued", "image" (a picture can be fetched), or the one final event, one of
            `bounds.FINAL`.
        at_ms: UTC ms.
        step, steps: solver steps done by then, and in all.
        reason: the reason in words; may be empty.
        picture: the picture of an "image".
    """

    number: int
    kind: str
    at_ms: int
    step: int = 0
    steps: int = 0
    reason: str = ""
    picture: StoredPicture | None = None


class Watcher(Protocol):
    """An object that is told when a log has a new event."""

    def touched(self) -> None:
        """Take note that there is a new event. Called on the service's thread; it must be quick."""


class JobLog:
    """The events of one job.

    Attributes:
        last: number of the latest event.
        events: the events that are kept, in the order of their numbers.
        preview: bytes (JPEG) of the latest preview event.
        watchers: the objects that are told.
        waiting: functions that are called once, at the final event.
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
        """Whether the final event has come."""
        return bool(self.events) and self.events[-1].kind in FINAL

    @property
    def step(self) -> int:
        """Solver steps done, by the latest step event."""
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
        """Add an event, and tell the watchers. After the final event, nothing is added."""
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
        """Return the kept events after that number."""
        return (event for event in self.events if event.number > number)


class Logs:
    """The logs of all jobs that have not ended, and of those that ended last.

    Args:
        life: number of this start of the service, from 1.
        keep: number of logs of ended jobs that are kept.
    """

    def __init__(self, life: int, keep: int = 1000) -> None:
        self._first = life * PER_LIFE
        self._keep = keep
        self._open: dict[str, JobLog] = {}
        self._ended: OrderedDict[str, JobLog] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def open(self, job: str, last: int = 0) -> JobLog:
        """Return the log of a job, or a new one if it has none.

        Args:
            last: the latest number that the job had before; the log of a job that is tried again goes on behind it.
        """
        self._ended.pop(job, None)
        return self._open.setdefault(job, JobLog(job, max(self._first, last)))

    def get(self, job: str) -> JobLog | None:
        """Return the log of a job, or None if it is not kept here."""
        return self._open.get(job) or self._ended.get(job)

    def end(self, job: str) -> None:
        """Take note that a job's final event has come."""
        log = self._open.pop(job, None)
        if log is not None:
            self._ended[job] = log
            while len(self._ended) > self._keep:
                self._ended.popitem(last=False)

    def drop(self, job: str) -> None:
        """Forget the log of a job."""
        self._open.pop(job, None)
        self._ended.pop(job, None)


def log_of_ended(
    job: str, kind: str, at_ms: int, reason: str, pictures: tuple[StoredPicture, ...], last: int
) -> JobLog:
    """Return the log of a job that ended long ago, from what is stored: its images and its final event.

    Their numbers end with `last`. Each has the number that it had when it happened.
    """
    log = JobLog(job, last - len(pictures) - 1)
    for picture in sorted(pictures, key=lambda picture: (picture.index == GRID, picture.index)):  # as they were made
        log.add("image", at_ms, picture=picture)
    log.add(kind, at_ms, reason=reason)
    return log
