"""The scheduler's view of a job: numbers alone, never a prompt, an array or a picture.

Times are milliseconds on a clock of the caller's choice (float, never going back); work is counted in predicted
milliseconds of an idle worker.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any

from ..errors import complaint, is_text
from .errors import ClockError, TicketError, UnknownLane

MAX_ROWS = 2**28  # of one step of one job: more is no request but a mistake
MAX_UNITS = 2**32  # of one piece


class Lane(StrEnum):
    """The four lanes, by precedence. Their promises are inequalities in docs/lanes.md."""

    TURBO = "turbo"
    FAST = "fast"
    DRAFT = "draft"
    RELAX = "relax"


class Stage(StrEnum):
    """The kinds of work that drawing is made of. A job may have others: a kind is known by its name alone."""

    ENCODE = "encode"  # once a job: text, adapters, noise
    STEP = "step"  # one model evaluation of all samples of a job; the only kind that jobs can share
    DECODE = "decode"  # once an image
    UPSCALE = "upscale"  # once an image, for jobs that upscale


@dataclass(frozen=True, slots=True)
class StepShape:
    """The weight of one step of a job, or of a batch of jobs.

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


NOTHING = StepShape(0, 0)  # what a job without steps adds to one
_KINDS = frozenset(Stage)


@dataclass(frozen=True, slots=True)
class StageWork:
    """Equal pieces of one kind of work of a job, one after another.

    Attributes:
        kind: names the cost line and the worker's handler; one of `Stage`, or any other name.
        count: pieces.
        units: what one piece weighs on its cost line (text rows, thousands of pixels, ...); a step weighs its `shape`.
        shape: of a step, and of nothing else.
        later: (piece, shape) in rising order: from that piece on, steps weigh this in place of `shape`.

    Raises:
        TicketError: a number out of range, or a shape where none belongs.
    """

    kind: str
    count: int = 1
    units: float = 0.0
    shape: StepShape | None = None
    later: tuple[tuple[int, StepShape], ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str) or not 1 <= len(self.kind) <= 40 or not is_text(self.kind):
            raise TicketError(complaint("stage", repr(self.kind)[:80], "1 to 40 characters", "name the kind of work"))
        if self.kind in _KINDS:
            object.__setattr__(self, "kind", Stage(self.kind))
        _want_whole("pieces", self.count, 1, 10_000)
        if isinstance(self.units, bool) or not isinstance(self.units, int | float) or not 0 <= self.units <= MAX_UNITS:
            allowed = f"a number from 0 to {MAX_UNITS:,}"
            raise TicketError(complaint("units", repr(self.units)[:80], allowed, "correct the units"))
        if (self.kind == Stage.STEP) != (self.shape is not None):
            got = "no shape" if self.shape is None else "a shape"
            allowed = "one for steps and for nothing else"
            raise TicketError(complaint(f"stage {self.kind!r}", got, allowed, "correct the stage"))
        if self.later and self.shape is None:
            got = f"later shapes of {self.kind!r}"
            raise TicketError(complaint("stage", got, "those of steps", "correct the stage"))
        begins = 0
        for begin, _ in self.later:
            _want_whole("piece of a later shape", begin, begins + 1, self.count - 1)
            begins = begin
        for shape in () if self.shape is None else (self.shape, *(shape for _, shape in self.later)):
            _want_whole("rows", shape.rows, 1, MAX_ROWS)
            _want_whole("squares", shape.squares, 1, MAX_ROWS**2)
            _want_whole("adapter_rows", shape.adapter_rows, 0, MAX_ROWS**2)

    def shape_at(self, piece: int) -> StepShape | None:
        """Return the weight of a step, from 0; None: its pieces are no steps."""
        found = self.shape
        for begin, shape in self.later:
            found = shape if begin <= piece else found
        return found

    def parts(self, done: int) -> list[tuple[int, StepShape | None]]:
        """Return (how many, shape) of its pieces but for the first `done`: those that weigh the same together."""
        starts = [0, *(begin for begin, _ in self.later), self.count]
        counts = (stop - max(start, done) for start, stop in pairwise(starts))
        shapes = (self.shape, *(shape for _, shape in self.later))
        return [(count, shape) for count, shape in zip(counts, shapes, strict=True) if count > 0]


def drawing(
    shape: StepShape,
    steps: int,
    images: int = 1,
    *,
    pixels: int = 128 * 128,
    text_rows: int = 16,
    upscales: int = 0,
    later: tuple[tuple[int, StepShape], ...] = (),
) -> tuple[StageWork, ...]:
    """Return the stages of a job that draws.

    Args:
        shape: of a step.
        later: of steps further on, see `StageWork`.
        steps: model evaluations (a Heun step is two); 0: nothing is drawn anew, as of a start picture of strength 0.
        images: pictures to decode, one piece each.
        pixels: of one picture.
        text_rows: rows that encoding has to make, of text and of pictures.
        upscales: pieces after decoding; 0 for most jobs.

    Raises:
        TicketError: a number out of range.
    """
    _want_whole("steps", steps, 0, 10_000)
    _want_whole("images", images, 0, 10_000)
    _want_whole("pixels", pixels, 1, 2**32)
    _want_whole("text_rows", text_rows, 0, MAX_ROWS)
    _want_whole("upscales", upscales, 0, 10_000)
    stages = [StageWork(Stage.ENCODE, 1, text_rows)]
    stages += [StageWork(Stage.STEP, steps, shape=shape, later=later)] if steps else []
    stages += [StageWork(Stage.DECODE, images, pixels / 1000)] if images else []
    return tuple(stages + ([StageWork(Stage.UPSCALE, upscales, pixels / 1000)] if upscales else []))


@dataclass(frozen=True, slots=True)
class Ticket:
    """One job as the scheduler sees it.

    Attributes:
        job: its id, unique for ever.
        account: whose it is: fairness is among accounts.
        lane: what was asked for. A Turbo job may be served as Fast (`Admitted.lane`).
        stages: its work, in order; each kind once.
        max_running: at most so many started jobs of this account in the lanes that share this one's limit.

    Raises:
        UnknownLane: a lane that does not exist.
        TicketError: no stage, a kind twice, or a number out of range.
    """

    job: str
    account: str
    lane: Lane
    stages: tuple[StageWork, ...]
    max_running: int = 3

    def __post_init__(self) -> None:
        if not isinstance(self.lane, Lane):
            raise UnknownLane(complaint("lane", repr(self.lane), ", ".join(Lane), "choose one of these"))
        for name in ("job", "account"):
            value = getattr(self, name)
            if not isinstance(value, str) or not 1 <= len(value) <= 200 or not is_text(value):
                raise TicketError(complaint(name, repr(value)[:80], "1 to 200 characters", f"give the {name} an id"))
        kinds = [work.kind for work in self.stages]
        if not kinds or len(set(kinds)) != len(kinds):
            got = ", ".join(kinds) or "none"
            raise TicketError(complaint("stages", got, "one or more, each kind once", "correct the stages"))
        _want_whole("max_running", self.max_running, 1, 1_000_000)

    def stage(self, kind: str) -> StageWork | None:
        """Return its work of a kind, if it has any."""
        return next((work for work in self.stages if work.kind == kind), None)

    def count(self, kind: str) -> int:
        """Return how many pieces of a kind it has."""
        work = self.stage(kind)
        return 0 if work is None else work.count

    @property
    def shape(self) -> StepShape:
        """Weight of the first of its steps; nothing, if it takes none."""
        work = self.stage(Stage.STEP)
        return NOTHING if work is None or work.shape is None else work.shape


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """The next work of a worker: one stage of `jobs`, until `Scheduler.report`.

    Attributes:
        number: counts the plans of a scheduler.
        worker: the one that does it.
        stage: the kind of work. Only a plan of steps has more than one job.
        jobs: job ids; the first one leads, the others ride along.
        piece: which of the stage's pieces, from 0.
        predicted_ms: by the worker's cost model.
        lead: the lane that the leading job is served in.
        moved: jobs among `jobs` that were started on another worker, whose parked state must be brought here first.
    """

    number: int
    worker: str
    stage: str
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
    """The ways in which a job ends; every submitted job ends exactly once."""

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


def _want_whole(name: str, got: Any, low: int, high: int) -> None:
    if isinstance(got, bool) or not isinstance(got, int) or not low <= got <= high:
        allowed = f"a whole number from {low} to {high:,}"
        raise TicketError(complaint(name, repr(got)[:80], allowed, f"correct the {name}"))


def check_time(now: Any, last: float) -> float:
    """Return `now` as a float. Raise ClockError if it is no finite number or lies before `last`."""
    if isinstance(now, bool) or not isinstance(now, int | float) or not math.isfinite(now) or now < last:
        raise ClockError(complaint("clock", repr(now), f"a time from {last:.3f} ms on", "use a monotonic clock"))
    return float(now)
