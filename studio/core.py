"""The middle of the loop: what workers say is taken note of, and whoever is idle gets a plan.

There is no thread here. Whoever brings news (a port's thread, a user's) holds the lock and draws the consequences, some
tens of microseconds; a thread of its own would cost every step two changes of thread.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ..engine.info import ModelInfo
from ..scheduler.policy import Policy
from ..scheduler.scheduler import Scheduler
from ..scheduler.tickets import Ended, Final, Stage
from ..scheduler.workers import WorkerSpec
from .desk import Desk
from .errors import StudioClosed, StudioError, WorkerLost
from .fleet import Entry, Fleet, Slot
from .hooks import FEW, Hooks
from .job import Event, JobState
from .messages import Ack, Answer, Frames, Lost, Parked, Ran, Ready, Unfit
from .port import Port
from .tally import Tally

LOG = logging.getLogger("salon.studio")
SEATS = 64  # most started jobs of a worker


class Core:
    """Scheduler, workers and jobs. All but `start`, `hear` and `wake` are called with the lock held.

    Attributes:
        lock: of everything here; never held while a user's code runs.
        info: what the workers' model is, once one is ready.
        desk: accounts, if there are any.
        over: why nothing more is accepted, if so.
        settled: a worker is ready, or all are gone.
        held: no plan is made.
        tally: what was done so far.
    """

    def __init__(
        self, ports: Sequence[Port], policy: Policy | None, clock: Callable[[], float], desk: Desk | None = None
    ) -> None:
        self.lock = threading.RLock()
        self.scheduler = Scheduler(policy or (desk.accounts.book.policy if desk is not None else Policy()))
        self.fleet = Fleet(list(ports))
        self.hooks = Hooks()
        self.desk = desk
        self.info: ModelInfo | None = None
        self.over: StudioError | None = None
        self.held = False
        self.tally = Tally()
        self.settled = threading.Event()
        self._clock, self._last = clock, -math.inf

    def start(self) -> None:
        """Start the threads and the workers."""
        self.hooks.start()
        for slot in self.fleet.slots.values():
            slot.port.start(self.hear)

    def now(self) -> float:
        """The clock in ms; it never goes back."""
        now = self._clock()
        if now > self._last:
            self._last = now
        return self._last if math.isfinite(self._last) else 0.0

    def end(self, final: Final, *, kind: str = "") -> None:
        """The one end of a job, of which the scheduler knows already (or never will)."""
        entry = self.fleet.entries.pop(final.job)
        self.fleet.forget(entry)
        entry.job.lane = final.lane
        if self.desk is not None:
            entry.job.charged_ms = self.desk.settle(final)
            entry.job.left_open = self.desk.closed
        pictures = entry.pictures if final.ended is Ended.DONE else None
        if entry.job._ended(final.ended, final.reason, kind if final.ended is Ended.FAILED else "", pictures):
            self.hooks.call(entry.on_end, entry.job)

    def tell(self, entry: Entry, event: Event, state: JobState | None = None) -> None:
        """Something happened to a job that has not ended."""
        entry.job._happened(event, state)
        newest = ("event", entry.job.id) if event.kind == "step" else None
        self.hooks.call(entry.on_event, entry.job, event, newest=newest)

    def stop(self, error: StudioError, ended: Ended, reason: str) -> None:
        """Accept nothing more, and end everything; in the ledger nothing ends that can be taken back."""
        if isinstance(error, StudioClosed) or self.over is None:
            self.over = error
        if not isinstance(error, StudioClosed) and self.desk is not None and self.desk.takes_back:
            self.desk.close()
        for name, entry in list(self.fleet.entries.items()):
            self.end(Final(name, ended, entry.job.lane, reason), kind=type(error).__name__)
        self.settled.set()

    def want_open(self) -> ModelInfo:
        """What the workers' model is; StudioError if nothing is accepted."""
        if self.over is not None:
            raise type(self.over)(str(self.over))
        if self.info is None:
            raise StudioClosed("the loop was not started; call start")
        return self.info

    # ---- what happens ----------------------------------------------------------------------------------------------

    def hear(self, name: str, answer: Answer, frames: Frames) -> None:
        """A port's notice. Its thread does what follows from it, so that the next plan needs no other thread."""
        with self.lock, self._guarded():
            if self.over is None:
                self._hear(self.fleet.slots[name], answer, frames)
                self._plan()

    def wake(self) -> None:
        """Something changed: look for work."""
        with self.lock, self._guarded():
            self._plan()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # a bug; nobody shall wait for ever because of it
            LOG.exception("the loop stops")
            reason = f"internal error: {type(error).__name__}: {error}"
            self.stop(StudioError(reason), Ended.FAILED, reason)

    def _plan(self) -> None:
        if self.over is not None or self.held:
            return
        for slot in self.fleet.slots.values():
            if slot.idle and (plan := self.scheduler.plan(slot.port.name, self.now())) is not None:
                for name in plan.jobs:
                    entry = self.fleet.entries[name]
                    if not entry.started:
                        entry.started = True
                        if self.desk is not None:
                            self.desk.started(name)
                        self.tell(entry, Event("started"), JobState.RUNNING)
                self.fleet.dispatch(slot, plan)

    def _hear(self, slot: Slot, answer: Answer, frames: Frames) -> None:
        if isinstance(answer, Ran):
            for complaint in answer.complaints:
                LOG.warning("worker %r: %s", slot.port.name, complaint)
            self._ran(slot, answer, frames)
        elif isinstance(answer, Parked):
            if answer.complaint:
                LOG.warning("worker %r: %s", slot.port.name, answer.complaint)
            self.fleet.parked(slot, answer)
        elif isinstance(answer, Ack):
            if answer.failure is not None:
                LOG.error("worker %r: %s", slot.port.name, answer.failure)
        elif isinstance(answer, Ready):
            self._ready(slot, answer)
        elif isinstance(answer, Lost):
            LOG.warning("%s", answer.reason)
            self._lost(slot, answer.reason, again=answer.again)
        elif isinstance(answer, Unfit):
            self._lost(slot, f"worker {slot.port.name!r}: {answer.failure}", again=False)

    def _ready(self, slot: Slot, answer: Ready) -> None:
        if self.info is None:
            self.info = answer.info
        elif self.info != answer.info:
            reason = f"worker {slot.port.name!r}: its model, backend or limits are not those of the others"
            LOG.error("%s", reason)
            slot.port.close(0.0)  # on its own thread, which therefore is not waited for
            self._lost(slot, reason, again=False)
            return
        slot.life = answer.life
        limits = answer.info.limits
        seats = min(SEATS, limits.max_open)
        self.scheduler.add_worker(WorkerSpec(slot.port.name, answer.info.max_rows, seats, slot.cost), self.now())
        self.settled.set()

    def _lost(self, slot: Slot, reason: str, *, again: bool) -> None:
        slot.gone = not again
        self.fleet.lost(slot)
        self.tally.lost(slot.port.name)
        if slot.port.name in self.scheduler.workers:
            known = self.scheduler.workers[slot.port.name]
            slot.cost, orphans = known.cost, list(known.seats)
            for final in self.scheduler.lose_worker(slot.port.name, self.now()):
                self.end(final, kind="WorkerLost")
            for entry in [self.fleet.entries[name] for name in orphans if name in self.fleet.entries]:
                if entry.started:
                    entry.started = False
                    state = JobState.PAUSED if entry.job.state is JobState.PAUSED else JobState.QUEUED
                    self.tell(entry, Event("requeued", reason=reason), state)
        if all(other.gone for other in self.fleet.slots.values()):
            self.stop(WorkerLost(f"no worker is left; {reason}"), Ended.FAILED, f"no worker is left; {reason}")

    def _ran(self, slot: Slot, answer: Ran, frames: Frames) -> None:
        plan = self.fleet.ran(slot, answer)
        if plan is None:
            return
        rows = sum(self.scheduler.rows(name) for name in plan.jobs)
        self.tally.ran(plan, answer, rows, self.scheduler.workers[plan.worker].spec.max_rows)
        for name, reading in answer.readings.items():
            self.fleet.entries[name].job.reading = reading
        for name, progress in answer.progress.items():
            entry = self.fleet.entries[name]
            if progress.step != entry.job.step:
                self.tell(entry, Event("step", progress.step))
                steps = entry.job.spec.steps
                self.hooks.call(entry.on_progress, entry.job, progress.step, steps, newest=("progress", name))
        for array, frame in zip(answer.pictures, frames, strict=True):
            entry = self.fleet.entries[array.name]
            if plan.stage is not Stage.STEP:
                entry.picture(array.index, array.read(frame))
            else:
                pictures, step = array.read(frame), answer.progress[array.name].step
                entry.job._previewed(pictures)
                self.hooks.call(entry.on_preview, entry.job, step, pictures, newest=("preview", array.name), many=FEW)
        failed = {name: str(failure) for name, failure in answer.failed.items()}
        broken = "" if answer.broken is None else str(answer.broken)
        kinds = {name: failure.kind for name, failure in answer.failed.items()}
        finals = self.scheduler.report(
            plan, answer.elapsed_ms, self.now(), failed=failed, broken=broken, preview_ms=answer.preview_ms
        )
        for final in finals:
            kind = kinds.get(final.job, answer.broken.kind if answer.broken is not None else "")
            self.end(final, kind=kind)
