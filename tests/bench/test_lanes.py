"""The mixed load on the real engine: small, but whole."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from salon.bench.lanes import figures
from salon.bench.lanes.__main__ import register
from salon.bench.lanes.drive import drive
from salon.bench.lanes.load import Load
from salon.bench.simulate.baselines import BASELINES
from salon.bench.simulate.physics import CPU
from salon.engine.engine import Engine
from salon.scheduler.scheduler import Scheduler
from salon.scheduler.tickets import Lane, Stage
from salon.studio.workers.worker import info_of


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load(threads=1)


@pytest.fixture(scope="module")
def adapters(engine: Engine) -> dict[str, int]:
    return register(engine)


def test_a_load_is_the_same_under_a_seed(engine: Engine, adapters: dict[str, int]) -> None:
    info = info_of(engine)
    one, two = (Load(info, CPU.solo_ms, 2.0, 3, adapters) for _ in range(2))
    assert [r.ticket for r in one.requests] == [r.ticket for r in two.requests]
    assert {r.ticket.lane for r in one.requests} == {Lane.FAST, Lane.DRAFT, Lane.RELAX}
    assert {use.adapter for r in one.requests for use in r.spec.adapters} == set(adapters)
    assert one.requests != Load(info, CPU.solo_ms, 2.0, 4, adapters).requests


class Forgiving:
    """A clock that leaves out what takes longer than it should, such as a step on a busy machine."""

    MOST_S = 0.05

    def __init__(self) -> None:
        self._told, self._last = 0.0, time.perf_counter()

    def __call__(self) -> float:
        now = time.perf_counter()
        self._told += min(now - self._last, self.MOST_S)
        self._last = now
        return self._told


@pytest.mark.parametrize("number", range(len(BASELINES) + 1))
def test_every_scheduler_drives_the_engine(
    engine: Engine, adapters: dict[str, int], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    clock = SimpleNamespace(perf_counter=Forgiving(), sleep=time.sleep)
    monkeypatch.setattr("salon.bench.lanes.drive.time", clock)
    load = Load(info_of(engine), CPU.solo_ms, 1.0, 0, adapters)
    scheduler = Scheduler() if number == len(BASELINES) else BASELINES[number](CPU, load.traits)
    done = drive(scheduler, engine, load, 1.0)
    assert engine.num_open == 0
    assert done.length >= 1000
    steps = [plan for _, _, plan in done.plans if plan.stage is Stage.STEP]
    assert steps
    assert all(end > start for start, end, _ in done.plans)
    for job, trip in done.trips.items():
        taken = sum(job in plan.jobs for plan in steps)
        assert taken <= trip.request.ticket.count(Stage.STEP)
        assert trip.ended is None or taken == trip.request.ticket.count(Stage.STEP)
    found = figures.of_run(done, CPU)
    assert found["jobs_per_step"] >= 1
    assert found["work_rate"] > 0
    reached, available = figures.available(done, CPU)
    assert 1 <= reached <= available or not any(plan.lead is not Lane.TURBO for plan in steps)
