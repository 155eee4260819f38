"""What the scheduler knows of a job: numbers alone. It never sees a prompt, an array or a picture.

Times are milliseconds on whatever clock the caller uses (float, never going back); work is counted in predicted
milliseconds of an idle worker.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ..errors import complaint, is_text
from .errors import ClockError, TicketError, UnknownLane

MAX_ROWS = 2**28  # of one step of one job: more is no request but a mistake


class Lane(StrEnum):
    """The four lanes, by precedence. Their promises are inequalities in docs/lanes.md."""

    TURBO = "turbo"
    FAST = "fast"
    DRAFT = "draft"
    RELAX = "relax"


class Stage(StrEnum):
    """The kinds of work of a job, in order. A plan is one stage of one or (STEP only) several jobs."""

    ENCODE = "encode"  # once a job: text, adapters, noise
    STEP = "step"  # `steps` times: one model evaluation of all its samples
    DECODE = "decode"  # once an image
    UPSCALE = "upscale"  # once an image, for jobs that upscale


@dataclass(frozen=True, slots=True)
class StepShape:
    """What one step of a job, or of a batch of jobs, weighs.

    Attributes:
        rows: text and image rows of all samples together.
        squares: sum over samples of (rows of the sample) squared, what attention costs.
        adapter_rows: sum over samples of rows x adapter tokens, what the adapter branch costs.
    """

    rows: int
    squares: int
    adapter_rows: int = 0

    def __add__(self, other: StepShape) -> StepShape:
        return StepShape(self.rows + other.rows, self.squares + other.squares, self.adapter_rows + other.adapter_rows)


@dataclass(frozen=True, slots=True)
class Ticket:
    """One job as the scheduler sees it.

    Attributes:
        job: its id, unique for ever.
        account: whose it is: fairness is among accounts.
        lane: what was asked for. A Turbo job may be served as Fast (`Admitted.lane`).
        shape: one step of it.
        steps: model evaluations (a Heun step is two).
        images: pictures to decode, one DECODE piece each.
        pixels: of one picture.
        text_rows: rows that encoding has to make.
        upscales: UPSCALE pieces after decoding; 0 for most jobs.
        max_running: at most so many started jobs of this account in the lanes that share this one's limit.

    Raises:
        UnknownLane: a lane that does not exist.
        TicketError: a number out of range.
    """

    job: str
    account: str
    lane: Lane
    shape: StepShape
    steps: int
    images: int = 1
    pixels: int = 128 * 128
    text_rows: int = 16
    upscales: int = 0
    max_running: int = 3

    def __post_init__(self) -> None:
        if not isinstance(self.lane, Lane):
            raise UnknownLane(complaint("lane", repr(self.lane), ", ".join(Lane), "choose one of these"))
        for name in ("job", "account"):
            value = getattr(self, name)
            if not isinstance(value, str) or not 1 <= len(value) <= 200 or not is_text(value):
                raise TicketError(complaint(name, repr(value)[:80], "1 to 200 characters", f"give the {name} an id"))
        bounds: tuple[tuple[str, Any, int, int], ...] = (
            ("rows", self.shape.rows, 1, MAX_ROWS),
            ("squares", self.shape.squares, 1, MAX_ROWS**2),
            ("adapter_rows", self.shape.adapter_rows, 0, MAX_ROWS**2),
            ("steps", self.steps, 1, 10_000),
            ("images", self.images, 0, 10_000),
            ("pixels", self.pixels, 1, 2**32),
            ("text_rows", self.text_rows, 0, MAX_ROWS),
            ("upscales", self.upscales, 0, 10_000),
            ("max_running", self.max_running, 1, 1_000_000),
        )
        for name, got, low, high in bounds:
            if isinstance(got, bool) or not isinstance(got, int) or not low <= got <= high:
                raise TicketError(
                    complaint(name, repr(got), f"a whole number from {low} to {high:,}", f"correct the {name}")
                )


@dataclass(frozen=True, slots=True)
class Plan:
    """What a worker does next: one stage of `jobs`, until `Scheduler.report`.

    Attributes:
        number: counts the plans of a scheduler.
        worker: who does it.
        stage: the kind of work. Only a STEP plan has more than one job.
        jobs: job ids; the first one leads, the others ride along.
        piece: which image of the job, for DECODE and UPSCALE.
        predicted_ms: by the worker's cost model.
        lead: the lane that the leading job is served in.
        moved: jobs among `jobs` that were started on another worker, whose parked state must be brought here first.
    """

    number: int
    worker: str
    stage: Stage
    jobs: tuple[str, ...]
    piece: int
    predicted_ms: float
    lead: Lane
    moved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Admitted:
    """The answer to `Scheduler.submit`: the lane that the job is served and charged in, and why it is another one."""

    job: str
    lane: Lane
    reason: str = ""


class Ended(StrEnum):
    """How a job ended; every submitted job ends exactly once."""

    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Final:
    """The one final answer to a job; `lane` is the one that it was served in, and is charged in."""

    job: str
    ended: Ended
    lane: Lane
    reason: str = ""


def check_time(now: Any, last: float) -> float:
    """`now` as a float. ClockError if it is no finite number or lies before `last`."""
    if isinstance(now, bool) or not isinstance(now, int | float) or not math.isfinite(now) or now < last:
        raise ClockError(complaint("clock", repr(now), f"a time from {last:.3f} ms on", "use a monotonic clock"))
    return float(now)
