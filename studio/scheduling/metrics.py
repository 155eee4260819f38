"""Count what the workers did, for metrics and the operator's view."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ...scheduler.tickets import BatchPlan, Stage
from ..workers.messages import ArenaUse, Ran

WINDOW_S = 60.0  # the time that `WorkerTally.busy_share` looks back
Seen = Callable[[BatchPlan, Ran, int, int], object]


@dataclass
class WorkerTally:
    """The counts of one worker.

    Attributes:
        steps: step plans.
        step_ms: of all of them.
        error: of the cost model: sum of |predicted - measured| / measured over the step plans.
        losses: times that it was lost.
        arena: of its adapters, since its last start.
    """

    steps: int = 0
    step_ms: float = 0.0
    error: float = 0.0
    losses: int = 0
    arena: ArenaUse = ArenaUse()
    _recent: deque[tuple[float, float]] = field(default_factory=deque)  # (end, ms), within the window

    def add(self, now: float, ms: float) -> None:
        """Add a time that the worker was busy."""
        self._recent.append((now, ms))
        self._trim(now)

    def busy_share(self, now: float, since: float) -> float:
        """Return the share of the last minute, or of the time since `since`, that the worker was busy."""
        self._trim(now)
        span = min(WINDOW_S, now - since)
        return min(1.0, sum(ms for _, ms in self._recent) / (1e3 * span)) if span > 0 else 0.0

    def _trim(self, now: float) -> None:
        while self._recent and self._recent[0][0] < now - WINDOW_S:
            self._recent.popleft()


class Metrics:
    """Counts since the start. Driven under the loop's lock.

    Attributes:
        plans: by stage.
        stage_ms: by stage.
        batch_jobs, batch_rows: sums over the step plans of the jobs and rows in each.
        workers: by name.
        seen: called as (plan, answer, rows, most rows that the worker takes) for every plan that was carried out;
            short, and it does not raise.
    """

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.plans: dict[str, int] = defaultdict(int)
        self.stage_ms: dict[str, float] = defaultdict(float)
        self.batch_jobs = self.batch_rows = 0
        self.workers: dict[str, WorkerTally] = defaultdict(WorkerTally)
        self.seen: Seen | None = None

    def ran(self, plan: BatchPlan, answer: Ran, rows: int, max_rows: int) -> None:
        """Count a plan that was carried out, with so many rows of those that the worker takes at once."""
        worker, ms = self.workers[plan.worker], answer.elapsed_ms
        self.plans[plan.stage] += 1
        self.stage_ms[plan.stage] += ms
        worker.add(time.monotonic(), ms + sum(answer.preview_ms.values()))
        worker.arena = answer.arena
        if plan.stage is Stage.STEP:
            self.batch_jobs += len(plan.jobs)
            self.batch_rows += rows
            worker.steps += 1
            worker.step_ms += ms
            worker.error += abs(plan.predicted_ms - ms) / ms if ms > 0 else 0.0
        if self.seen is not None:
            self.seen(plan, answer, rows, max_rows)

    def lost(self, worker: str) -> None:
        """Count the loss of a worker."""
        self.workers[worker].losses += 1
