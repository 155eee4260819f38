"""A scheduler on the real engine, in real time: submit what has arrived, plan, run the plan, report."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ...engine.engine import Engine
from ...engine.generation import Generation, State
from ...scheduler.tickets import BatchPlan, Final, Lane, Stage, StepShape
from ...scheduler.workers import WorkerSpec
from .load import Load, Request

WORKER = "cpu"


@dataclass
class Trip:
    """A job's way."""

    request: Request
    lane: Lane
    submitted: float
    first: float | None = None  # start of its first step
    ended: float | None = None


@dataclass
class Drive:
    """What happened. Times in ms from the start of the run.

    Attributes:
        trips: by job.
        plans: (start, end, plan) in order.
        idle: ms without work.
    """

    trips: dict[str, Trip] = field(default_factory=dict)
    plans: list[tuple[float, float, BatchPlan]] = field(default_factory=list)
    planning_us: list[float] = field(default_factory=list)
    idle: float = 0.0
    length: float = 0.0

    def shape(self, plan: BatchPlan) -> StepShape:
        shapes = [self.trips[job].request.ticket.shape for job in plan.jobs]
        return sum(shapes[1:], start=shapes[0])


class Device:
    """Runs plans on an engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.open: dict[str, Generation] = {}

    def run(self, plan: BatchPlan, specs: dict[str, Any]) -> None:
        if plan.stage is Stage.ENCODE:
            (job,) = plan.jobs
            self.open[job] = self.engine.open(specs[job])
        elif plan.stage is Stage.STEP:
            self.engine.step([self.open[job] for job in plan.jobs])
        else:
            self.engine.decode(self.open[plan.jobs[0]], plan.piece)

    def close(self, job: str) -> None:
        generation = self.open.pop(job)
        assert generation.state is not State.FAILED, generation.error
        self.engine.close(generation)

    def close_all(self) -> None:
        for job in list(self.open):
            self.engine.close(self.open.pop(job))


def drive(
    scheduler: Any,
    engine: Engine,
    load: Load,
    seconds: float,
    *,
    others: bool = True,
    turbo: bool = True,
    show: Callable[[float, Drive], None] = lambda now, so_far: None,
) -> Drive:
    """Run a load for so many seconds; what has not ended by then is given up. `others`: all but the Turbo user."""
    device, out = Device(engine), Drive()
    scheduler.add_worker(WorkerSpec(WORKER), 0.0)
    coming = list(reversed(load.requests)) if others else []
    turbo_at: float | None = 100.0 if turbo else None
    began = time.perf_counter()

    def now() -> float:
        return 1e3 * (time.perf_counter() - began)

    def submit(request: Request) -> None:
        at = now()
        admitted = scheduler.submit(request.ticket, at)
        out.trips[request.ticket.job] = Trip(request, admitted.lane, at)

    def end(finals: list[Final]) -> None:
        nonlocal turbo_at
        for final in finals:
            trip = out.trips[final.job]
            trip.ended = now()
            device.close(final.job)
            if trip.request.ticket.lane is Lane.TURBO:
                turbo_at = trip.ended + load.pause()

    try:
        while (at := now()) < 1e3 * seconds:
            show(at, out)
            while coming and coming[-1].time <= at:
                submit(coming.pop())
            if turbo_at is not None and turbo_at <= at:
                turbo_at = None
                submit(load.turbo(at))
            before = time.perf_counter()
            plan = scheduler.plan(WORKER, now())
            out.planning_us.append(1e6 * (time.perf_counter() - before))
            if plan is None:
                again = scheduler.retry_at(WORKER) if hasattr(scheduler, "retry_at") else None
                ahead = [t for t in (coming[-1].time if coming else None, turbo_at, again) if t is not None]
                pause = min([*ahead, at + 50.0]) - at
                out.idle += pause
                time.sleep(max(0.0, pause) / 1e3)
                continue
            start = now()
            if plan.stage is Stage.STEP:
                for job in plan.jobs:
                    trip = out.trips[job]
                    trip.first = start if trip.first is None else trip.first
            device.run(plan, load.specs)
            stop = now()
            out.plans.append((start, stop, plan))
            end(scheduler.report(plan, stop - start, stop))
    finally:
        device.close_all()
    out.length = now()
    return out
