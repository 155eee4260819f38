"""A house of pretend workers under a virtual clock: the real scheduler, steps that take what a formula says."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from salon.scheduler.cost import CostModel, Prior, WorkerCost
from salon.scheduler.policy import Policy
from salon.scheduler.scheduler import Scheduler
from salon.scheduler.tickets import BatchPlan, Ended, Final, Lane, Stage, StepShape, Ticket, drawing
from salon.scheduler.workers import WorkerSpec

FIXED, PER_ROW = 2.0, 0.025  # ms: of a step, of a row of it


def shape(rows: int) -> StepShape:
    return StepShape(rows, 1, 0)


def ticket(
    job: str, account: str = "a", lane: Lane = Lane.FAST, rows: int = 400, steps: int = 8, images: int = 1, **fields
) -> Ticket:
    most = fields.pop("max_running", 100)
    return Ticket(job, account, lane, drawing(shape(rows), steps, images, **fields), most)


def exact_cost() -> WorkerCost:
    """A model that knows the house's formula: the promises are about it, not about how well it is fitted."""
    return WorkerCost(
        CostModel(Prior(fixed_ms=FIXED, row_us=1000 * PER_ROW, square_ns=1e-6, adapter_ns=1e-6, error=1e-6))
    )


@dataclass
class House:
    """Runs a scheduler to the end of its work and keeps what happened.

    Attributes:
        done: (start, end, plan) of every plan, in the order of their ends.
        finals: final answers, by job; a second one for a job is an error here.
        watch: called after every plan was made, before it runs.
        previews: job -> ms of the preview that follows each of its steps.
    """

    policy: Policy = field(default_factory=Policy)
    workers: int = 1
    spec: dict[str, Any] = field(default_factory=dict)
    watch: Callable[[House, BatchPlan], None] | None = None
    previews: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(self.policy)
        self.now = 0.0
        self.tickets: dict[str, Ticket] = {}
        self.lanes: dict[str, Lane] = {}
        self.arrivals: dict[str, float] = {}
        self.finals: dict[str, Final] = {}
        self.ended_at: dict[str, float] = {}
        self.done: list[tuple[float, float, BatchPlan]] = []
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._running: dict[str, int] = {}
        self._count = 0
        self.names = [f"w{i}" for i in range(self.workers)]
        for name in self.names:
            self.scheduler.add_worker(WorkerSpec(name, cost=exact_cost(), **self.spec), 0.0)

    def cost(self, plan: BatchPlan) -> float:
        first = self.tickets[plan.jobs[0]]
        if plan.stage is Stage.STEP:
            return FIXED + PER_ROW * sum(self.tickets[job].shape.rows for job in plan.jobs)
        work = first.stage(plan.stage)
        assert work is not None
        return exact_cost().predict(work)

    def at(self, time: float, action: Callable[[], object]) -> None:
        self._count += 1
        heapq.heappush(self._events, (time, self._count, action))

    def submit(self, new: Ticket, time: float = 0.0) -> None:
        def arrive() -> None:
            self.tickets[new.job], self.arrivals[new.job] = new, self.now
            self.lanes[new.job] = self.scheduler.submit(new, self.now).lane

        self.at(time, arrive)

    def finish(self, finals: list[Final]) -> None:
        for final in finals:
            assert final.job not in self.finals, f"{final.job} ended twice"
            self.finals[final.job] = final
            self.ended_at[final.job] = self.now

    def run(self, until: float = 1e12, outcome: Callable[[BatchPlan], dict[str, Any]] | None = None) -> None:
        """Until nothing is left to happen, or a time; `outcome` gives the keywords of a plan's report."""
        while self._events and self._events[0][0] <= until:
            self.now, _, action = heapq.heappop(self._events)
            action()
            if not self._events or self._events[0][0] > self.now:
                self._wake(outcome)
        if until < 1e12:
            self.now = until

    def _wake(self, outcome: Callable[[BatchPlan], dict[str, Any]] | None) -> None:
        for name in self.names:
            if name in self._running or name not in self.scheduler.workers:
                continue
            plan = self.scheduler.plan(name, self.now)
            if plan is None:
                continue
            if self.watch:
                self.watch(self, plan)
            self._running[name] = plan.number
            start, elapsed, after = self.now, self.cost(plan), {}
            if plan.stage is Stage.STEP:
                after = {job: self.previews[job] for job in plan.jobs if job in self.previews}

            def report(
                plan: BatchPlan = plan, start: float = start, elapsed: float = elapsed, after: dict[str, float] = after
            ) -> None:
                if self._running.get(plan.worker) != plan.number:
                    return  # the worker was lost
                del self._running[plan.worker]
                self.done.append((start, self.now, plan))
                more = outcome(plan) if outcome else {}
                self.finish(self.scheduler.report(plan, elapsed, self.now, preview_ms=after, **more))

            self.at(self.now + elapsed + sum(after.values()), report)

    def lose(self, name: str) -> None:
        self._running.pop(name, None)
        self.finish(self.scheduler.lose_worker(name, self.now))

    def alone(self, job: str) -> float:
        """ms of a job on an idle worker."""
        t = self.tickets[job]
        model = exact_cost()
        steps = t.count(Stage.STEP) * (FIXED + PER_ROW * t.shape.rows)
        return steps + sum(work.count * model.predict(work) for work in t.stages if work.kind is not Stage.STEP)

    def all_done(self) -> bool:
        return set(self.finals) == set(self.tickets) and all(f.ended is Ended.DONE for f in self.finals.values())

    def of(self, job: str) -> list[tuple[float, float, BatchPlan]]:
        """The plans that a job took part in."""
        return [entry for entry in self.done if job in entry[2].jobs]
