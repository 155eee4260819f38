"""Give a program a job of a studio."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..engine.inquiries import Text
from ..engine.spec import GenerationSpec
from ..errors import complaint
from ..scheduler.tickets import Ended, Lane
from ..values import number_of, shown
from .errors import JobCancelled, JobFailed, JobTimeout, StudioError, WrongTimeout
from .threads import check_process
from .workers.messages import Reading

UInt8 = NDArray[np.uint8]


class JobState(StrEnum):
    """The states of a job; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether no other state follows."""
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True)
class Event:
    """Something that happened to a job.

    Attributes:
        kind: "queued", "started", "note" (`reason` says what of its prompt is left out or replaced), "step", "preview",
            "paused", "resumed", "requeued" (its worker died), or the one final "done", "failed" or "cancelled".
        step: solver steps done by then.
        reason: the reason in words; may be empty.
    """

    kind: str
    step: int = 0
    reason: str = ""


class Master(Protocol):
    """The part of a loop that a job uses."""

    def cancel(self, job: str) -> bool: ...
    def pause(self, job: str) -> bool: ...
    def resume(self, job: str) -> bool: ...


OnProgress = Callable[["Job", int, int], object]
OnPreview = Callable[["Job", int, UInt8], object]
OnEnd = Callable[["Job"], object]
OnEvent = Callable[["Job", Event], object]


class Job:
    """One accepted request. It may be used on any thread.

    Attributes:
        id, spec, account: as submitted.
        lane: the lane that serves the job, and by which it is charged.
        note: why that is not the lane that was asked for, or nothing.
        reading: what the model reads of its prompt, once it has started.
        charged_ms: GPU time that the job cost, if there are accounts; 0 until it has ended.
        steps: solver steps that it takes; of an inquiry, its pieces.
        left_open: whether it ended only because its studio did, and can be taken back by another one; see `Loop.close`.
    """

    def __init__(
        self,
        job: str,
        spec: GenerationSpec,
        account: str,
        lane: Lane,
        note: str,
        master: Master,
        *,
        steps: int | None = None,
    ) -> None:
        self.steps = spec.steps_taken if steps is None else steps
        self.id, self.spec, self.account, self.lane, self.note = job, spec, account, lane, note
        self.reading = Reading()
        self.charged_ms = 0
        self.left_open = False
        self._master = master
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._final = threading.Event()  # apart, so that a thread that waits for the end is not woken by every step
        self._state = JobState.QUEUED
        self._step = 0
        self._reason = self._kind = ""
        self._events: list[Event] = []
        self._pictures: UInt8 | None = None
        self._texts: tuple[Text, ...] = ()
        self._preview: UInt8 | None = None

    def __repr__(self) -> str:
        return f"Job({self.id!r}, {self.state}, step {self.step} of {self.steps})"

    @property
    def state(self) -> JobState:
        """The job's state."""
        return self._state

    @property
    def step(self) -> int:
        """Solver steps done, of `steps`."""
        return self._step

    @property
    def reason(self) -> str:
        """Why the job failed or was cancelled."""
        return self._reason

    @property
    def failure(self) -> str:
        """The type of the error that the job failed of, as far as it is known."""
        return self._kind

    @property
    def preview(self) -> UInt8 | None:
        """The latest preview, uint8 [images, height, width, 3], if previews were asked for."""
        return self._preview

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the job has ended, at most `timeout_s` seconds. Return whether it has.

        Raises:
            WrongTimeout: `timeout_s` is no number from 0.
            StudioClosed: this is a forked child, and it had not ended before.
        """
        timeout_s = _seconds(timeout_s)
        if not self._state.final:
            check_process(self._pid)
        return self._final.wait(timeout_s)

    def result(self, timeout_s: float | None = None) -> UInt8:
        """Return the pictures, uint8 [images, height, width, 3], once the job has ended.

        Raises:
            JobTimeout: it has not ended within `timeout_s` seconds.
            JobFailed, JobCancelled: it ended without.
            WrongTimeout: `timeout_s` is no number from 0.
            StudioClosed: this is a forked child, and it had not ended before.
            StudioError: it makes texts, and no pictures.
        """
        if self.spec.inquiry:
            got = f"one that makes texts ({self.spec.inquiry})"
            raise StudioError(complaint(f"job {self.id!r}", got, "one that makes pictures", "ask for its texts"))
        self._want_done(timeout_s)
        assert self._pictures is not None, "done, and without pictures"
        return self._pictures

    def texts(self, timeout_s: float | None = None) -> tuple[Text, ...]:
        """Return the texts of an inquiry once it has ended, the best first; none of a job that makes pictures.

        Raises as `result`, but for what that says of texts.
        """
        self._want_done(timeout_s)
        return self._texts

    def _want_done(self, timeout_s: float | None) -> None:
        """Wait for the end; raise as `result` unless the job is done."""
        if not self.wait(timeout_s):
            allowed = "one that has ended"
            raise JobTimeout(complaint(f"job {self.id!r}", f"one that is {self.state}", allowed, "wait longer"))
        if self._state is JobState.DONE:
            return
        if self._state is JobState.CANCELLED:
            raise JobCancelled(f"job {self.id!r}: {self._reason}")
        raise JobFailed(f"job {self.id!r}: {self._reason}", self._kind)

    def events(self, timeout_s: float | None = None) -> Iterator[Event]:
        """Return all events of the job, from the first to the final one, each when it happens.

        Raises:
            JobTimeout: nothing happens for `timeout_s` seconds.
            WrongTimeout: `timeout_s` is no number from 0; at once, not at the first event.
        """
        return self._events_from(_seconds(timeout_s))

    def _events_from(self, timeout_s: float | None) -> Iterator[Event]:
        position, ended = 0, False
        while not ended:
            event, ended = self._event(position, timeout_s)
            position += 1
            yield event

    def _event(self, position: int, timeout_s: float | None) -> tuple[Event, bool]:
        """Return (event, whether it is the final one)."""
        if not self._state.final:
            check_process(self._pid)
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._events) > position, timeout_s):
                raise JobTimeout(complaint(f"job {self.id!r}", "nothing new", "an event", "wait longer"))
            return self._events[position], self._state.final and position == len(self._events) - 1

    def cancel(self) -> bool:
        """End exactly this job; it may finish the step that it is in. Return whether it had not ended yet."""
        return self._master.cancel(self.id)

    def pause(self) -> bool:
        """Take no further step until `resume`. Return whether the job had not ended yet."""
        return self._master.pause(self.id)

    def resume(self) -> bool:
        """Go on after `pause`. Return whether the job had not ended yet."""
        return self._master.resume(self.id)

    # ---- for the loop ----------------------------------------------------------------------------------------------

    def _happened(self, event: Event, state: JobState | None = None) -> None:
        with self._changed:
            if self._state.final:
                return
            self._step = event.step if event.kind in ("step", "requeued") else self._step
            self._state = state or self._state
            self._events.append(event)
            self._changed.notify_all()

    def _previewed(self, pictures: UInt8) -> None:
        self._preview = pictures
        self._happened(Event("preview", self._step))

    def _ended(
        self, ended: Ended, reason: str, kind: str, pictures: UInt8 | None, texts: tuple[Text, ...] = ()
    ) -> bool:
        """Take the one final event. Return False if there was one before."""
        with self._changed:
            if self._state.final:
                return False
            self._reason, self._kind, self._pictures, self._preview = reason, kind, pictures, None
            self._texts = texts
            self._state = JobState(ended)
            self._events.append(Event(str(ended), self._step, reason))
            self._changed.notify_all()
        self._final.set()
        return True


def seconds_of(value: Any, name: str = "timeout_s", *, or_none: bool = False) -> float:
    """Return a time to wait in seconds, at most what the system's clocks can count.

    Raise WrongTimeout if it is no number from 0.
    """
    seconds = number_of(value)
    if seconds is None or not seconds >= 0:
        allowed = f"seconds, from 0{', or None' if or_none else ''}"
        raise WrongTimeout(complaint(name, shown(value), allowed, "correct it"))
    return min(seconds, threading.TIMEOUT_MAX)


def _seconds(timeout_s: Any) -> float | None:
    """Return a time to wait in seconds; None for no end, also where it is more than the system's clocks can count."""
    seconds = None if timeout_s is None else seconds_of(timeout_s, or_none=True)
    return None if seconds == threading.TIMEOUT_MAX else seconds
