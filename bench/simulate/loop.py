"""The virtual clock: arrivals and finished plans in order of time, idle workers woken when there is something for them.

The scheduler under test is driven as the studio drives it: `submit`, `plan`, `report`. It sees measured times only:
true times from a `Physics`, with seeded noise. A real clock is read only to time the scheduler's own calls.
"""

from __future__ import annotations

import random
import time
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Protocol

from ...scheduler.tickets import Admitted, BatchPlan, Ended, Final, Lane, Stage, StepShape, Ticket
from ...scheduler.workers import WorkerSpec
from .traces import Trace

LANES = (Lane.TURBO, Lane.FAST, Lane.DRAFT, Lane.RELAX)
NUMBER = {lane: number for number, lane in enumerate(LANES)}
NOISE = 0.02  # relative standard deviation of a measured time


class Driven(Protocol):
    """What the loop asks of a scheduler: `salon.scheduler.Scheduler`, or a `Baseline`."""

    def add_worker(self, spec: WorkerSpec, now: float) -> None: ...
    def submit(self, ticket: Ticket, now: float) -> Admitted: ...
    def plan(self, worker: str, now: float) -> BatchPlan | None: ...
    def report(self, plan: BatchPlan, elapsed_ms: float, now: float) -> list[Final]: ...
    @property
    def num_queued(self) -> int: ...
    @property
    def num_started(self) -> int: ...
    @property
    def busy(self) -> bool: ...


class Life:
    """A job from its arrival to its end, as the outside sees it."""

    __slots__ = ("arrival", "first", "lane", "solo", "started", "steps", "ticket", "units")

    def __init__(self, ticket: Ticket, lane: Lane, arrival: float, solo: float) -> None:
        self.ticket, self.lane, self.arrival, self.solo = ticket, lane, arrival, solo
        self.first = -1.0  # when its first step began
        self.started = False  # it was in a plan
        self.steps = self.units = 0


class Watch:
    """Looks on. `before` is called with a plan before it runs, `after` when it has run and before it is reported."""

    def submitted(self, life: Life, now: float) -> None: ...
    def before(self, plan: BatchPlan, lives: list[Life], now: float) -> None: ...
    def after(self, plan: BatchPlan, lives: list[Life], elapsed: float, now: float) -> None: ...
    def ended(self, life: Life, now: float) -> None: ...


@dataclass
class Outcome:
    """What a run came to. Columns have one entry a finished job, in order of finishing.

    Attributes:
        asked, served: number of the lane in `LANES`.
        judged: 0 for the jobs of an abusive account, whose own waiting is not held against anybody.
        start: ms from arrival to the first step.
        finish: ms from arrival to the end.
        solo: ms alone.
        horizon, end: time of the last possible arrival, and of the last finish.
        useful: sample-steps done up to `horizon`.
        step_busy, step_alone, step_floor: up to `horizon`, ms of step plans; of their jobs' steps alone; of the same
            steps in batches without end.
        plans, busy: number of plans, and ms that workers were busy.
        scheduler_s, wall_s, cpu_s: CPU seconds of the scheduler's calls; of the whole run by the wall and of the CPU.
        padded: rows that were computed and not asked for.
        wrong: jobs that did not end exactly once with all their units done, in words.
    """

    asked: array[int] = field(default_factory=lambda: array("b"))
    served: array[int] = field(default_factory=lambda: array("b"))
    judged: array[int] = field(default_factory=lambda: array("b"))
    start: array[float] = field(default_factory=lambda: array("d"))
    finish: array[float] = field(default_factory=lambda: array("d"))
    solo: array[float] = field(default_factory=lambda: array("d"))
    horizon: float = 0.0
    end: float = 0.0
    useful: int = 0
    step_busy: float = 0.0
    step_alone: float = 0.0
    step_floor: float = 0.0
    plans: int = 0
    busy: float = 0.0
    scheduler_s: float = 0.0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    padded: int = 0
    wrong: list[str] = field(default_factory=list)


class Simulation:
    """One run of one trace. `run()` once."""

    def __init__(
        self,
        trace: Trace,
        scheduler: Driven,
        workers: int,
        *,
        seed: int = 0,
        noise: float = NOISE,
        watches: tuple[Watch, ...] = (),
        spec: Callable[[str], WorkerSpec] = lambda name: WorkerSpec(name),
        on_jobs: Callable[[int], None] | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.trace, self.scheduler, self.physics = trace, scheduler, trace.physics
        self.draw, self.noise, self.watches = random.Random(seed), noise, watches
        self.names = [f"w{number}" for number in range(workers)]
        for name in self.names:
            scheduler.add_worker(spec(name), 0.0)
        self.idle: dict[str, None] = dict.fromkeys(self.names)
        self.views: Mapping[str, Any] = getattr(scheduler, "workers", {})
        self.retry: Callable[[str], float | None] | None = getattr(scheduler, "retry_at", None)
        self.events: list[tuple[float, int, str, BatchPlan | None, float]] = []
        self.lives: dict[str, Life] = {}
        self.out = Outcome(horizon=trace.horizon)
        self.on_jobs, self.stop = on_jobs, stop
        self.seq = 0

    def run(self) -> Outcome:
        began, cpu = time.perf_counter(), time.process_time()
        arrivals = iter(self.trace)
        upcoming = next(arrivals, None)
        submitted = 0
        while upcoming is not None or self.events:
            if upcoming is not None and (not self.events or upcoming[0] <= self.events[0][0]):
                self._arrive(upcoming[1], upcoming[0])
                upcoming = next(arrivals, None)
                submitted += 1
                if submitted % 256 == 0:
                    if self.on_jobs is not None:
                        self.on_jobs(submitted)
                    if self.stop():
                        break
                continue
            now, _, worker, plan, elapsed = heappop(self.events)
            if plan is None:
                if worker in self.idle:
                    self._ask(worker, now)
            else:
                self._finish(worker, plan, elapsed, now)
            if not self.events and upcoming is None and self.scheduler.busy:
                for name in list(self.idle):
                    self._ask(name, now)
        self.out.wrong += [f"job {job} never ended" for job in list(self.lives)[:20]]
        self.out.wall_s = time.perf_counter() - began
        self.out.cpu_s = time.process_time() - cpu
        return self.out

    def _arrive(self, ticket: Ticket, now: float) -> None:
        start = time.process_time()
        admitted = self.scheduler.submit(ticket, now)
        self.out.scheduler_s += time.process_time() - start
        life = self.lives[ticket.job] = Life(ticket, admitted.lane, now, self.physics.solo_ms(ticket))
        for watch in self.watches:
            watch.submitted(life, now)
        if not self.idle:
            return
        if admitted.lane is Lane.TURBO and self.views:  # it has its place already
            for name in self.idle:
                turbo = self.views[name].turbo
                if turbo is not None and (turbo == ticket.job or turbo.ticket.job == ticket.job):
                    self._ask(name, now)
                    return
            return
        self._ask(next(iter(self.idle)), now)

    def _finish(self, worker: str, plan: BatchPlan, elapsed: float, now: float) -> None:
        out, lives = self.out, [self.lives[job] for job in plan.jobs]
        for watch in self.watches:
            watch.after(plan, lives, elapsed, now)
        start = time.process_time()
        finals = self.scheduler.report(plan, elapsed, now)
        out.scheduler_s += time.process_time() - start
        out.busy += elapsed
        step = plan.stage is Stage.STEP
        for life in lives:
            life.units += 1
            if step:
                life.steps += 1
                if now <= out.horizon:
                    out.useful += self.trace.of(life.ticket.job).samples
        for final in finals:
            self._end(final, now)
        self._ask(worker, now)
        if self.idle and ((finals and self.scheduler.num_queued) or self._left_behind(worker)):
            # a place has come free, or a started job waits behind another: an idle worker may take it over
            self._ask(next(iter(self.idle)), now)

    def _left_behind(self, worker: str) -> bool:
        """Return whether a worker has started jobs that are not in its plan."""
        view = self.views.get(worker)
        return view is not None and view.plan is not None and len(view.seats) > len(view.plan.jobs)

    def _end(self, final: Final, now: float) -> None:
        out, life = self.out, self.lives.pop(final.job, None)
        if life is None:
            out.wrong.append(f"job {final.job} ended twice, or was never submitted")
            return
        ticket = life.ticket
        if final.ended is not Ended.DONE:
            out.wrong.append(f"job {final.job} ended as {final.ended}: {final.reason}")
        steps, units = ticket.count(Stage.STEP), sum(work.count for work in ticket.stages)
        if life.steps != steps or life.units != units:
            out.wrong.append(f"job {final.job} ended after {life.steps} of {steps} steps, {life.units} units")
        out.asked.append(NUMBER[ticket.lane])
        out.served.append(NUMBER[life.lane])
        out.judged.append(self.trace.account[int(final.job)] != self.trace.abuser)
        out.start.append(life.first - life.arrival)
        out.finish.append(now - life.arrival)
        out.solo.append(life.solo)
        out.end = now
        for watch in self.watches:
            watch.ended(life, now)

    def _ask(self, worker: str, now: float) -> None:
        """Give a worker its next plan, or note that it is idle."""
        out, physics = self.out, self.physics
        start = time.process_time()
        plan = self.scheduler.plan(worker, now)
        out.scheduler_s += time.process_time() - start
        self.seq += 1
        if plan is None:
            self.idle[worker] = None
            if self.retry is not None and (at := self.retry(worker)) is not None:
                heappush(self.events, (max(at, now), self.seq, worker, None, 0.0))
            return
        self.idle.pop(worker, None)
        out.plans += 1
        lives = [self.lives[job] for job in plan.jobs]
        for watch in self.watches:
            watch.before(plan, lives, now)
        if plan.stage is Stage.ENCODE:
            lives[0].started = True
        true = self._step(lives, now) if plan.stage is Stage.STEP else physics.stage_ms(plan.stage, lives[0].ticket)
        if self.noise:
            true *= min(1.5, max(0.8, self.draw.gauss(1.0, self.noise)))
        heappush(self.events, (now + true, self.seq, worker, plan, true))

    def _step(self, lives: list[Life], now: float) -> float:
        out, physics = self.out, self.physics
        alone = floor = 0.0
        shape = StepShape(0, 0)
        for life in lives:
            own = life.ticket.shape
            alone += physics.step_ms(own)
            floor += physics.saturated_ms(own)
            shape = own if len(lives) == 1 else shape + own
            if life.first < 0:
                life.first = now
        true = physics.step_ms(shape)
        if now <= out.horizon:
            out.step_busy += true
            out.step_alone += alone
            out.step_floor += floor
        return true
