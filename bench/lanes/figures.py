"""What a run of the mixed load is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...scheduler.tickets import Lane, Stage
from ..measure import quantile
from ..simulate.physics import Physics
from .drive import Drive


def turbo_ms(drive: Drive) -> list[float]:
    """Return the ms from submission to the last picture, of the Turbo user's jobs; an unfinished one counts with its
    age."""
    jobs = [t for t in drive.trips.values() if t.request.ticket.lane is Lane.TURBO]
    done = [t.ended - t.submitted for t in jobs if t.ended is not None]
    ages = [drive.length - t.submitted for t in jobs if t.ended is None]
    return done + [age for age in ages if not done or age > quantile(done, 0.5)]


def of_run(drive: Drive, physics: Physics) -> dict[str, Any]:
    """Compute the figures of one run. Work is counted in ms of this machine alone, by the measured cost curve."""
    work = samples = 0.0
    shared = units = 0
    fixed_alone = fixed_paid = 0.0
    relax_ms = busy = 0.0
    for start, end, plan in drive.plans:
        tickets = [drive.trips[job].request.ticket for job in plan.jobs]
        alone = [physics.stage_ms(plan.stage, ticket) for ticket in tickets]
        work += sum(alone)
        busy += end - start
        part = sum(ms for ms, ticket in zip(alone, tickets, strict=True) if ticket.lane is Lane.RELAX)
        relax_ms += (end - start) * part / sum(alone)
        if plan.stage is not Stage.STEP:
            continue
        specs = [drive.trips[job].request.spec for job in plan.jobs]
        samples += sum(spec.images * (1 + spec.guided + len(spec.acting_terms)) for spec in specs)
        units += len(plan.jobs)
        shared += len(plan.jobs) > 1
        if plan.lead is not Lane.TURBO:
            fixed_alone += len(plan.jobs) * physics.floor_ms
            fixed_paid += physics.floor_ms
    steps = [entry for entry in drive.plans if entry[2].stage is Stage.STEP]
    waiting = [
        (trip.first if trip.first is not None else drive.length) - trip.submitted
        for trip in drive.trips.values()
        if trip.lane is Lane.RELAX
    ]
    found: dict[str, Any] = {
        "work_rate": work / drive.length,
        "sample_steps_per_s": 1e3 * samples / drive.length,
        "jobs_per_step": units / max(1, len(steps)),
        "fixed_cost_saved": (fixed_alone - fixed_paid) / fixed_alone if fixed_alone else 0.0,
        "relax_share": relax_ms / max(busy, 1e-9),
        "relax_longest_wait_s": max(waiting, default=0.0) / 1e3,
        "plan_us": quantile(drive.planning_us, 0.5),
    }
    for lane in (Lane.FAST, Lane.DRAFT):
        trips = [t for t in drive.trips.values() if t.request.ticket.lane is lane]
        first = [(t.first if t.first is not None else drive.length) - t.submitted for t in trips]
        finish = [(t.ended if t.ended is not None else drive.length) - t.submitted for t in trips]
        found[f"{lane.value}_start_p95_s"] = quantile(first, 0.95) / 1e3 if first else None
        found[f"{lane.value}_finish_p50_s"] = quantile(finish, 0.5) / 1e3 if finish else None
    return found


def available(drive: Drive, physics: Physics) -> tuple[float, float]:
    """Return (efficiency reached, efficiency available) of the steps that Turbo does not lead.

    Efficiency is work alone over time taken, by the cost curve. Available is the same work in steps without end, whose
    fixed cost all jobs share.
    """
    alone = took = floor = 0.0
    for _, _, plan in drive.plans:
        if plan.stage is Stage.STEP and plan.lead is not Lane.TURBO:
            shapes = [drive.trips[job].request.ticket.shape for job in plan.jobs]
            alone += sum(physics.step_ms(shape) for shape in shapes)
            floor += sum(physics.saturated_ms(shape) for shape in shapes)
            took += physics.step_ms(drive.shape(plan))
    return (alone / took, alone / floor) if took else (1.0, 1.0)


def pooled(values: Sequence[Sequence[float]], q: float) -> float | None:
    flat = [v for part in values for v in part]
    return quantile(flat, q) if flat else None
