"""The scheduler: which jobs take the next step together, on which worker.

Pure: no arrays, no sockets, no clock, no randomness. Every call takes the time; what it raises leaves it as it was.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from ..errors import complaint
from .choice import Chooser
from .cost import WorkerCost
from .errors import DuplicateJob, SchedulerError, UnknownJob, UnknownWorker
from .fair import FairQueue
from .jobs import Job
from .policy import Policy
from .tickets import Admitted, BatchPlan, Ended, Final, Lane, Stage, StepShape, Ticket, check_time
from .workers import Worker, WorkerSpec

MEAN_OF = 16  # Turbo jobs over which the typical one is averaged
TURBO_CHOICES = 64  # workers with Turbo capacity among which the first to be free is taken


class Scheduler:
    """Lanes, fairness and batches over any number of workers. One thread drives it.

    A worker has at most one plan outstanding: `plan`, do it, `report`. Promises and proofs: docs/lanes.md.

    Args:
        policy: the numbers.
    """

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self._prompt: FairQueue[Job] = FairQueue(ageing=0.0, catch_up=True)
        self._relax: FairQueue[Job] = FairQueue(ageing=self.policy.relax_ageing, catch_up=False)
        self._workers: dict[str, Worker] = {}
        self._jobs: dict[str, Job] = {}
        self._spare: dict[str, None] = {}  # workers with two or more seated jobs: an idle one may take one over
        self._no_turbo: dict[str, None] = {}  # workers without a Turbo job
        self._idle: dict[str, None] = {}  # workers that had nothing to do when last asked
        self._started = 0
        self._now = -math.inf
        self._seq = self._plans = 0
        self._turbo_ms = 0.0  # what a Turbo job takes alone, lately
        self._turbo_seen = -math.inf  # when the last one came

    # ---- workers ---------------------------------------------------------------------------------------------------

    def add_worker(self, spec: WorkerSpec, now: float) -> None:
        """Add a worker, which takes plans from now on. Raises SchedulerError if its name is taken, and ClockError."""
        if spec.name in self._workers:
            raise SchedulerError(complaint("worker", repr(spec.name), "a new name", "lose the old one first"))
        self._tick(now)
        self._workers[spec.name] = Worker(spec)
        self._no_turbo[spec.name] = self._idle[spec.name] = None

    def lose_worker(self, name: str, now: float) -> list[Final]:
        """Remove a worker that is gone. Its jobs start again elsewhere; one under which too many workers died fails.

        Raises UnknownWorker, ClockError."""
        worker = self._worker(name)
        self._tick(now)
        jobs = list(worker.seats.values())
        for job in jobs:
            self._unseat(worker, job)
        del self._workers[name]
        self._no_turbo.pop(name, None)
        self._idle.pop(name, None)
        finals = []
        for job in jobs:
            job.restart()
            if job.cancelled:
                finals.append(self._end(job, Ended.CANCELLED, "cancelled"))
            elif job.losses > self.policy.max_losses:
                finals.append(self._end(job, Ended.FAILED, f"{job.losses} workers died while they worked on it"))
            else:
                job.price(self._cost())
                self._place(job)
        return finals

    @property
    def workers(self) -> Mapping[str, Worker]:
        """All workers by name, for reading only."""
        return MappingProxyType(self._workers)

    # ---- jobs ------------------------------------------------------------------------------------------------------

    def submit(self, ticket: Ticket, now: float) -> Admitted:
        """Take a job. A Turbo job that finds no Turbo capacity is served, and charged, as Fast.

        Raises DuplicateJob, ClockError."""
        if ticket.job in self._jobs:
            raise DuplicateJob(complaint("job", repr(ticket.job), "an id that is not in use", "give it a new id"))
        now = self._tick(now)
        self._seq += 1
        job = Job(ticket, self._seq, now, self.policy.ageing, self._cost())
        self._jobs[ticket.job] = job
        reason = ""
        job.state = self._queue(job).enter(job)
        if job.lane is Lane.TURBO:
            self._turbo_seen = now
            self._turbo_ms += (job.left_ms - self._turbo_ms) / (MEAN_OF if self._turbo_ms else 1)
        if (reason := self._place(job)) and job.lane is not ticket.lane:
            return Admitted(ticket.job, job.lane, reason)
        return Admitted(ticket.job, job.lane)

    def cancel(self, job: str, now: float) -> Final | None:
        """End exactly this job. Return None if it is in a plan just now: then its `Final` comes with the report.

        Raises UnknownJob, ClockError."""
        found = self._job(job)
        self._tick(now)
        if found.planned:
            found.cancelled = True
            return None
        return self._end(found, Ended.CANCELLED, "cancelled")

    def pause(self, job: str, now: float) -> None:
        """Take no further unit of a job until `resume`.

        The job keeps its seat and its slack. It gives up a worker's one place for Turbo: others need not wait for it.
        Raises UnknownJob, ClockError.
        """
        found = self._job(job)
        self._tick(now)
        if not found.paused:
            found.paused = True
            if found.queued:
                self._queue(found).remove(found)
            elif found.worker is not None and (worker := self._workers[found.worker]).turbo is found:
                found.slack = worker.slack
                worker.turbo, self._no_turbo[found.worker] = None, None

    def resume(self, job: str, now: float) -> Admitted:
        """Go on with a paused job. A Turbo job whose place is taken meanwhile is served, and charged, as Fast.

        Raises UnknownJob, ClockError."""
        found = self._job(job)
        self._tick(now)
        reason = ""
        if found.paused:
            found.paused = False
            if found.worker is None:
                reason = self._place(found)
            elif found.lane is Lane.TURBO:
                worker = self._workers[found.worker]
                if self._has_turbo_time(worker):
                    self._give_turbo(worker, found)
                else:
                    found.lane, reason = Lane.FAST, "its Turbo capacity was taken meanwhile; served and charged as Fast"
        return Admitted(job, found.lane, reason)

    # ---- work ------------------------------------------------------------------------------------------------------

    def plan(self, worker: str, now: float) -> BatchPlan | None:
        """Return the next plan of a worker; None if there is nothing to do until something changes.

        Raises UnknownWorker, ClockError; SchedulerError while its last plan is not reported."""
        w = self._worker(worker)
        if w.plan is not None:
            raise SchedulerError(complaint("plan", f"{worker!r} with plan {w.plan.number}", "an idle one", "report it"))
        now = self._tick(now)
        newcomers = self._may_start(w, now)
        cap = self.policy.max_step_ms
        if now - self._turbo_seen <= self.policy.window_ms:
            cap = min(cap, self.policy.turbo_wait * self._turbo_ms)
        cap = max(cap, self.policy.max_floors * w.cost.step.floor_ms)
        jobs = Chooser(self.policy, w, self._prompt, self._relax, newcomers, cap).choose()
        moved: tuple[str, ...] = ()
        if not jobs and (other := self._take_over(w)) is not None:
            jobs, moved = [other], (other.ticket.job,)
        if not jobs:
            self._idle[worker] = None
            return None
        self._idle.pop(worker, None)
        lead = jobs[0]
        for job in jobs:
            if job.worker is None:
                self._seat(w, job)
            job.planned = True
            if job is not w.turbo:
                self._queue(job).charge(job.account, job.unit)
        self._plans += 1
        shape = _total(jobs)
        predicted = w.cost.step.predict(shape) if lead.stage is Stage.STEP else lead.unit
        ids = tuple(job.ticket.job for job in jobs)
        w.plan = BatchPlan(self._plans, worker, lead.stage, ids, lead.done, predicted, lead.lane, moved)
        w.plan_end = now + predicted
        return w.plan

    def report(
        self,
        plan: BatchPlan,
        elapsed_ms: float,
        now: float,
        *,
        failed: Mapping[str, str] | None = None,
        broken: str = "",
        preview_ms: Mapping[str, float] | None = None,
    ) -> list[Final]:
        """Take the result of a plan that was carried out.

        Args:
            elapsed_ms: how long it took, but for previews.
            preview_ms: how long the previews of its jobs took, after it.
            failed: jobs that failed alone, with the reason; the others advanced.
            broken: why the plan as a whole failed; no job advanced. Its only job fails; of several each is tried alone.

        Returns:
            The final answers that follow.

        Raises:
            SchedulerError: not the worker's outstanding plan, or an elapsed time that is no time.
            UnknownWorker, ClockError.
        """
        w = self._worker(plan.worker)
        if w.plan is None or w.plan.number != plan.number:
            raise SchedulerError(complaint("report", f"plan {plan.number}", "the outstanding plan", "report it once"))
        previews = preview_ms or {}
        for took in (elapsed_ms, *previews.values()):
            if not math.isfinite(took) or took < 0:
                raise SchedulerError(complaint("elapsed_ms", took, "a time from 0", "measure it again"))
        now = self._tick(now)
        failed = failed or {}
        jobs = [self._jobs[name] for name in plan.jobs]
        if not failed and not broken and elapsed_ms > 0:
            w.cost.observe(jobs[0].next, elapsed_ms, _total(jobs))
        self._book(w, plan, jobs, elapsed_ms, previews, now)
        w.plan = None
        finals = []
        for job in jobs:
            job.planned = False
            if (name := job.ticket.job) in failed:
                finals.append(self._end(job, Ended.FAILED, failed[name]))
            elif broken and len(jobs) == 1:
                finals.append(self._end(job, Ended.FAILED, broken))
            elif broken:
                job.alone = True
                if job.cancelled:
                    finals.append(self._end(job, Ended.CANCELLED, "cancelled"))
            else:
                ended = job.advance(w.cost)
                if job.alone and job.units_seen >= job.cautious:
                    self._proved(w, job)
                if ended or job.cancelled:
                    reason = "" if ended else "cancelled"
                    finals.append(self._end(job, Ended.DONE if ended else Ended.CANCELLED, reason))
        if broken and len(jobs) > 1:
            w.suspects = (_total(jobs).rows, {job.ticket.job for job in jobs})
        return finals

    # ---- figures ---------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether any job is left."""
        return bool(self._jobs)

    @property
    def num_started(self) -> int:
        return self._started

    @property
    def num_plans(self) -> int:
        """Plans made so far."""
        return self._plans

    @property
    def num_queued(self) -> int:
        """Jobs that wait to be started, paused ones aside."""
        return self._prompt.num_waiting + self._relax.num_waiting

    def rows(self, job: str) -> int:
        """Return the rows of a step of a job, 0 for one without steps. Raise UnknownJob if the job is not known."""
        return self._job(job).shape.rows

    def service(self, account: str, *, relax: bool = False) -> float:
        """Return the ms of work done for an account in the class of Fast and Draft (0 for one that may be forgotten),
        or of Relax (its use in this period)."""
        queue = self._relax if relax else self._prompt
        return queue.accounts[account].service if account in queue.accounts else 0.0

    def set_relax_use(self, account: str, ms: float) -> None:
        """Set the Relax use in the billing period: at the start, and to 0 at the monthly renewal."""
        state = self._relax.account(account)
        self._relax.charge(account, ms - state.service)

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _tick(self, now: float) -> float:
        self._now = check_time(now, self._now)
        return self._now

    def _worker(self, name: str) -> Worker:
        if name not in self._workers:
            known = ", ".join(list(self._workers)[:8]) or "none"
            raise UnknownWorker(complaint("worker", repr(name), known, "add it first"))
        return self._workers[name]

    def _job(self, job: str) -> Job:
        if job not in self._jobs:
            raise UnknownJob(complaint("job", repr(job), "one that has not ended", "submit it first"))
        return self._jobs[job]

    def _queue(self, job: Job) -> FairQueue[Job]:
        return self._relax if job.is_relax else self._prompt

    def _cost(self) -> WorkerCost:
        for worker in self._workers.values():
            return worker.cost
        return WorkerCost()

    def _place(self, job: Job) -> str:
        """Give a new, restarted or resumed job its place; a paused job gets none yet.

        Return why a Turbo job is not served as one, or nothing.
        """
        reason = ""
        if job.paused:
            return reason
        if job.lane is Lane.TURBO:
            worker, reason = self._turbo_worker(job)
            if worker is not None:
                job.slack = 0.0
                self._give_turbo(worker, job)
                self._idle.pop(worker.spec.name, None)
                self._seat(worker, job)
                return ""
            job.lane = Lane.FAST
        self._queue(job).push(job)
        return reason

    def _give_turbo(self, worker: Worker, job: Job) -> None:
        """Have a worker serve a job as Turbo, from now on."""
        worker.turbo, worker.slack = job, job.slack
        del self._no_turbo[worker.spec.name]

    def _turbo_worker(self, job: Job) -> tuple[Worker | None, str]:
        account = self._prompt.accounts[job.account]
        if account.running >= account.limit:
            return None, f"{account.running} jobs of this account run already; served and charged as Fast"
        for name in self._idle:
            if self._takes_turbo(w := self._workers[name]):
                return w, ""
        best: Worker | None = None
        looked = 0
        for name in tuple(self._no_turbo):
            w = self._workers[name]
            if not self._takes_turbo(w):
                self._no_turbo[name] = self._no_turbo.pop(name)  # to the end: look at the others first next time
                continue
            if best is None or (w.free_at(self._now), len(w.seats)) < (best.free_at(self._now), len(best.seats)):
                best = w
            looked += 1
            if looked == TURBO_CHOICES:
                break
        return best, "" if best else "no Turbo capacity is free; served and charged as Fast"

    def _takes_turbo(self, w: Worker) -> bool:
        """Return whether a worker has Turbo capacity (T4 of docs/lanes.md)."""
        return w.free_seats(relax=False) >= 1 and self._has_turbo_time(w)

    def _has_turbo_time(self, w: Worker) -> bool:
        return w.turbo is None and w.turbo_used(self._now, self.policy.window_ms) < self.policy.turbo_share

    def _may_start(self, w: Worker, now: float) -> bool:
        """Return whether a worker may start newcomers: those with the fewest started jobs may, and any may start one
        that waits too long."""
        if len(self._workers) == 1 or len(w.seats) * len(self._workers) <= self._started + len(self._workers):
            return True
        head = self._prompt.head()
        return head is not None and now - head.arrival > self.policy.max_step_ms

    def _seat(self, w: Worker, job: Job) -> None:
        if job.queued:
            self._queue(job).remove(job)
        self._queue(job).started(job, 1)
        job.price(w.cost)
        w.seat(job)
        self._started += 1
        if len(w.seats) >= 2:
            self._spare[w.spec.name] = None

    def _unseat(self, w: Worker, job: Job) -> None:
        if w.turbo is job:
            self._no_turbo[w.spec.name] = None
        w.unseat(job)
        self._queue(job).started(job, -1)
        self._started -= 1
        if len(w.seats) < 2:
            self._spare.pop(w.spec.name, None)

    def _take_over(self, w: Worker) -> Job | None:
        """Move a started job that waits on another worker to one that has nothing to do.

        Return the job, if there is one.
        """
        for name in self._spare:
            other = self._workers[name]
            for job in other.seats.values():
                if not (job.planned or job.paused or job is other.turbo):
                    self._unseat(other, job)
                    self._seat(w, job)
                    return job
        return None

    def _book(
        self, w: Worker, plan: BatchPlan, jobs: list[Job], elapsed: float, previews: Mapping[str, float], now: float
    ) -> None:
        """Book a plan in the accounts of the promises, before any job leaves.

        Previews, which no plan had, are booked here.
        """
        weights = [job.unit for job in jobs]
        scale = elapsed / max(sum(weights), 1e-9)
        after = [previews.get(job.ticket.job, 0.0) for job in jobs] if previews else [0.0] * len(jobs)
        relax_part = 0.0
        for job, weight, preview in zip(jobs, weights, after, strict=True):
            if job.is_relax:
                relax_part += weight * scale + preview
            if preview and job.lane is not Lane.TURBO:
                self._queue(job).charge(job.account, preview)
        relax_waits = w.num_relax > 0 or self._relax.num_waiting > 0
        w.account_for(plan, elapsed + sum(after), relax_part, relax_waits, self.policy)
        if plan.lead is Lane.TURBO:
            alone = jobs[0].unit
            gained = self.policy.turbo_slack * (alone + after[0])
            gained -= max(0.0, plan.predicted_ms - alone) + sum(after[1:])
            if jobs[0] is w.turbo:
                w.slack += gained
            else:  # it was paused meanwhile
                jobs[0].slack += gained
            w.served_turbo(elapsed + after[0], now)

    def _proved(self, w: Worker, job: Job) -> None:
        """Take note that a job works alone.

        If all jobs of a batch that broke do, the batch was too large for this worker.
        """
        job.alone, job.cautious = False, 0
        if w.suspects is not None:
            rows, names = w.suspects
            names.discard(job.ticket.job)
            if not names:
                w.row_cap, w.suspects = max(1, min(w.row_cap, rows - 1)), None

    def _end(self, job: Job, ended: Ended, reason: str) -> Final:
        queue = self._queue(job)
        if job.queued:
            queue.remove(job)
        if job.worker is not None:
            worker = self._workers[job.worker]
            self._unseat(worker, job)
            if worker.suspects is not None and job.ticket.job in worker.suspects[1] and ended is not Ended.DONE:
                worker.suspects = None  # the culprit, or a witness that is gone
        queue.leave(job)
        del self._jobs[job.ticket.job]
        return Final(job.ticket.job, ended, job.lane, reason)


def _total(jobs: list[Job]) -> StepShape:
    shape = jobs[0].shape
    for job in jobs[1:]:
        shape = shape + job.shape
    return shape
