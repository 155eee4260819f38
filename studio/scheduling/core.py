"""The middle of the loop: it takes note of what workers answer, and gives every idle worker a plan.

There is no thread here. The thread that brings news (a client's, a user's) holds the lock and draws the consequences,
in some tens of microseconds. A thread of the loop's own would cost every step two changes of thread.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ...engine.info import ModelInfo
from ...scheduler.policy import Policy
from ...scheduler.scheduler import Scheduler
from ...scheduler.tickets import Ended, Final, Stage
from ...scheduler.workers import WorkerSpec
from ..errors import StudioClosed, StudioError, WorkerLost
from ..job import Event, JobState
from ..workers.client import WorkerClient
from ..workers.messages import Ack, Answer, Frames, Lost, Parked, Ran, Ready, Unfit
from .billing import Billing
from .callbacks import FEW, Callbacks
from .metrics import Metrics
from .worker_pool import RunningJob, WorkerPool, WorkerSlot

LOG = logging.getLogger("salon.studio")
SEATS = 64  # most started jobs of a worker


class Core:
    """Scheduler, workers and jobs. All but `start`, `hear` and `wake` are called with the lock held.

    Attributes:
        lock: guards everything here; it is never held while a user's code runs.
        info: what the workers' model is, once one is ready.
        billing: accounts, if there are any.
        over: why nothing more is accepted, if so.
        settled: set once a worker is ready, or all are gone.
        held: whether plans are withheld.
        metrics: counts of what was done so far.
    """

    def __init__(
        self,
        clients: Sequence[WorkerClient],
        policy: Policy | None,
        clock: Callable[[], float],
        billing: Billing | None = None,
    ) -> None:
        self.lock = threading.RLock()
        self.scheduler = Scheduler(policy or (billing.accounts.book.policy if billing is not None else Policy()))
        self.pool = WorkerPool(list(clients))
        self.callbacks = Callbacks()
        self.billing = billing
        self.info: ModelInfo | None = None
        self.over: StudioError | None = None
        self.held = False
        self.metrics = Metrics()
        self.settled = threading.Event()
        self._clock, self._last = clock, -math.inf

    def start(self) -> None:
        """Start the threads and the workers."""
        self.callbacks.start()
        for slot in self.pool.slots.values():
            slot.client.start(self.hear)

    def now(self) -> float:
        """Return the clock's time in ms; it never goes back."""
        now = self._clock()
        if now > self._last:
            self._last = now
        return self._last if math.isfinite(self._last) else 0.0

    def end(self, final: Final, *, kind: str = "") -> None:
        """End a job, once. The scheduler has let go of the job already, or never knew it."""
        entry = self.pool.entries.pop(final.job)
        self.pool.forget(entry)
        entry.job.lane = final.lane
        if self.billing is not None:
            entry.job.charged_ms = self.billing.settle(final)
            entry.job.left_open = self.billing.closed
        done = final.ended is Ended.DONE
        pictures, texts = (entry.pictures, entry.texts) if done else (None, ())
        if entry.job._ended(final.ended, final.reason, kind if final.ended is Ended.FAILED else "", pictures, texts):
            self.callbacks.call(entry.on_end, entry.job)

    def tell(self, entry: RunningJob, event: Event, state: JobState | None = None) -> None:
        """Tell an event of a job that has not ended."""
        entry.job._happened(event, state)
        newest = ("event", entry.job.id) if event.kind == "step" else None
        self.callbacks.call(entry.on_event, entry.job, event, newest=newest)

    def stop(self, error: StudioError, ended: Ended, reason: str) -> None:
        """Accept nothing more, and end all jobs. In the ledger those stay open that can be taken back."""
        if isinstance(error, StudioClosed) or self.over is None:
            self.over = error
        if not isinstance(error, StudioClosed) and self.billing is not None and self.billing.takes_back:
            self.billing.close()
        for name, entry in list(self.pool.entries.items()):
            self.end(Final(name, ended, entry.job.lane, reason), kind=type(error).__name__)
        self.settled.set()

    def want_open(self) -> ModelInfo:
        """Return the facts of the workers' model. Raise StudioError if nothing is accepted."""
        if self.over is not None:
            raise type(self.over)(str(self.over))
        if self.info is None:
            raise StudioClosed("the loop was not started; call start")
        return self.info

    # ---- what happens ----------------------------------------------------------------------------------------------

    def hear(self, name: str, answer: Answer, frames: Frames) -> None:
        """Take a client's notice.

        The client's thread does what follows from it, so that the next plan needs no other thread.
        """
        with self.lock, self._guarded():
            if self.over is None:
                self._hear(self.pool.slots[name], answer, frames)
                self._plan()

    def wake(self) -> None:
        """Look for work after a change."""
        with self.lock, self._guarded():
            self._plan()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # a bug, because of which no caller must wait for ever
            LOG.exception("the loop stops")
            reason = f"internal error: {type(error).__name__}: {error}"
            self.stop(StudioError(reason), Ended.FAILED, reason)

    def _plan(self) -> None:
        if self.over is not None or self.held:
            return
        for slot in self.pool.slots.values():
            if slot.idle and (plan := self.scheduler.plan(slot.client.name, self.now())) is not None:
                for name in plan.jobs:
                    entry = self.pool.entries[name]
                    if not entry.started:
                        entry.started = True
                        if self.billing is not None:
                            self.billing.started(name)
                        self.tell(entry, Event("started"), JobState.RUNNING)
                self.pool.dispatch(slot, plan)

    def _hear(self, slot: WorkerSlot, answer: Answer, frames: Frames) -> None:
        if isinstance(answer, Ran):
            for complaint in answer.complaints:
                LOG.warning("worker %r: %s", slot.client.name, complaint)
            self._ran(slot, answer, frames)
        elif isinstance(answer, Parked):
            if answer.complaint:
                LOG.warning("worker %r: %s", slot.client.name, answer.complaint)
            self.pool.parked(slot, answer)
        elif isinstance(answer, Ack):
            if answer.failure is not None:
                LOG.error("worker %r: %s", slot.client.name, answer.failure)
        elif isinstance(answer, Ready):
            self._ready(slot, answer)
        elif isinstance(answer, Lost):
            LOG.warning("%s", answer.reason)
            self._lost(slot, answer.reason, again=answer.again)
        elif isinstance(answer, Unfit):
            self._lost(slot, f"worker {slot.client.name!r}: {answer.failure}", again=False)

    def _ready(self, slot: WorkerSlot, answer: Ready) -> None:
        if self.info is None:
            self.info = answer.info
        elif self.info != answer.info:
            reason = f"worker {slot.client.name!r}: its model, backend or limits are not those of the others"
            LOG.error("%s", reason)
            slot.client.close(0.0)  # runs on the client's own thread, so this does not wait
            self._lost(slot, reason, again=False)
            return
        slot.life = answer.life
        limits = answer.info.limits
        seats = min(SEATS, limits.max_open)
        self.scheduler.add_worker(WorkerSpec(slot.client.name, answer.info.max_rows, seats, slot.cost), self.now())
        self.settled.set()

    def _lost(self, slot: WorkerSlot, reason: str, *, again: bool) -> None:
        slot.gone = not again
        self.pool.lost(slot)
        self.metrics.lost(slot.client.name)
        if slot.client.name in self.scheduler.workers:
            known = self.scheduler.workers[slot.client.name]
            slot.cost, orphans = known.cost, list(known.seats)
            for final in self.scheduler.lose_worker(slot.client.name, self.now()):
                self.end(final, kind="WorkerLost")
            for entry in [self.pool.entries[name] for name in orphans if name in self.pool.entries]:
                if entry.started:
                    entry.started = False
                    state = JobState.PAUSED if entry.job.state is JobState.PAUSED else JobState.QUEUED
                    self.tell(entry, Event("requeued", reason=reason), state)
        if all(other.gone for other in self.pool.slots.values()):
            self.stop(WorkerLost(f"no worker is left; {reason}"), Ended.FAILED, f"no worker is left; {reason}")

    def _ran(self, slot: WorkerSlot, answer: Ran, frames: Frames) -> None:
        plan = self.pool.ran(slot, answer)
        if plan is None:
            return
        rows = sum(self.scheduler.rows(name) for name in plan.jobs)
        self.metrics.ran(plan, answer, rows, self.scheduler.workers[plan.worker].spec.max_rows)
        for name, reading in answer.readings.items():
            entry = self.pool.entries[name]
            news = [note for note in reading.warnings if note not in entry.job.reading.warnings]
            entry.job.reading = reading
            for note in news:  # not again, where a lost worker's job is opened anew
                self.tell(entry, Event("note", entry.job.step, note))
        for name, progress in answer.progress.items():
            entry = self.pool.entries[name]
            if progress.step != entry.job.step:
                self.tell(entry, Event("step", progress.step))
                steps = entry.job.steps
                self.callbacks.call(entry.on_progress, entry.job, progress.step, steps, newest=("progress", name))
        for name, texts in answer.texts.items():
            self.pool.entries[name].texts = texts
        for array, frame in zip(answer.pictures, frames, strict=True):
            entry = self.pool.entries[array.name]
            if plan.stage is not Stage.STEP:
                entry.picture(array.index, array.read(frame))
            else:
                pictures, step = array.read(frame), answer.progress[array.name].step
                entry.job._previewed(pictures)
                self.callbacks.call(
                    entry.on_preview, entry.job, step, pictures, newest=("preview", array.name), many=FEW
                )
        failed = {name: str(failure) for name, failure in answer.failed.items()}
        broken = "" if answer.broken is None else str(answer.broken)
        kinds = {name: failure.kind for name, failure in answer.failed.items()}
        finals = self.scheduler.report(
            plan, answer.elapsed_ms, self.now(), failed=failed, broken=broken, preview_ms=answer.preview_ms
        )
        for final in finals:
            kind = kinds.get(final.job, answer.broken.kind if answer.broken is not None else "")
            self.end(final, kind=kind)
