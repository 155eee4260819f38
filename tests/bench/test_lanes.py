"""The mixed load on the real engine: small, but whole."""

from __future__ import annotations

import numpy as np
import pytest

from salon.bench.batch import adapter_branch
from salon.bench.lanes import figures
from salon.bench.lanes.curve import FITTED, measure
from salon.bench.lanes.drive import drive
from salon.bench.lanes.load import ADAPTER_TOKENS, NUM_ADAPTERS, Load
from salon.bench.simulate.baselines import BASELINES
from salon.bench.simulate.physics import CPU
from salon.engine.engine import Engine
from salon.scheduler.scheduler import Scheduler
from salon.scheduler.tickets import Lane, Stage
from salon.studio.tickets import Profile


@pytest.fixture(scope="module")
def engine() -> Engine:
    engine = Engine.load(threads=1)
    flux = engine.model.flux
    engine.add_branch(adapter_branch(flux.num_double_blocks, flux.width, flux.width))
    for k in range(NUM_ADAPTERS):
        engine.register_adapter(f"style{k}", np.zeros((ADAPTER_TOKENS, flux.width), np.float32))
    return engine


def test_a_load_is_the_same_under_a_seed(engine: Engine) -> None:
    profile = Profile.of(engine)
    one, two = (Load(profile, CPU.solo_ms, 2.0, 3) for _ in range(2))
    assert [r.ticket for r in one.requests] == [r.ticket for r in two.requests]
    assert {r.ticket.lane for r in one.requests} == {Lane.FAST, Lane.DRAFT, Lane.RELAX}
    assert one.requests != Load(profile, CPU.solo_ms, 2.0, 4).requests


@pytest.mark.parametrize("number", range(len(BASELINES) + 1))
def test_every_scheduler_drives_the_engine(engine: Engine, number: int) -> None:
    load = Load(Profile.of(engine), CPU.solo_ms, 1.0, 0)
    scheduler = Scheduler() if number == len(BASELINES) else BASELINES[number](CPU, load.traits)
    done = drive(scheduler, engine, load, 1.0)
    assert engine.num_open == 0
    assert done.length >= 1000
    steps = [plan for _, _, plan in done.plans if plan.stage is Stage.STEP]
    assert steps
    assert all(end > start for start, end, _ in done.plans)
    for job, trip in done.trips.items():
        taken = sum(job in plan.jobs for plan in steps)
        assert taken <= trip.request.ticket.steps
        assert trip.ended is None or taken == trip.request.ticket.steps
    found = figures.of_run(done, CPU)
    assert found["jobs_per_step"] >= 1
    assert found["work_rate"] > 0
    reached, available = figures.available(done, CPU)
    assert 1 <= reached <= available or not any(plan.lead is not Lane.TURBO for plan in steps)


def test_the_cost_curve(engine: Engine) -> None:
    rows, physics, model = measure(engine, quick=True)
    assert all(row["step_ms"] > 0 and row["efficiency"] > 0 for row in rows)
    assert model.observations == len(rows) * FITTED
    assert physics.row_ms > 0
