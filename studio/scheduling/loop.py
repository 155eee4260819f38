"""The loop: the scheduler decides, workers do, and every accepted job ends exactly once."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from ...engine.errors import StateError
from ...engine.info import ModelInfo
from ...engine.spec import GenerationSpec
from ...engine.start import PictureForm
from ...errors import complaint
from ...scheduler.accounts import Accounts
from ...scheduler.admission import Admission, Info, Work
from ...scheduler.entries import LedgerEntry
from ...scheduler.errors import TicketError, UnknownAccount
from ...scheduler.policy import Policy
from ...scheduler.scheduler import Scheduler
from ...scheduler.tickets import Ended, Lane, StageWork
from ..errors import StudioClosed, ThreadUnavailable, WorkerLost
from ..job import Event, Job, JobState, OnEnd, OnEvent, OnPreview, OnProgress, UInt8, seconds_of
from ..threads import check_process, start_thread
from ..workers.client import WorkerClient
from . import at_exit
from .acceptance import Order, Terms, accept
from .billing import Billing
from .core import Core
from .metrics import Seen
from .snapshot import Snapshot, take
from .tickets import ticket_of


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
        references: Mapping[PictureForm, UInt8] | None = None,
        stages: Sequence[StageWork] = (),
    ) -> Job:
        """Accept a job. If this raises, there is no job.

        Args:
            job: its id; None: a new one.
            max_running: at most so many started jobs of the account; with accounts, its plan says.
            work: what it is on the price list; None: a grid (`pricing.work_of`).
            preview_every: solver steps between previews; 0: none. A preview costs a decoding.
            on_progress: called as (job, step, steps) when a solver step is done.
            on_preview: called as (job, step, pictures uint8 [images, height, width, 3]).
            on_event: called as (job, event) for every event but the first, previews and the last.
            restored: it was accepted before a restart: its plan is not asked again, and what was charged for it stays.
            references: the pictures that the spec refers to, by form (`references.pictures_of`).
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
        terms = Terms(
            account=account, lane=lane, max_running=max_running, preview_every=preview_every, on_progress=on_progress,
            on_preview=on_preview, on_end=on_end, on_event=on_event, references=references, restored=restored,
        )  # fmt: skip
        return self._accept([Order(spec, job, work, stages)], terms)[0]

    def submit_many(
        self,
        specs: Sequence[GenerationSpec],
        *,
        submit: str | None = None,
        jobs: Sequence[str] | None = None,
        works: Sequence[Work] | None = None,
        stages: Sequence[Sequence[StageWork]] | None = None,
        account: str = "local",
        lane: Lane | str = Lane.FAST,
        max_running: int = 3,
        preview_every: int = 0,
        on_progress: OnProgress | None = None,
        on_preview: OnPreview | None = None,
        on_end: OnEnd | None = None,
        on_event: OnEvent | None = None,
        references: Mapping[PictureForm, UInt8] | None = None,
    ) -> list[Job]:
        """Accept the jobs of one submit (a permutation, a repeat): all of them or, if this raises, none.

        They take one place among the account's jobs, however many they are, until the last of them has ended. They are
        run and settled one by one. After a restart each is taken back by `submit(restored=True)`; with `submit` in its
        work they share the place again.

        Args:
            specs: of the jobs, in this order.
            submit: the id of the submit, which is no job's; None: a new one.
            jobs, works, stages: of each; see `submit`. A work need not name the submit here.
            account, lane, max_running, preview_every, on_progress, on_preview, on_end, on_event, references: see
                `submit`; for all of them.

        Raises:
            TicketError: no spec at all, or another number of jobs, works or stages.
            Refused: also more jobs than the account's plan takes in one submit.
            SpecError, LimitError, UnknownLane, DuplicateJob, UnknownAccount, StudioClosed, WorkerLost: as `submit`.
        """
        for name, given in (("jobs", jobs), ("works", works), ("stages", stages)):
            if given is not None and len(given) != len(specs):
                raise TicketError(complaint(name, len(given), f"{len(specs)}, one for each spec", "give as many"))
        if not specs:
            raise TicketError(complaint("specs", "none", "at least one", "say what to make"))
        terms = Terms(
            account=account, lane=lane, max_running=max_running, preview_every=preview_every, on_progress=on_progress,
            on_preview=on_preview, on_end=on_end, on_event=on_event, references=references,
            submit=uuid.uuid4().hex if submit is None else submit,
        )  # fmt: skip
        none = [None] * len(specs)
        each = zip(specs, jobs or none, works or none, stages or [()] * len(specs), strict=True)
        return self._accept([Order(*order) for order in each], terms)

    def _accept(self, orders: Sequence[Order], terms: Terms) -> list[Job]:
        with self._mine():
            made = accept(self, self._core, orders, terms)
        self._core.wake()
        return made

    def quote(
        self, account: str, lane: Lane, specs: Mapping[str, GenerationSpec], works: Mapping[str, Work]
    ) -> Admission | None:
        """Return what `submit_many` would set aside, or raise what it would, for jobs by their ids; None where there
        are no accounts. This makes and charges nothing."""
        core = self._core
        with self._mine():
            for job, spec in specs.items():
                rows = core.pool.adapters.rows
                ticket_of(core.want_open(), spec, job=job, account=account, lane=lane, max_running=1, adapters=rows)
            return None if core.billing is None else core.billing.quote(works, account, lane)

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
