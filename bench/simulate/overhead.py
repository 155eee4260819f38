"""What the scheduler itself costs: microseconds of `plan` and `report` against the length of the queue, bytes a job."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...scheduler.scheduler import Scheduler
from ...scheduler.tickets import BatchPlan, Lane, StepShape, Ticket, drawing
from ...scheduler.workers import WorkerSpec
from ..measure import Deadline, interleave, quantile
from .physics import CPU

RUNNING = 64  # started jobs on the one worker that is asked
MOST_ACCOUNTS = 10_000
LANES = (Lane.FAST, Lane.DRAFT, Lane.RELAX, Lane.FAST, Lane.TURBO)


def ticket(number: int, accounts: int) -> Ticket:
    """Make a small job; lanes, sizes and steps vary with its number."""
    rows = 80 + 16 * (number % 7)
    shape = StepShape(rows, rows * rows, rows * 4 * (number % 3))
    stages = drawing(shape, 8 + number % 40, 1 + number % 3)
    return Ticket(str(number), f"a{number % accounts}", LANES[number % 5], stages)


class Standing:
    """A scheduler whose queue stays as long as it is: for every job that ends another is submitted."""

    def __init__(self, queued: int) -> None:
        self.accounts = min(MOST_ACCOUNTS, queued)
        self.scheduler = Scheduler()
        self.scheduler.add_worker(WorkerSpec("w", max_seats=RUNNING), 0.0)
        self.now, self.number = 0.0, 0
        for _ in range(queued + RUNNING):
            self.submit()
        for _ in range(20 * RUNNING):
            if self.scheduler.num_started >= RUNNING:
                break
            self.one()
        self.reports: list[float] = []

    def submit(self) -> None:
        self.scheduler.submit(ticket(self.number, self.accounts), self.now)
        self.number += 1

    def one(self) -> tuple[float, float]:
        """Make one plan and report it. Return the milliseconds of both calls."""
        start = time.perf_counter()
        plan = self.scheduler.plan("w", self.now)
        middle = time.perf_counter()
        assert plan is not None  # the queue is never empty
        took = self._took(plan)
        self.now += took
        again = time.perf_counter()
        finals = self.scheduler.report(plan, took, self.now)
        end = time.perf_counter()
        for _ in finals:
            self.submit()
        return (middle - start) * 1e3, (end - again) * 1e3

    def _took(self, plan: BatchPlan) -> float:
        return CPU.floor_ms + CPU.row_ms * 100 * len(plan.jobs)

    def turn(self, count: int) -> Callable[[], Sequence[float]]:
        def measure() -> Sequence[float]:
            both = [self.one() for _ in range(count)]
            self.reports += [report for _, report in both]
            return [plan for plan, _ in both]

        return measure


@dataclass(frozen=True)
class Overhead:
    """Microseconds of a call by queue length."""

    queued: int
    accounts: int
    started: int
    plan_p50: float
    plan_p99: float
    report_p50: float
    report_p99: float
    calls: int


def measure(sizes: Sequence[int], rounds: int, count: int, deadline: Deadline) -> list[Overhead]:
    """Measure in interleaved rounds. The collector of garbage runs as it does in production."""
    standing = {f"{size}": Standing(size) for size in sizes}
    gc.collect()
    results = interleave({name: each.turn(count) for name, each in standing.items()}, rounds=rounds, deadline=deadline)
    found = []
    for size in sizes:
        each, samples = standing[f"{size}"], results[f"{size}"]
        if samples.values:
            p50, p99 = (quantile(samples.values, q) * 1e3 for q in (0.5, 0.99))
            report50, report99 = (quantile(each.reports, q) * 1e3 for q in (0.5, 0.99))
            started = each.scheduler.num_started
            found.append(Overhead(size, each.accounts, started, p50, p99, report50, report99, len(samples)))
    return found


def bytes_per_job(jobs: int) -> tuple[float, float]:
    """Measure the memory of one more queued job, of `jobs / 10` accounts: all that the scheduler holds, with the
    ticket."""
    scheduler = Scheduler()
    scheduler.add_worker(WorkerSpec("w"), 0.0)
    accounts = max(1, jobs // 10)
    gc.collect()
    tracemalloc.start()
    try:
        tickets = [ticket(number, accounts) for number in range(jobs)]
        gc.collect()
        own = tracemalloc.get_traced_memory()[0]
        for each in tickets:
            scheduler.submit(each, 0.0)
        del tickets
        gc.collect()
        return tracemalloc.get_traced_memory()[0] / jobs, own / jobs
    finally:
        tracemalloc.stop()
