"""The loop: the scheduler decides, workers do, and every accepted job ends exactly once."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from ...bounds import MAX_PREVIEW_EVERY
from ...engine.errors import SpecError, StateError
from ...engine.info import ModelInfo
from ...engine.spec import GenerationSpec
from ...errors import complaint
from ...scheduler.accounts import Accounts
from ...scheduler.admission import Info, Work
from ...scheduler.entries import LedgerEntry
from ...scheduler.errors import DuplicateJob, UnknownAccount, UnknownLane
from ...scheduler.policy import Policy
from ...scheduler.scheduler import Scheduler
from ...scheduler.tickets import Ended, Lane, StageWork
from ...values import shown, text_of, whole_of
from ..errors import StudioClosed, ThreadUnavailable, WorkerLost
from ..job import Event, Job, JobState, OnEnd, OnEvent, OnPreview, OnProgress, UInt8, seconds_of
from ..resources import needed
from ..threads import check_process, start_thread
from ..workers.client import WorkerClient
from . import at_exit
from .billing import Billing
from .core import Core
from .metrics import Seen
from .snapshot import Snapshot, take
from .tickets import ticket_of
from .worker_pool import RunningJob


def monotonic_ms() -> float:
    """Return the default clock's time, ms."""
    return 1e3 * time.monotonic()


class Loop:
    """A scheduler and its workers. It may be used on any thread.

    Args:
        clients: the workers; they must make the same pictures.
        policy: the scheduler's numbers; None: those of the plans file of `accounts`, or the defaults.
        clock: ms; one that goes back is held.
        start_timeout_s: how long `start` waits for the first worker.
        accounts: the accounts that may submit jobs, with plans and time; None: everything is allowed, and free.

    Every method refuses a time to wait that is no number of seconds from 0, with WrongTimeout, before it does anything.
    """

    def __init__(
        self,
        clients: Sequence[WorkerClient],
        *,
        policy: Policy | None = None,
        clock: Callable[[], float] = monotonic_ms,
        start_timeout_s: float = 300.0,
        accounts: Billing | None = None,
    ) -> None:
        self._start_timeout_s = seconds_of(start_timeout_s, "start_timeout_s")
        self._core = Core(clients, policy, clock, accounts)
        self._pid = os.getpid()

    def start(self) -> Loop:
        """Start the workers, and wait for the first one.

        Raises:
            WorkerLost: none comes to life.
            ThreadUnavailable: the system gives too few threads; nothing of the loop is left running.
        """
        core = self._core
        at_exit.watch(core)
        try:
            core.start()
        except BaseException:
            self.close()
            raise
        in_time = core.settled.wait(self._start_timeout_s)
        if core.over is not None or not in_time:
            reason = f"no worker was ready within {self._start_timeout_s:g} s; look at its log"
            error = core.over or WorkerLost(reason)
            self.close()
            raise error
        return self

    def __enter__(self) -> Loop:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def model(self) -> ModelInfo:
        """The facts of the workers' model."""
        assert self._core.info is not None, "the loop was not started"
        return self._core.info

    @property
    def scheduler(self) -> Scheduler:
        """The scheduler, for reading figures of workers and queues."""
        return self._core.scheduler

    # ---- jobs ------------------------------------------------------------------------------------------------------

    def submit(
        self,
        spec: GenerationSpec,
        *,
        account: str = "local",
        lane: Lane | str = Lane.FAST,
        job: str | None = None,
        max_running: int = 3,
        work: Work | None = None,
        preview_every: int = 0,
        on_progress: OnProgress | None = None,
        on_preview: OnPreview | None = None,
        on_end: OnEnd | None = None,
        on_event: OnEvent | None = None,
        restored: bool = False,
        references: Mapping[str, UInt8] | None = None,
        stages: Sequence[StageWork] = (),
    ) -> Job:
        """Accept a job. If this raises, there is no job.

        Args:
            job: its id; None: a new one.
            max_running: at most so many started jobs of the account; with accounts, its plan says.
            work: what it is on the price list; None: a grid of `spec.images` images.
            preview_every: solver steps between previews; 0: none. A preview costs a decoding.
            on_progress: called as (job, step, steps) when a solver step is done.
            on_preview: called as (job, step, pictures uint8 [images, height, width, 3]).
            on_event: called as (job, event) for every event but the first, previews and the last.
            restored: it was accepted before a restart: its plan is not asked again, and what was charged for it stays.
            references: the pictures that the spec refers to, by digest: uint8 [height, width, 3] (`ReferencePicture`).
            stages: what it does besides drawing, after it; each has a handler in the workers.
            on_end: called as (job) after its final event. Callbacks run one after another on a thread of their own; one
                that raises is logged. Where they are so slow that many calls wait, steps and previews that are out of
                date are passed over.

        Raises:
            SpecError, LimitError: the engine would refuse it.
            UnknownLane, TicketError, DuplicateJob: see the scheduler.
            UnknownAccount, Refused: the account's plan does not allow it, or its time does not last.
            StudioClosed, WorkerLost: no worker is left to do it.
        """
        if not isinstance(spec, GenerationSpec):
            raise SpecError(complaint("spec", type(spec).__name__, "a GenerationSpec", "make one with make_spec"))
        every = whole_of(preview_every)
        if every is None or not 0 <= every <= MAX_PREVIEW_EVERY:
            allowed = f"a whole number from 0 to {MAX_PREVIEW_EVERY}"
            raise SpecError(complaint("preview_every", shown(preview_every), allowed, "correct it"))
        running = whole_of(max_running)
        max_running = max_running if running is None else running  # the ticket refuses what is no number
        if lane not in list(Lane):
            raise UnknownLane(complaint("lane", repr(lane), ", ".join(Lane), "choose one of these"))
        # a worker process gets plain text, not a value of a derived class
        name = uuid.uuid4().hex if job is None else text_of(job) or job
        account = text_of(account) or account  # and so is the billing
        core = self._core
        with self._mine():
            ticket = ticket_of(
                core.want_open(),
                spec,
                job=name,
                account=account,
                lane=Lane(lane),
                max_running=max_running,
                adapters=core.pool.adapters.rows,
                further=stages,
            )
            pictures = needed(spec, references or {}, core.want_open())
            if name in core.pool.entries:
                raise DuplicateJob(complaint("job", repr(name), "an id that is not in use", "give it a new id"))
            if core.billing is not None:
                admit = core.billing.readmit if restored else core.billing.admit
                max_running = admit(name, account, ticket.lane, spec, work)
            try:
                if core.billing is not None:
                    ticket = replace(ticket, max_running=max_running)
                    if core.billing.renewed(account):
                        core.scheduler.set_relax_use(account, 0.0)
                admitted = core.scheduler.submit(ticket, core.now())
            except BaseException:
                if core.billing is not None:
                    core.billing.withdraw(name, ticket.lane)
                raise
            handle = Job(name, spec, account, admitted.lane, admitted.reason, self)
            entry = RunningJob(handle, every, on_progress, on_preview, on_end, on_event, references=pictures)
            core.pool.entries[name] = entry
            handle._happened(Event("queued", reason=admitted.reason))
        core.wake()
        return handle

    def cancel(self, job: str) -> bool:
        """See `Job.cancel`."""
        core = self._core
        with self._mine():
            if job not in core.pool.entries:
                return False
            final = core.scheduler.cancel(job, core.now())
            if final is not None:
                core.end(final)
        core.wake()
        return True

    def pause(self, job: str) -> bool:
        """See `Job.pause`."""
        core = self._core
        with self._mine():
            entry = core.pool.entries.get(job)
            if entry is None:
                return False
            if entry.job.state is not JobState.PAUSED:
                core.scheduler.pause(job, core.now())
                core.tell(entry, Event("paused", entry.job.step), JobState.PAUSED)
        return True

    def resume(self, job: str) -> bool:
        """See `Job.resume`."""
        core = self._core
        with self._mine():
            entry = core.pool.entries.get(job)
            if entry is None:
                return False
            if entry.job.state is JobState.PAUSED:
                admitted = core.scheduler.resume(job, core.now())
                entry.job.lane, entry.job.note = admitted.lane, admitted.reason or entry.job.note
                state = JobState.RUNNING if entry.started else JobState.QUEUED
                core.tell(entry, Event("resumed", entry.job.step, admitted.reason), state)
        core.wake()
        return True

    def info(self, account: str) -> Info:
        """Return the account's plan, time left, running and queued jobs.

        Raise UnknownAccount if it does not exist, or if there are no accounts.
        """
        with self._mine():
            if self._core.billing is None:
                raise UnknownAccount(complaint("account", repr(account), "none (there are no accounts)", "open some"))
            return self._core.billing.info(account)

    def hold(self) -> None:
        """Make no further plan until `release`. Jobs are still accepted, and running plans are finished."""
        with self._mine():
            self._core.held = True

    def release(self) -> None:
        """Go on after `hold`."""
        with self._mine():
            self._core.held = False
        self._core.wake()

    def watch_plans(self, seen: Seen) -> None:
        """Set `Metrics.seen`, which is called under the loop's lock."""
        with self._mine():
            self._core.metrics.seen = seen

    def snapshot(self) -> Snapshot:
        """Return queues, workers and what was done so far."""
        with self._mine():
            return take(self._core)

    def accounts(self, act: Callable[[Accounts, int], tuple[LedgerEntry, ...]]) -> None:
        """Do an operation on the accounts, given the time (UTC ms), alone, and keep the ledger entries that it returns.

        Raises as `Billing.do`; UnknownAccount where there are no accounts."""
        with self._mine():
            if self._core.billing is None:
                raise UnknownAccount(complaint("accounts", "a change", "none (there are no accounts)", "open some"))
            self._core.billing.do(act)

    # ---- adapters --------------------------------------------------------------------------------------------------

    def add_branch(self, weights: Mapping[str, NDArray[Any]], name: str = "default") -> None:
        """Keep an adapter branch, for `register_adapter`; see `Engine.add_branch` for its layout.

        Workers get it with the first job that needs it. The same again changes nothing.

        Raises:
            SpecError: no name, or no arrays of numbers.
            CheckpointError: its names or shapes are those of another model.
            StateError: the name belongs to other weights.
        """
        with self._mine():
            self._core.pool.adapters.add_branch(name, weights, self._core.want_open())

    def register_adapter(self, name: str, tokens: NDArray[Any], *, branch: str = "default") -> None:
        """Keep an adapter: its tokens float32 [n, token width], for a branch.

        The branch was added before, or is "style", the branch of the model's own style adapter. Workers get the adapter
        with the first job that needs it. Registering the same again changes nothing.

        Raises:
            SpecError: no name, no such branch, or wrong tokens.
            StateError: the name belongs to other tokens.
            LimitError: too many adapters.
        """
        with self._mine():
            self._core.pool.adapters.add_adapter(name, tokens, branch, self._core.want_open())

    def forget_adapter(self, name: str) -> None:
        """Forget an adapter, here and on all workers.

        Raises:
            SpecError: there is none of this name.
            StateError: a job that has not ended uses it.
        """
        core = self._core
        with self._mine():
            for entry in core.pool.entries.values():
                if any(name in (use.adapter, use.unconditional) for use in entry.job.spec.adapters):
                    remedy = "wait for those jobs, or cancel them"
                    raise StateError(complaint(f"adapter {name!r}", "forget", "no open job that uses it", remedy))
            core.pool.forget_adapter(name)

    # ---- the process -----------------------------------------------------------------------------------------------

    @contextmanager
    def _mine(self) -> Iterator[None]:
        """Hold the lock.

        Raise StudioClosed in a forked child, which has neither threads nor workers, and where the lock may never be
        free.
        """
        check_process(self._pid)
        with self._core.lock:
            yield

    # ---- the end ---------------------------------------------------------------------------------------------------

    def close(self, timeout_s: float = 10.0, *, leave_open: bool = False) -> None:
        """End all jobs as cancelled and all workers, within about `timeout_s` seconds.

        A second call changes nothing. Nor does a call in a forked child: jobs and workers are the parent's.

        `leave_open`: in the ledger the jobs stay open, to be taken back with `submit(restored=True)` after a restart.
        """
        if os.getpid() != self._pid:
            return
        timeout_s = seconds_of(timeout_s)
        end = time.monotonic() + timeout_s
        with self._mine():
            if leave_open and self._core.billing is not None:
                self._core.billing.close()
            self._core.stop(StudioClosed("the studio is closed; open a new one"), Ended.CANCELLED, "studio closed")
            if self._core.billing is not None:
                self._core.billing.flush()
        closers = []
        for slot in self._core.pool.slots.values():
            try:
                closers.append(start_thread(slot.client.close, timeout_s, name=f"salon-close-{slot.client.name}"))
            except ThreadUnavailable:
                slot.client.close(max(0.1, end - time.monotonic()))
        for closer in closers:
            closer.join(max(0.1, end - time.monotonic()))
        self._core.callbacks.close(max(0.1, end - time.monotonic()))
        at_exit.forget(self._core)
