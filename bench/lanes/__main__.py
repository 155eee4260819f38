"""Four lanes living together on this machine: the real engine, real steps, the real scheduler, beside four baselines.

`python -m salon.bench.lanes [--quick] [--threads N] [--seconds S] [--rounds N] [--out DIR]`

A Turbo user, Fast and Draft jobs and a Relax backlog, of mixed sizes, steps, guidance and adapters, share one engine.
Every scheduler gets the same seeded load, in turns, each round beginning with another one; in each round the Turbo user
also has the machine alone. Results go to lanes.json, the picture of the first seconds to lanes/timeline.png.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from statistics import median
from typing import Any

from ...engine.engine import Engine
from ...scheduler.scheduler import Scheduler
from ...scheduler.tickets import Lane
from ...studio.workers.worker import info_of
from ..adapters import Shipped, random_branch, random_tokens
from ..measure import quantile
from ..report import Goal
from ..runner import Bench, positive, run
from ..simulate.baselines import BASELINES
from ..simulate.physics import Physics
from . import figures
from .curve import measure
from .drive import Drive, drive
from .load import ADAPTER_TOKENS, NUM_ADAPTERS, NUM_STYLES, Load
from .picture import timeline

SALON = "Salon"
ALONE = "Turbo alone"
COLUMNS = [
    ["job", "together", "rows", "step_ms", "predicted_ms", "efficiency"],
    ["scheduler", "turbo_p50_ms", "turbo_p99_ms", "turbo_p99_ratio", "turbo_jobs", "work_rate", "sample_steps_per_s",
     "jobs_per_step", "fixed_cost_saved"],
    ["scheduler", "fast_start_p95_s", "fast_finish_p50_s", "draft_start_p95_s", "draft_finish_p50_s", "relax_share",
     "relax_longest_wait_s", "plan_us"],
]  # fmt: skip


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=positive, help="of a run (default: 30; --quick: 5)")
    parser.add_argument("--rounds", type=positive, help="runs of each scheduler (default: 3; --quick: 1)")


class Contest:
    """All runs of all schedulers."""

    def __init__(self, bench: Bench, engine: Engine, physics: Physics, adapters: dict[str, int]) -> None:
        self.bench, self.engine, self.physics, self.adapters = bench, engine, physics, adapters
        self.info = info_of(engine)
        self.seconds: float = bench.options.seconds or bench.pick(0.6, 5, 30)
        self.rounds: int = bench.options.rounds or (1 if bench.quick else 3)
        self.names = [SALON, *(baseline.name for baseline in BASELINES)]
        self.drives: dict[str, list[Drive]] = {name: [] for name in [*self.names, ALONE]}

    def scheduler(self, name: str, load: Load) -> Any:
        if name in (SALON, ALONE):
            return Scheduler()
        return next(baseline for baseline in BASELINES if baseline.name == name)(self.physics, load.traits)

    def run(self) -> None:
        with self.bench.progress("mixed load", self.rounds * (len(self.names) + 1)) as advance:
            for number in range(self.rounds):
                turn = number % len(self.names)
                for name in [ALONE, *self.names[turn:], *self.names[:turn]]:
                    seconds = self.seconds if name != ALONE else self.seconds / 2  # the Turbo user then has it alone
                    if not self.bench.deadline.allows(seconds):
                        return
                    load = Load(self.info, self.physics.solo_ms, self.seconds, number, self.adapters)
                    scheduler = self.scheduler(name, load)
                    done = drive(scheduler, self.engine, load, seconds, others=name != ALONE)
                    self.drives[name].append(done)
                    advance(name)

    def report(self) -> None:
        idle = figures.pooled([figures.turbo_ms(d) for d in self.drives[ALONE]], 0.99)
        rows: dict[str, dict[str, Any]] = {}
        for name, drives in self.drives.items():
            if not drives:
                continue
            turbo = [figures.turbo_ms(d) for d in drives]
            p99 = figures.pooled(turbo, 0.99)
            parts = [figures.of_run(d, self.physics) for d in drives]
            numbers = {key: _median([part[key] for part in parts]) for key in parts[0]}
            rows[name] = self.bench.row(
                part="mixed load", scheduler=name, runs=len(drives), seconds=self.seconds,
                turbo_jobs=sum(map(len, turbo)), turbo_p50_ms=figures.pooled(turbo, 0.5), turbo_p99_ms=p99,
                turbo_p99_ratio=p99 / idle if p99 and idle else None, **numbers,
            )  # fmt: skip
        self._goals(rows)

    def _goals(self, rows: dict[str, dict[str, Any]]) -> None:
        bench, mine = self.bench, rows.get(SALON)
        if mine is None:
            return
        reached = [figures.available(d, self.physics) for d in self.drives[SALON]]
        got, most = median(r for r, _ in reached), median(a for _, a in reached)
        note = (
            f"steps not led by Turbo, by the cost curve: {got:.3f}x of one by one, of {most:.3f}x in steps without end;"
            f" of the difference to one by one {(got - 1) / max(most - 1, 1e-9):.0%}"
        )
        bench.goal(Goal.at_least("share of the batching gain that the cost curve has", 0.9, got / most, note=note))
        bench.goal(Goal.at_most("Turbo p99 against an idle machine", 1.15, mine["turbo_p99_ratio"], "x"))
        share = min(figures.of_run(d, self.physics)["relax_share"] for d in self.drives[SALON])
        bench.goal(Goal.at_least("Relax's share of the device, least run", 0.045, share, note="promised: 5 %"))
        rivals = [row for name, row in rows.items() if name not in (SALON, ALONE)]
        for key, better, what in (
            ("work_rate", max, "goodput against the best baseline"),
            ("turbo_p99_ms", min, "Turbo p99 of the best baseline against Salon's"),
        ):
            values = [row[key] for row in rivals if row[key]]
            if values and mine[key]:
                best = better(values)
                ratio = mine[key] / best if better is max else best / mine[key]
                name = next(row["scheduler"] for row in rivals if row[key] == best)
                bench.goal(Goal.at_least(what, 1.0, ratio, "x", note=f"best: {name}"))


def _median(values: list[Any]) -> float | None:
    known = [v for v in values if v is not None]
    return median(known) if known else None


def body(bench: Bench) -> None:
    bench.use("matplotlib")
    bench.columns = COLUMNS
    engine = Engine.load(threads=bench.threads)
    adapters = register(engine)
    bench.console.print("measuring what steps cost on this machine; then the mixed load, for each scheduler in turn")
    rows, physics, model = measure(engine, quick=bench.quick)
    for row in rows:
        bench.row(**row)
    bench.note(
        f"a step costs {model.fixed_ms:.2f} ms and {1e3 * physics.row_ms:.1f} us a row; in the mixed load, work_rate "
        "is the work done, in ms of each job alone on an idle machine, over the time it took"
    )
    contest = Contest(bench, engine, physics, adapters)
    contest.run()
    contest.report()
    shown = [(name, contest.drives[name][0]) for name in contest.names[:2] if contest.drives[name]]
    if shown:
        bench.console.print(_story(contest))
        draw(bench, shown, min(contest.seconds, 6.0))


def draw(bench: Bench, shown: list[tuple[str, Drive]], seconds: float) -> None:
    """Draw the first seconds of these runs, or note that there is nothing to draw with."""
    path = bench.options.out / "lanes" / "timeline.png"
    try:
        timeline(path, shown, seconds)
    except ModuleNotFoundError:
        bench.note(f"no picture {path.name}: matplotlib is not installed (pip install 'salon[peers]')")
        return
    bench.console.print(f"picture of the first seconds: {path}")


def register(engine: Engine) -> dict[str, int]:
    """Give an engine random adapters and styles of the shipped one; tokens of each by name."""
    sizes = engine.model.architecture
    engine.add_branch(random_branch(sizes.adapter_layers, sizes.adapter_width, sizes.adapter_width))
    counts = {f"style{k}": ADAPTER_TOKENS for k in range(NUM_ADAPTERS)}
    for name, tokens in zip(counts, random_tokens(engine, list(counts.values()), 0.2), strict=True):
        engine.register_adapter(name, tokens)
    shipped = Shipped.of(engine)
    return counts | dict.fromkeys(shipped.register(engine, NUM_STYLES), len(shipped.null))


def _story(contest: Contest) -> str:
    """Tell what happened, in words."""
    lines = [f"{contest.seconds:g} s of four lanes on one engine, with Salon's scheduler:"]
    for done in contest.drives[SALON][:1]:
        for lane in Lane:
            trips = [t for t in done.trips.values() if t.request.ticket.lane is lane]
            ended = [t.ended - t.submitted for t in trips if t.ended is not None]
            first = [t.first - t.submitted for t in trips if t.first is not None]
            text = f"  {lane.value:<6} {len(trips):>4} submitted, {len(ended):>4} delivered"
            if ended and first:
                text += (
                    f"; first step after {quantile(first, 0.5):.0f} ms, pictures after {quantile(ended, 0.5):.0f} ms"
                )
            lines.append(text)
    return "\n".join(lines)


main = partial(run, "lanes", (__doc__ or "").splitlines()[0], body, arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
