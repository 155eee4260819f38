"""One contender on one trace, with everything that is looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ...scheduler.scheduler import Scheduler
from ..measure import quantile
from . import metrics
from .baselines import BASELINES
from .checks import RelaxCheck, TurboCheck
from .loop import LANES, Driven, Outcome, Simulation, Watch
from .traces import Trace

SALON = "Salon"
NAMES = (SALON, *(baseline.name for baseline in BASELINES))
LONG = 5  # windows of the policy in the longer windows of the Relax check


def contender(name: str, trace: Trace) -> Driven:
    if name == SALON:
        return Scheduler()
    return next(baseline for baseline in BASELINES if baseline.name == name)(trace.physics, trace.traits)


@dataclass
class Run:
    """A finished simulation."""

    name: str
    trace: Trace
    workers: int
    out: Outcome
    load: float = 0.0
    fairness: metrics.FairnessWatch | None = None
    relax: metrics.RelaxWatch | None = None
    turbo: TurboCheck | None = None
    shares: tuple[RelaxCheck, ...] = ()
    violations: list[str] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        found = {"scheduler": self.name, "trace": self.trace.name, **metrics.of_run(self.out, self.workers)}
        found["gain_needed"] = metrics.needed_gain(self.trace, self.workers)
        if self.fairness is not None:
            found["jain"] = self.fairness.mean
        if self.relax is not None:
            found["oldest_relax_s"] = self.relax.oldest / 1e3
        if self.turbo is not None and self.turbo.count:
            found["turbo_ratio_predicted_max"] = self.turbo.predicted
            found["turbo_ratio_true_mean"], found["turbo_ratio_true_max"] = self.turbo.true_mean, self.turbo.true
        if self.turbo is not None and self.turbo.held:
            found["turbo_held_p99"] = quantile(self.turbo.held, 0.99)
        for check in self.shares:
            if check.windows:
                seconds = f"{check.window / 1e3:g}"
                found[f"relax_windows_{seconds}s"] = check.windows
                found[f"relax_least_{seconds}s"] = check.least
        found["violations"] = len(self.violations)
        return found

    def lanes(self) -> dict[str, dict[str, Any]]:
        return {lane.value: metrics.of_lane(self.out, lane) for lane in LANES}


def simulate(
    name: str,
    trace: Trace,
    workers: int,
    *,
    seed: int = 0,
    full: bool = True,
    on_jobs: Callable[[int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Run:
    """Simulate a trace.

    `full` also watches fairness and the age of Relax jobs; Salon's inequalities are always checked.
    """
    scheduler = contender(name, trace)
    run = Run(name, trace, workers, Outcome(), trace.work / (workers * trace.horizon))
    watches: list[Watch] = []
    if full:
        run.fairness = metrics.FairnessWatch(trace.physics)
        run.relax = metrics.RelaxWatch(max(1000.0, trace.horizon / 1000))
        watches += [run.fairness, run.relax]
    simulation = Simulation(trace, scheduler, workers, seed=seed, on_jobs=on_jobs, stop=stop)
    if isinstance(scheduler, Scheduler):
        policy = scheduler.policy
        run.turbo = TurboCheck(trace.physics, scheduler.workers)
        run.shares = tuple(RelaxCheck(trace.physics, policy, length) for length in ((1, LONG) if full else (LONG,)))
        watches += [run.turbo, *run.shares]
    simulation.watches = tuple(watches)
    run.out = simulation.run()
    run.violations = list(run.out.wrong)
    if run.turbo is not None:
        run.violations += run.turbo.violations
    for check in run.shares:
        run.violations += check.violations
    return run
