"""The service-difference bound, on the adversary that it is hardest for: one worker, accounts that never run dry.

Accounts differ in everything that could win them more than their share: the size of their jobs, how many they submit
at once, how short they are. While all are backlogged, the largest difference of the work done for any two is taken
after every plan. Salon's bound is 2 max(quantum, largest unit) (docs/lanes.md, F2). It is checked on the scheduler's
own account of service, in predicted work, and shown for all in true work: there a model that is off by some per cent
lets accounts whose jobs it takes for cheaper run ahead by as much.
"""

from __future__ import annotations

import math
import random
from array import array
from dataclasses import dataclass
from typing import Any

from ...scheduler.policy import Policy
from ...scheduler.tickets import BatchPlan, Lane
from .loop import Driven, Life, Simulation, Watch
from .physics import Physics
from .traces import STEPS, Kind, Trace, draw_kind

ACCOUNTS = 8


def backlog(physics: Physics, jobs: int, seed: int = 0, lane: Lane = Lane.FAST) -> Trace:
    """Make all jobs at once. Account 0 has small short jobs, 1 large long ones, 2 four times as many; the rest any."""
    draw = random.Random(f"fairness {seed}")
    wanted = [(k, n) for k in range(ACCOUNTS) for n in range(jobs * (4 if k == 2 else 1))]
    draw.shuffle(wanted)
    kinds: dict[Kind, int] = {}
    columns: list[tuple[float, int, int, int, int, int]] = []
    for number, (account, _) in enumerate(wanted):
        drawn = [draw_kind(draw, physics, lane, STEPS) for _ in range(12 if account < 2 else 1)]
        drawn.sort(key=lambda kind: kind.shape.rows * kind.steps)
        kind = drawn[-1 if account == 1 else 0]
        columns.append((number * 1e-3, kinds.setdefault(kind, len(kinds)), account, 3, int(kind.guided), 0))
    a, k, who, limit, guidance, adapters = zip(*columns, strict=True)
    return Trace(
        "fairness", physics, list(kinds), array("d", a), array("l", k), array("l", who), array("l", limit),
        array("l", guidance), array("l", adapters), 1.0, 1.0,
    )  # fmt: skip


@dataclass
class _Differences(Watch):
    """Stops counting when the first account has fewer jobs left than it may run, or at `until` ms of work in all."""

    physics: Physics
    scheduler: Any
    left: dict[str, int]
    until: float

    def __post_init__(self) -> None:
        self.done = dict.fromkeys(self.left, 0.0)
        self.true = self.own = self.unit = self.own_unit = self.total = 0.0
        self.open, self.plans = True, 0

    def after(self, plan: BatchPlan, lives: list[Life], elapsed: float, now: float) -> None:
        if not self.open or self.total >= self.until:
            return
        self.plans += 1
        for life in lives:
            unit = self.physics.stage_ms(plan.stage, life.ticket)
            self.done[life.ticket.account] += unit
            self.total += unit
            self.unit = max(self.unit, unit)
        self.true = max(self.true, max(self.done.values()) - min(self.done.values()))
        if hasattr(self.scheduler, "service"):
            services = [self.scheduler.service(account) for account in self.left]
            self.own = max(self.own, max(services) - min(services))
            cost = self.scheduler.workers[plan.worker].cost
            self.own_unit = max(
                self.own_unit,
                *(cost.predict(work) for life in lives if (work := life.ticket.stage(plan.stage)) is not None),
            )

    def ended(self, life: Life, now: float) -> None:
        self.left[life.ticket.account] -= 1
        if self.left[life.ticket.account] < life.ticket.max_running:
            self.open = False

    def submitted(self, life: Life, now: float) -> None:
        self.left[life.ticket.account] = self.left.get(life.ticket.account, 0) + 1
        self.done.setdefault(life.ticket.account, 0.0)


@dataclass(frozen=True)
class Difference:
    """The result of a measurement, in ms.

    Attributes:
        true: largest difference in true work.
        own: largest difference in the scheduler's own account (0: it keeps none).
        bound: the bound for `own`.
        unit: the largest unit.
        total: the work done in all.
        plans: number of plans looked at.
    """

    true: float
    own: float
    bound: float
    unit: float
    total: float
    plans: int


def measure(trace: Trace, scheduler: Driven, policy: Policy, *, seed: int = 0, until: float = math.inf) -> Difference:
    """Measure a scheduler's differences up to the work `until`, so that schedulers are compared over the same amount of
    it."""
    watch = _Differences(trace.physics, scheduler, {}, until)
    Simulation(trace, scheduler, 1, seed=seed, watches=(watch,)).run()
    return Difference(
        watch.true, watch.own, 2 * max(policy.quantum_ms, watch.own_unit), watch.unit, watch.total, watch.plans
    )
