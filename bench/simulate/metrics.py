"""What a run is judged by, as data, and the watches that collect what an outcome alone does not show."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from ...scheduler.tickets import BatchPlan, Lane
from ..measure import quantile
from .loop import LANES, Life, Outcome, Watch
from .physics import Physics
from .traces import Trace

# Service level objectives: stretch = (finish - arrival) / (time alone on an idle worker) of a job, by the lane that
# was asked for; a Turbo job that is served as Fast is still judged as Turbo here.
OBJECTIVES = {Lane.TURBO: 1.5, Lane.FAST: 3.0, Lane.DRAFT: 3.0, Lane.RELAX: 30.0}
WINDOW = 60_000.0  # ms, of Jain's index


def jain(values: Sequence[float]) -> float:
    """Return Jain's index: 1 if all are equal, 1/n if one has all."""
    squares = sum(v * v for v in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0


class FairnessWatch(Watch):
    """Jain's index of the work done in a window for accounts that had unfinished Fast or Draft jobs throughout."""

    def __init__(self, physics: Physics) -> None:
        self.physics = physics
        self.indices: list[float] = []
        self._active: dict[str, int] = {}
        self._since: dict[str, float] = {}
        self._done: dict[str, float] = {}
        self._from = 0.0

    def submitted(self, life: Life, now: float) -> None:
        if life.ticket.lane in (Lane.FAST, Lane.DRAFT):
            account = life.ticket.account
            if not self._active.get(account):
                self._since[account] = now
            self._active[account] = self._active.get(account, 0) + 1

    def ended(self, life: Life, now: float) -> None:
        if life.ticket.lane in (Lane.FAST, Lane.DRAFT):
            self._active[life.ticket.account] -= 1
            if not self._active[life.ticket.account]:
                del self._active[life.ticket.account]

    def after(self, plan: BatchPlan, lives: list[Life], elapsed: float, now: float) -> None:
        for life in lives:
            if life.ticket.lane in (Lane.FAST, Lane.DRAFT):
                account = life.ticket.account
                self._done[account] = self._done.get(account, 0.0) + self.physics.stage_ms(plan.stage, life.ticket)
        if now - self._from >= WINDOW:
            served = [self._done.get(a, 0.0) for a in self._active if self._since[a] <= self._from]
            if len(served) >= 2:
                self.indices.append(jain(served))
            self._done.clear()
            self._from = now

    @property
    def mean(self) -> float | None:
        return sum(self.indices) / len(self.indices) if self.indices else None


class RelaxWatch(Watch):
    """The age of the oldest Relax job that waits to be started, over time."""

    def __init__(self, every: float) -> None:
        self.every = every
        self.times: list[float] = []
        self.ages: list[float] = []
        self._waiting: deque[Life] = deque()
        self._next = 0.0

    def submitted(self, life: Life, now: float) -> None:
        if life.ticket.lane is Lane.RELAX:
            self._waiting.append(life)

    def after(self, plan: BatchPlan, lives: list[Life], elapsed: float, now: float) -> None:
        if now < self._next:
            return
        while self._waiting and self._waiting[0].started:
            self._waiting.popleft()
        self.times.append(now)
        self.ages.append(now - self._waiting[0].arrival if self._waiting else 0.0)
        self._next = now + self.every

    @property
    def oldest(self) -> float:
        return max(self.ages, default=0.0)


def attainment(out: Outcome, lane: Lane | None = None) -> float | None:
    """Return the share of a lane's jobs (None: of all) that met the objective."""
    met = count = 0
    for asked, judged, finish, solo in zip(out.asked, out.judged, out.finish, out.solo, strict=True):
        if judged and (lane is None or LANES[asked] is lane):
            count += 1
            met += finish <= OBJECTIVES[LANES[asked]] * solo
    return met / count if count else None


def reached_gain(out: Outcome) -> float | None:
    """Return the share of the time that sharing steps can save at most (in batches without end) that was saved."""
    most = out.step_alone - out.step_floor
    return (out.step_alone - out.step_busy) / most if most > 0 else None


def needed_gain(trace: Trace, workers: int) -> float | None:
    """Return the share of what sharing steps can save at most that workers which never rest need in order to keep up
    with the arrivals; 0: none, above 1: they cannot."""
    kinds = [trace.kinds[number] for number in trace.kind]
    physics = trace.physics
    most = sum(kind.steps * (physics.step_ms(kind.shape) - physics.saturated_ms(kind.shape)) for kind in kinds)
    return max(0.0, trace.work - workers * trace.horizon) / most if most > 0 else None


def of_lane(out: Outcome, lane: Lane) -> dict[str, Any]:
    """Compute percentiles of start, finish (s) and stretch of a lane, by what was asked for."""
    chosen = [k for k, asked in enumerate(out.asked) if LANES[asked] is lane and out.judged[k]]
    found: dict[str, Any] = {"jobs": len(chosen)}
    if not chosen:
        return found
    columns = {
        "start_s": sorted(out.start[k] / 1e3 for k in chosen),
        "finish_s": sorted(out.finish[k] / 1e3 for k in chosen),
        "stretch": sorted(out.finish[k] / out.solo[k] for k in chosen),
    }
    for name, values in columns.items():
        for percent in (50, 95, 99):
            found[f"{name}_p{percent}"] = quantile(values, percent / 100)
    found["slo"] = attainment(out, lane)
    found["fell_back"] = sum(out.served[k] != out.asked[k] for k in chosen) / len(chosen)
    return found


def of_run(out: Outcome, workers: int) -> dict[str, Any]:
    """Compute the figures of a whole run."""
    return {
        "jobs": len(out.finish),
        "slo": attainment(out),
        "goodput": out.useful / out.horizon * 1e3,
        "work_rate": out.step_alone / (out.horizon * workers),
        "gain_reached": reached_gain(out),
        "gain_available": out.step_alone / out.step_floor if out.step_floor else None,
        "busy": out.busy / (max(out.end, 1e-9) * workers),
        "padded_rows": out.padded,
        "plans": out.plans,
        "scheduler_us_per_plan": out.scheduler_s / max(out.plans, 1) * 1e6,
    }
