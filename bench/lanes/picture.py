"""The demonstration's picture: who had the device when, lane by lane."""

from __future__ import annotations

from pathlib import Path

from ...scheduler.tickets import Lane, Stage
from .drive import Drive

COLOURS = {Lane.TURBO: "#D55E00", Lane.FAST: "#0072B2", Lane.DRAFT: "#E69F00", Lane.RELAX: "#009E73"}
MOST = 14  # jobs of a lane that are drawn


def timeline(path: Path, drives: list[tuple[str, Drive]], seconds: float) -> None:
    """Draw one panel a scheduler: a line a job, from its submission (thin) through its units (thick) to its end
    (dot)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.lines import Line2D

    drawn, axes = pyplot.subplots(
        len(drives), 1, figsize=(11, 0.4 + 4.2 * len(drives)), layout="constrained", squeeze=False, sharex=True
    )
    drawn.suptitle(
        f"Four lanes on one device, the first {seconds:g} s: one line a job, thick while it is served",
        fontweight="bold",
    )
    end = 1e3 * seconds
    for axis, (name, drive) in zip(axes[:, 0], drives, strict=True):
        rows: dict[str, int] = {}
        labels: list[tuple[float, Lane]] = []
        for lane in reversed(Lane):
            jobs = [
                (job, trip) for job, trip in drive.trips.items()
                if trip.request.ticket.lane is lane and trip.submitted < end
            ]  # fmt: skip
            first = len(rows)
            served = sorted(jobs, key=lambda entry: (entry[1].first is None, entry[1].submitted))
            for job, trip in served[:MOST]:
                y = rows[job] = len(rows)
                last = end if trip.ended is None else min(end, trip.ended)
                axis.plot([trip.submitted / 1e3, last / 1e3], [y, y], color=COLOURS[lane], lw=0.6, alpha=0.6)
                if trip.ended is not None and trip.ended < end:
                    axis.plot([trip.ended / 1e3], [y], "o", color=COLOURS[lane], ms=3.5)
            if len(rows) > first:
                labels.append(((first + len(rows) - 1) / 2, lane))
        for start, stop, plan in drive.plans:
            if start > end:
                break
            for job in plan.jobs:
                if job in rows:
                    colour = COLOURS[drive.trips[job].request.ticket.lane]
                    alpha = 1.0 if plan.stage is Stage.STEP else 0.45
                    axis.plot([start / 1e3, stop / 1e3], [rows[job]] * 2, color=colour, lw=4, alpha=alpha,
                              solid_capstyle="butt")  # fmt: skip
        axis.set_yticks([y for y, _ in labels], [lane.value.capitalize() for _, lane in labels])
        axis.set_title(name, loc="left", fontsize=11)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1, 0].set_xlabel("seconds")
    handles = [
        Line2D([], [], color="#444444", lw=4, label="a unit of work (paler: encoding or decoding)"),
        Line2D([], [], color="#444444", lw=0.6, label="waits"),
        Line2D([], [], color="#444444", lw=0, marker="o", ms=3.5, label="pictures delivered"),
    ]
    drawn.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(drawn)
