"""The lanes' inequalities, checked from outside while a simulation runs. A violated one is kept in words.

- Turbo: every step plan that carries a Turbo job is predicted, by the model it was planned with, to take at most 1.1
  times the step of that job alone. The true ratio is recorded beside it.
- Relax: in every window during which Relax work waits and may start, a worker gives Relax its share of the time it
  works, less one unit of Relax and one plan at the edges.
- The loop itself checks that every job ends exactly once, with all its units done (`Outcome.wrong`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...scheduler.policy import Policy
from ...scheduler.tickets import BatchPlan, Lane, Stage, StepShape
from .loop import Life, Watch
from .physics import Physics

TURBO_LIMIT = 1.1
MOST_WORDS = 20  # violations kept


class TurboCheck(Watch):
    """Attributes: `count` plans with a Turbo job; the largest predicted ratio; sum and largest of the true ratios."""

    def __init__(self, physics: Physics, workers: Mapping[str, Any]) -> None:
        self.physics, self.workers = physics, workers
        self.count = 0
        self.predicted = self.true = self.true_sum = 0.0
        self.violations: list[str] = []
        self.held: list[float] = []  # from first step to end, over the same alone

    def before(self, plan: BatchPlan, lives: list[Life], now: float) -> None:
        if plan.stage is not Stage.STEP:
            return
        turbo = next((life for life in lives if life.lane is Lane.TURBO), None)
        if turbo is None:
            return
        own, shape = turbo.ticket.shape, StepShape(0, 0)
        for life in lives:
            shape = shape + life.ticket.shape
        model = self.workers[plan.worker].cost.step
        predicted = model.predict(shape) / model.predict(own)
        true = self.physics.step_ms(shape) / self.physics.step_ms(own)
        self.count += 1
        self.predicted, self.true = max(self.predicted, predicted), max(self.true, true)
        self.true_sum += true
        if predicted > TURBO_LIMIT + 1e-9 and len(self.violations) < MOST_WORDS:
            self.violations.append(f"Turbo job {turbo.ticket.job}: a step planned at {predicted:.3f} of its time alone")

    def ended(self, life: Life, now: float) -> None:
        if life.lane is Lane.TURBO and life.first >= 0:
            alone = life.solo - self.physics.stage_ms(Stage.ENCODE, life.ticket)
            self.held.append((now - life.first) / alone)

    @property
    def true_mean(self) -> float:
        return self.true_sum / self.count if self.count else 1.0


class Backlog(Watch):
    """How many accounts have waiting Relax jobs that may start, and when that was last none."""

    def __init__(self) -> None:
        self._waiting: dict[str, int] = {}
        self._running: dict[str, int] = {}
        self._limit: dict[str, int] = {}
        self._startable: set[str] = set()
        self.empty_at = 0.0

    def _update(self, account: str, now: float) -> None:
        if self._waiting.get(account, 0) > 0 and self._running.get(account, 0) < self._limit[account]:
            self._startable.add(account)
            return
        self._startable.discard(account)
        if not self._startable:
            self.empty_at = now

    def submitted(self, life: Life, now: float) -> None:
        if life.lane is Lane.RELAX:
            if not self._startable:
                self.empty_at = now
            account = life.ticket.account
            self._limit[account] = life.ticket.max_running
            self._waiting[account] = self._waiting.get(account, 0) + 1
            self._update(account, now)

    def before(self, plan: BatchPlan, lives: list[Life], now: float) -> None:
        if plan.stage is Stage.ENCODE and lives[0].lane is Lane.RELAX:
            account = lives[0].ticket.account
            self._waiting[account] -= 1
            self._running[account] = self._running.get(account, 0) + 1
            self._update(account, now)

    def ended(self, life: Life, now: float) -> None:
        if life.lane is Lane.RELAX:
            self._running[life.ticket.account] -= 1
            self._update(life.ticket.account, now)

    def since(self, now: float) -> float:
        """Return from when on there has always been something; `now` if there is nothing."""
        return self.empty_at if self._startable else now


class RelaxCheck(Backlog):
    """Attributes: `windows` looked at, the least share of a window, and the violations.

    Args:
        length: of a window, in windows of the policy: the longer, the less the units at its edges hide.
    """

    def __init__(self, physics: Physics, policy: Policy, length: int = 1) -> None:
        super().__init__()
        self.physics, self.share, self.window = physics, policy.relax_share, length * policy.window_ms
        self.unit = 0.0  # largest unit of a Relax job so far
        self.windows = 0
        self.least = 1.0
        self.violations: list[str] = []
        self._at: dict[str, float] = {}  # start of a worker's window
        self._sums: dict[str, list[float]] = {}  # Relax ms, all ms, largest plan

    def submitted(self, life: Life, now: float) -> None:
        super().submitted(life, now)
        if life.lane is Lane.RELAX:
            self.unit = max(self.unit, *map(self.physics.unit_ms, life.ticket.stages))

    def after(self, plan: BatchPlan, lives: list[Life], elapsed: float, now: float) -> None:
        worker, began = plan.worker, now - elapsed
        sums = self._sums.setdefault(worker, [0.0, 0.0, 0.0])
        self._at.setdefault(worker, began)
        relax = whole = 0.0
        for life in lives:
            unit = self.physics.stage_ms(plan.stage, life.ticket)
            whole += unit
            if life.lane is Lane.RELAX:
                relax += unit
        sums[0] += elapsed * relax / whole
        sums[1] += elapsed
        sums[2] = max(sums[2], elapsed)
        if now - self._at[worker] < self.window:
            return
        if self.since(now) <= self._at[worker]:
            self._judge(worker, *sums)
        self._at[worker] = now
        self._sums[worker] = [0.0, 0.0, 0.0]

    def _judge(self, worker: str, relax: float, whole: float, plan: float) -> None:
        self.windows += 1
        self.least = min(self.least, relax / whole)
        if relax + self.unit + plan < self.share * whole and len(self.violations) < MOST_WORDS:
            self.violations.append(f"Relax had {relax:.0f} of {whole:.0f} ms of a window of worker {worker}")
