"""The pictures: PNG files that a stranger can read. matplotlib is asked for only here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .fairness import Difference
from .loop import LANES
from .metrics import OBJECTIVES
from .overhead import Overhead
from .runs import NAMES, SALON, Run

# Okabe and Ito's colours, which the colour-blind tell apart; the markers differ as well.
COLOURS = dict(zip(NAMES, ("#0072B2", "#666666", "#E69F00", "#009E73", "#D55E00"), strict=True))
MARKERS = dict(zip(NAMES, "osD^v", strict=True))
DPI = 110


def style(name: str) -> dict[str, Any]:
    thick = name == SALON
    return {
        "color": COLOURS[name], "label": name, "linewidth": 2.6 if thick else 1.5, "zorder": 5 if thick else 3,
    }  # fmt: skip


@contextmanager
def figure(
    path: Path, rows: int, columns: int, size: tuple[float, float], title: str, *, legend: bool = False
) -> Iterator[list[Any]]:
    """Make axes to draw on; saved when done, with one legend for all of them below if so wished."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    drawn, axes = pyplot.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    try:
        drawn.suptitle(title, fontsize=12, fontweight="bold")
        flat = [axis for line in axes for axis in line]
        for axis in flat:
            axis.grid(True, color="#dddddd", linewidth=0.7)
            axis.set_axisbelow(True)
            axis.spines[["top", "right"]].set_visible(False)
        yield flat
        if legend:
            handles, labels = flat[0].get_legend_handles_labels()
            drawn.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=9, frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn.savefig(path, dpi=DPI, metadata={"Software": None})
    finally:
        pyplot.close(drawn)


def attainment(path: Path, points: Sequence[tuple[float, Run]], where: str) -> None:
    """Draw the share of jobs within the objective against offered load, a panel a lane."""
    title = f"Jobs served within their lane's objective, against offered load ({where})"
    with figure(path, 2, 2, (10, 7.3), title, legend=True) as axes:
        for axis, lane in zip(axes, LANES, strict=True):
            for name in NAMES:
                own = [(load, run.lanes()[lane.value].get("slo")) for load, run in points if run.name == name]
                drawn = [(x, 100 * y) for x, y in own if y is not None]
                axis.plot(*zip(*drawn, strict=True), marker=MARKERS[name], markersize=5, **style(name))
            axis.set_title(
                f"{lane.value.capitalize()}: done within {OBJECTIVES[lane]:g}x of its time alone", fontsize=10
            )
            axis.set_ylim(-3, 103)
            axis.set_ylabel("jobs within objective, %")
            axis.set_xlabel("offered load (1 = what serving one by one can carry)")


def goodput(path: Path, points: Sequence[tuple[float, Run]], where: str) -> None:
    """Draw useful work done while jobs arrive, against offered load."""
    title = f"Work done while jobs arrive, against offered load ({where})"
    with figure(path, 1, 2, (11, 4.9), title, legend=True) as axes:
        for name in NAMES:
            own = [(load, run.summary()) for load, run in points if run.name == name]
            loads = [load for load, _ in own]
            axes[0].plot(
                loads, [s["goodput"] for _, s in own], marker=MARKERS[name], markersize=5, **style(name)
            )  # fmt: skip
            axes[1].plot(
                loads, [100 * (s["gain_reached"] or 0.0) for _, s in own], marker=MARKERS[name], markersize=5,
                **style(name),
            )  # fmt: skip
        axes[0].set_ylabel("useful sample-steps per second")
        axes[0].set_title("Goodput", fontsize=10)
        axes[0].set_ylim(bottom=0)
        axes[1].set_ylabel("share of it reached, %")
        axes[1].set_title("Time that sharing steps can save at most: how much is saved", fontsize=10)
        for axis in axes:
            axis.set_xlabel("offered load (1 = what serving one by one can carry)")


def starts(path: Path, runs: Sequence[Run], where: str) -> None:
    """Draw the distribution of the time from arrival to the first step."""
    title = f"Time from arrival to the first step: share of jobs started ({where})"
    with figure(path, 2, 2, (10, 7.3), title, legend=True) as axes:
        for number, (axis, lane) in enumerate(zip(axes, LANES, strict=True)):
            for run in runs:
                out = run.out
                waits = sorted(
                    max(start / 1e3, 0.01)
                    for start, asked, judged in zip(out.start, out.asked, out.judged, strict=True)
                    if asked == number and judged
                )
                share = [100 * (k + 1) / len(waits) for k in range(len(waits))]
                axis.step(waits, share, where="post", **style(run.name))
            axis.set_xscale("log")
            axis.set_title(lane.value.capitalize(), fontsize=10)
            axis.set_xlabel("seconds from arrival to first step (log)")
            axis.set_ylabel("jobs started by then, %")
            axis.set_ylim(0, 101)


def relax_age(path: Path, flood: Sequence[Run], overload: Sequence[Run], where: str) -> None:
    """Draw the oldest waiting Relax job over time: after a flood of them, and while everything else is too much."""
    title = f"Age of the oldest Relax job that waits to be started ({where})"
    with figure(path, 1, 2, (12, 4.9), title, legend=True) as axes:
        panels = (
            (flood, "A flood of Relax jobs (grey) comes at once"),
            (overload, "All lanes together offer more than fits"),
        )
        for axis, (runs, name) in zip(axes, panels, strict=True):
            for run in runs:
                if run.relax is not None:
                    minutes = [time / 60e3 for time in run.relax.times]
                    axis.plot(minutes, [age / 60e3 for age in run.relax.ages], **style(run.name))
            if not runs:
                continue
            horizon = runs[0].out.horizon / 60e3
            if runs is flood:
                axis.axvspan(0.2 * horizon, 0.3 * horizon, color="#cccccc", alpha=0.6, zorder=1)
            axis.axvline(horizon, color="#999999", linestyle=":", linewidth=1.2, label="arrivals end")
            axis.set_title(f"{name}, load {runs[0].load:g}", fontsize=10)
            axis.set_xlabel("minutes since the start")
            axis.set_ylabel("minutes waited by the oldest")
            axis.set_ylim(bottom=0)


def plan_cost(path: Path, measured: Sequence[Overhead]) -> None:
    """Draw the microseconds of a plan against the length of the queue."""
    with figure(path, 1, 1, (8, 4.8), "What one plan costs, against the length of the queue") as (axis,):
        queued = [each.queued for each in measured]
        for name, label, colour, marker, line in (
            ("plan_p50", "plan, median", "#0072B2", "o", "-"), ("plan_p99", "plan, p99", "#0072B2", "^", "--"),
            ("report_p50", "report, median", "#D55E00", "s", "-"), ("report_p99", "report, p99", "#D55E00", "v", "--"),
        ):  # fmt: skip
            axis.plot(
                queued, [getattr(each, name) for each in measured], marker=marker, color=colour, linestyle=line,
                label=label,
            )  # fmt: skip
        axis.axhline(100, color="#666666", linestyle=":", label="goal for a plan: 100 µs")
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter("")
        axis.set_yticks([10, 20, 50, 100, 200, 500], minor=False)
        axis.xaxis.set_major_formatter("{x:,.0f}")
        axis.set_xlabel(f"queued jobs (up to {max(e.accounts for e in measured):,} accounts; 64 jobs started)")
        axis.set_ylabel("microseconds of the scheduler")
        axis.legend(fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def differences(path: Path, found: Sequence[tuple[str, Difference]]) -> None:
    """Draw the largest difference of service between two accounts that always have work waiting."""
    title = "Largest difference of work done for two accounts that always have work waiting"
    with figure(path, 1, 1, (9, 3.6), title) as (axis,):
        names = [name for name, _ in found][::-1]
        seconds = [each.true / 1e3 for _, each in found][::-1]
        bars = axis.barh(names, seconds, color=[COLOURS[name] for name in names])
        axis.bar_label(bars, labels=[f"{value:,.1f} s" for value in seconds], padding=4, fontsize=9)
        unit = max(each.unit for _, each in found) / 1e3
        axis.axvline(unit, color="#000000", linestyle=":", label=f"largest single step: {unit:.1f} s")
        axis.set_xscale("log")
        work = min(each.total for _, each in found) / 1e3
        axis.set_xlabel(f"seconds (log), in {work:,.0f} s of work of one worker for 8 accounts with unlike jobs")
        axis.margins(x=0.2)
        axis.legend(fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
