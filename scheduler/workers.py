"""A worker as the scheduler sees it: its seats, its cost model, and the accounts of its lanes' promises."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from .cost import WorkerCost
from .jobs import Job
from .policy import Policy
from .tickets import BatchPlan, Lane


@dataclass(frozen=True)
class WorkerSpec:
    """A device that takes plans.

    Attributes:
        name: unique.
        max_rows: most rows of one step, all jobs together: the engine's own limit.
        max_seats: most jobs that are started here and not finished; half of them at most are Relax jobs.
        cost: a cost model to start from; None: the default prior.
    """

    name: str
    max_rows: int = 65_536
    max_seats: int = 64
    cost: WorkerCost | None = None


class Worker:
    """The state of one worker.

    Attributes:
        spec, cost: what it is, and how long things take there.
        seats: started jobs that sit here, by id, in the order in which they came; the Turbo job from its submission.
            Paused ones keep their seats.
        num_relax: how many of them are Relax jobs.
        turbo: the Turbo job that it serves, if any. At most one, and never a paused one.
        slack: ms by which other work may still hold up the Turbo job that is served now.
        relax_credit: ms that Relax is owed, of its guaranteed share.
        plan: what it does now; plan_end: when it should be done, by prediction.
        busy_ms: time it has worked.
        row_cap: most rows of a shared step; below `spec.max_rows` after running out of memory.
        suspects: (rows, jobs still to be tried alone) of a batch that broke.
    """

    __slots__ = (
        "busy_ms", "cost", "num_relax", "plan", "plan_end", "relax_credit", "row_cap", "seats", "slack", "spec",
        "suspects", "turbo", "_turbo_ms", "_turbo_window",
    )  # fmt: skip

    def __init__(self, spec: WorkerSpec) -> None:
        self.spec = spec
        self.cost = spec.cost or WorkerCost()
        self.seats: dict[str, Job] = {}
        self.num_relax = 0
        self.turbo: Job | None = None
        self.slack = self.relax_credit = self.busy_ms = self.plan_end = 0.0
        self.plan: BatchPlan | None = None
        self.row_cap = spec.max_rows
        self.suspects: tuple[int, set[str]] | None = None
        self._turbo_window: deque[tuple[float, float]] = deque()  # (when, ms) of Turbo's plans
        self._turbo_ms = 0.0

    def seat(self, job: Job) -> None:
        self.seats[job.ticket.job] = job
        self.num_relax += job.is_relax
        job.worker = self.spec.name

    def unseat(self, job: Job) -> None:
        del self.seats[job.ticket.job]
        self.num_relax -= job.is_relax
        job.worker = None
        if self.turbo is job:
            self.turbo = None

    def free_seats(self, relax: bool) -> int:
        """Return how many more jobs may be started here."""
        free = self.spec.max_seats - len(self.seats)
        return min(free, max(1, self.spec.max_seats // 2) - self.num_relax) if relax else free

    def free_at(self, now: float) -> float:
        """Return when the worker can take its next plan, by prediction."""
        return now if self.plan is None else max(now, self.plan_end)

    def served_turbo(self, ms: float, now: float) -> None:
        self._turbo_window.append((now, ms))
        self._turbo_ms += ms

    def turbo_used(self, now: float, window: float) -> float:
        """Return the share of the last `window` ms that Turbo had of this worker."""
        while self._turbo_window and self._turbo_window[0][0] <= now - window:
            self._turbo_ms -= self._turbo_window.popleft()[1]
        return max(0.0, self._turbo_ms) / window

    def account_for(
        self, plan: BatchPlan, elapsed: float, relax_part: float, relax_waits: bool, policy: Policy
    ) -> None:
        """Book a finished plan: Turbo's slack and Relax's credit.

        Args:
            elapsed: ms, previews included.
            relax_part: ms of `elapsed` that Relax jobs had.
            relax_waits: whether Relax work was there to be done.
        """
        self.busy_ms += elapsed
        if not relax_waits:
            self.relax_credit = 0.0
        else:
            owed = self.relax_credit + policy.relax_share * elapsed - relax_part
            self.relax_credit = min(max(owed, 0.0), policy.relax_share * policy.window_ms)
        if self.turbo is not None and plan.lead is not Lane.TURBO:
            self.slack -= elapsed
