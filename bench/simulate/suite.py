"""The parts of the benchmark: each simulates, adds its rows, goals and notes, and hands what it drew to `plots`."""

from __future__ import annotations

import gc
import math
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...scheduler.policy import Policy
from ..measure import quantile
from ..report import Goal
from ..runner import Bench
from . import fairness, overhead
from .loop import LANES
from .metrics import OBJECTIVES
from .physics import CPU, H200, Physics
from .runs import NAMES, SALON, Run, contender, simulate
from .traces import make

LOADS = (0.5, 0.7, 0.85, 1.0, 1.1, 1.2, 1.3)
QUICK_LOADS = (0.7, 1.0, 1.2)
TRACE_LOAD = 0.9
BIG_LOAD = 1.1  # of the large simulation: at less, idle workers take every job and no step is shared
FEW_STEPS = {1: 0.4, 2: 0.4, 4: 0.2}  # of distilled checkpoints; of the large simulation, too


@dataclass(frozen=True)
class Scale:
    """How large the simulations are."""

    workers: int
    jobs: int
    big_workers: int
    big_jobs: int
    loads: tuple[float, ...]
    queues: tuple[int, ...]
    rounds: int

    @classmethod
    def of(cls, options: Any) -> Scale:
        if options.tiny:
            scale = cls(2, 60, 8, 200, (1.2,), (100, 1_000), 1)
        elif options.quick:
            scale = cls(4, 160, 50, 4_000, QUICK_LOADS, (100, 1_000, 10_000), 2)
        else:
            scale = cls(8, 3_000, 1_000, 1_000_000, LOADS, (100, 1_000, 10_000, 100_000), 10)
        gpus, jobs = options.gpus, options.jobs
        return cls(
            gpus or scale.workers, jobs or scale.jobs, options.big_gpus or scale.big_workers,
            options.big_jobs or scale.big_jobs, scale.loads, scale.queues, scale.rounds,
        )  # fmt: skip


@dataclass(frozen=True)
class Big:
    """What the large simulation came to, in plain values: it runs in a process of its own."""

    row: dict[str, Any]
    violations: list[str]


def simulate_big(workers: int, jobs: int) -> Big:
    """Simulate without the collector of garbage, which finds none here and looks at every waiting job each time."""
    gc.disable()
    trace = make("poisson", H200, jobs=jobs, workers=workers, load=BIG_LOAD, steps=FEW_STEPS)
    run = simulate(SALON, trace, workers, full=False)
    out = run.out
    row = {"device": H200.name, "workers": workers, "wall_s": out.wall_s, "cpu_s": out.cpu_s, **flat(run)}
    return Big({**row, "virtual_s": out.end / 1e3}, run.violations)


class Suite:
    """One run of the benchmark. `violations` gathers those of every trace."""

    def __init__(self, bench: Bench, scale: Scale) -> None:
        self.bench, self.scale = bench, scale
        self.pictures: Path = bench.options.out / "simulate"
        self.where = f"simulated: {scale.workers} x {H200.name}"
        self.violations: list[str] = []
        self.salon: list[Run] = []
        self.drawn: list[str] = []
        self.overloaded: list[Run] = []
        self.large: Big | None = None

    def left(self) -> bool:
        return self.bench.deadline.left() > 0

    def _run(
        self, name: str, trace_name: str, physics: Physics, workers: int, load: float, part: str,
        steps: dict[int, float] | None = None,
    ) -> Run:  # fmt: skip
        trace = make(trace_name, physics, jobs=self.scale.jobs, workers=workers, load=load, steps=steps)
        run = simulate(name, trace, workers)
        what = trace_name if physics is H200 else f"{trace_name}, CPU"
        what = what if steps is None else f"{what}, few steps"
        self.bench.row(part=part, what=what, device=physics.name, workers=workers, load=load, **flat(run))
        if name == SALON:
            self.salon.append(run)
        self.violations += [f"{name}, {trace_name} at {load:g}: {text}" for text in run.violations]
        return run

    def loads(self, trace: str) -> None:
        """Run every contender at every load."""
        points: list[tuple[float, Run]] = []
        with self.bench.progress("offered load", len(self.scale.loads) * len(NAMES)) as advance:
            for load in self.scale.loads:
                for name in NAMES:
                    if not self.left():
                        return
                    points.append((load, self._run(name, trace, H200, self.scale.workers, load, "load")))
                    advance(f"{name} at {load:g}")
        self.overloaded = [run for load, run in points if load == 1.2]
        self._goals_of_loads(points)
        self._draw("attainment", points, f"{self.where}, {trace}")
        self._draw("goodput", points, f"{self.where}, {trace}")

    def _goals_of_loads(self, points: list[tuple[float, Run]]) -> None:
        for load in self.scale.loads:
            found = {run.name: run.summary() for at, run in points if at == load}
            salon = found.pop(SALON)
            if load in (1.0, 1.2):
                best = max(found, key=lambda name: found[name]["slo"])
                more = 100 * (salon["slo"] - found[best]["slo"])
                self.bench.goal(Goal.at_least(f"SLO over the best baseline, load {load:g}", 0, more, " points", best))
                best = max(found, key=lambda name: found[name]["goodput"])
                ratio = salon["goodput"] / found[best]["goodput"]
                self.bench.goal(Goal.at_least(f"goodput over the best baseline, load {load:g}", 1, ratio, "x", best))
        self._goal_of_gain("", points)

    def _goal_of_gain(self, what: str, points: list[tuple[float, Run]]) -> None:
        for load in (1.2, 1.3):
            for at, run in points:
                if run.name == SALON and at == load:
                    found = run.summary()
                    note = f"keeping up with the arrivals takes {100 * found['gain_needed']:.0f} %"
                    share = 100 * found["gain_reached"]
                    self.bench.goal(Goal.at_least(f"gain of sharing steps{what}, load {load:g}", 90, share, " %", note))

    def few_steps(self) -> None:
        """Run every contender on jobs of few steps, of which the floor of a step is most."""
        points = []
        loads = tuple(load for load in self.scale.loads if load >= 1.0)
        with self.bench.progress("few steps", len(loads) * len(NAMES)) as advance:
            for load in loads:
                for name in NAMES:
                    if not self.left():
                        return
                    run = self._run(name, "poisson", H200, self.scale.workers, load, "few steps", FEW_STEPS)
                    points.append((load, run))
                    advance(f"{name} at {load:g}")
        self._goal_of_gain(", few steps", points)

    def traces(self, names: tuple[str, ...]) -> None:
        """Run every contender on every trace, and all once more on the CPU's costs."""
        cases = [(name, H200, self.scale.workers) for name in names] + [("poisson", CPU, 1)]
        with self.bench.progress("traces", len(cases) * len(NAMES)) as advance:
            for trace, physics, workers in cases:
                runs = []
                for name in NAMES:
                    if not self.left():
                        return
                    runs.append(self._run(name, trace, physics, workers, TRACE_LOAD, "trace"))
                    advance(f"{name}, {trace}")
                if trace == "relax_flood":
                    self._draw("relax_age", runs, self.overloaded, self.where)
                if trace == "bursty":
                    self._draw("starts", runs, f"{self.where}, bursty, load {TRACE_LOAD:g}")

    def fair(self) -> None:
        """Measure the service-difference bound on its adversary, on both devices."""
        found = []
        jobs = self.bench.pick(3, 6, 40)
        for physics in (H200, CPU):
            until = math.inf  # as much work as Salon did until the first account ran dry
            for name in NAMES:
                trace = fairness.backlog(physics, jobs)
                each = fairness.measure(trace, contender(name, trace), Policy(), until=until)
                until = each.total if name == SALON else until
                row = self.bench.row(
                    part="fairness", what="fairness" if physics is H200 else "fairness, CPU", device=physics.name,
                    scheduler=name, difference_true_ms=each.true, work_ms=each.total, plans=each.plans,
                )  # fmt: skip
                if physics is H200:
                    found.append((name, each))
                if name == SALON:
                    row.update(difference_own_ms=each.own, bound_ms=each.bound)
                    note = f"2 max(quantum, largest unit) = {each.bound:.0f} ms; in predicted work, {physics.name}"
                    share = each.own / each.bound
                    self.bench.goal(Goal.at_most("service difference, of its bound", 1.0, share, "", note))
                    if share > 1:
                        self.violations.append(f"service difference {each.own:.0f} ms on {physics.name}")
        self._draw("differences", found)

    def overhead(self) -> None:
        measured = overhead.measure(self.scale.queues, self.scale.rounds, 200, self.bench.deadline)
        for each in measured:
            self.bench.row(
                part="overhead", what=f"{each.queued:,} queued", scheduler=SALON, queued=each.queued,
                accounts=each.accounts, started=each.started,
                plan_p50_us=each.plan_p50, plan_p99_us=each.plan_p99, report_p50_us=each.report_p50,
                report_p99_us=each.report_p99, n=each.calls,
            )  # fmt: skip
        if not measured:
            return
        most, least = measured[-1], measured[0]
        self.bench.goal(Goal.at_most(f"median plan with {most.queued:,} queued", 100, most.plan_p50, " us"))
        self.bench.goal(
            Goal.at_most(
                f"growth of a plan from {least.queued:,} to {most.queued:,} queued",
                len(str(most.queued)) / len(str(least.queued)), most.plan_p50 / least.plan_p50, "x", "as log n",
            )
        )  # fmt: skip
        whole, ticket = overhead.bytes_per_job(2_000 if self.bench.quick else 20_000)
        self.bench.row(part="memory", what="memory", scheduler=SALON, bytes_per_queued_job=whole, of_it_ticket=ticket)
        self.bench.note(f"a queued job takes {whole:,.0f} bytes, {ticket:,.0f} of them its ticket")
        self._draw("plan_cost", measured)

    def big(self, coming: Future[Big]) -> None:
        """Report on a large cluster, Salon alone, as the other process found it."""
        scale = self.scale
        name = f"{scale.big_workers:,} workers"
        with self.bench.progress(name, 1) as advance:
            found = coming.result(timeout=max(1.0, min(self.bench.deadline.left(), 3600.0)))
            advance("")
        self.violations += [f"{name}: {text}" for text in found.violations]
        self.large = found
        self.bench.row(part="big", what=name, load=BIG_LOAD, **found.row)
        row = found.row
        self.bench.note(
            f"{name}, {row['jobs']:,} jobs of 1 to 4 steps, {row['plans']:,} plans, {row['virtual_s'] / 60:.0f} "
            f"simulated minutes in {row['wall_s']:.0f} s by the wall, {row['cpu_s']:.0f} s of one core, "
            "beside the other parts"
        )
        self.bench.goal(Goal.at_most(f"wall time of {scale.big_jobs:,} jobs", 600, row["wall_s"], " s"))

    def finish(self) -> None:
        """State the goals that every trace has a say in."""
        goal, bench = self.bench.goal, self.bench
        ratios = [run.turbo.predicted for run in self.salon if run.turbo is not None and run.turbo.count]
        if self.large is not None:
            ratios.append(self.large.row["turbo_ratio_predicted_max"])
        note = "largest over all traces, true mean " + f"{self._true_mean():.4f}"
        goal(Goal.at_most("Turbo: predicted t(B) of t({i})", 1.1, max(ratios, default=None), "x", note))
        held = [quantile(run.turbo.held, 0.99) for run in self.salon if run.turbo is not None and run.turbo.held]
        note = "worst p99 of a trace: first step to end, of the same alone"
        goal(Goal.at_most("Turbo: held up by others", 1.1, max(held, default=None), "x", note))
        count = float(len(self.violations))
        checks = "Turbo ratio, Relax share of windows, every job ends once with all its units"
        goal(Goal.at_most("violated inequalities in all traces", 0, count, "", checks))
        padded = float(sum(run.out.padded for run in self.salon))
        goal(Goal.at_most("padded rows", 0, padded, "", "by construction: no contender pads"))
        for text in self.violations[:20]:
            bench.note(f"VIOLATED: {text}")
        limits = ", ".join(f"{lane.value} {OBJECTIVES[lane]:g}x" for lane in LANES)
        bench.note(
            f"objectives, as stretch (time from arrival to end, over the time alone on an idle worker): {limits}"
        )
        bench.note("load 1 is what a cluster that serves one job at a time can just carry")
        if self.drawn:
            bench.note("pictures: " + ", ".join(self.drawn))

    def _true_mean(self) -> float:
        checks = [run.turbo for run in self.salon if run.turbo is not None]
        count = sum(check.count for check in checks)
        return sum(check.true_sum for check in checks) / count if count else 1.0

    def _draw(self, name: str, *what: Any) -> None:
        try:
            from . import plots

            getattr(plots, name)(self.pictures / f"{name}.png", *what)
        except ModuleNotFoundError:
            self.bench.note(f"no picture {name}.png: matplotlib is not installed (pip install 'salon[peers]')")
            return
        self.drawn.append(f"simulate/{name}.png")


def flat(run: Run) -> dict[str, Any]:
    """Return a run's figures as one row, lanes in front of their own."""
    row = run.summary()
    for lane, figures in run.lanes().items():
        row.update({f"{lane}_{name}": value for name, value in figures.items()})
    return row
