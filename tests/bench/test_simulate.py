"""The simulator: every contender ends every job once and loses no step; the stated physics is that of its sources."""

from dataclasses import replace

import pytest

from salon.bench.simulate import fairness
from salon.bench.simulate.checks import Backlog, RelaxCheck, TurboCheck
from salon.bench.simulate.loop import LANES, Life, Simulation
from salon.bench.simulate.metrics import attainment, jain, of_lane, reached_gain
from salon.bench.simulate.overhead import Standing, bytes_per_job
from salon.bench.simulate.physics import CPU, H200
from salon.bench.simulate.runs import NAMES, SALON, contender, simulate
from salon.bench.simulate.suite import FEW_STEPS
from salon.bench.simulate.traces import NAMES as TRACES
from salon.bench.simulate.traces import Trace, make
from salon.scheduler.policy import Policy
from salon.scheduler.tickets import BatchPlan, Lane, Stage, StepShape, Ticket, drawing


@pytest.fixture(scope="module")
def trace() -> Trace:
    return make("poisson", H200, jobs=20, workers=2, load=1.2)


@pytest.mark.parametrize("name", NAMES)
def test_every_job_ends_once_with_all_its_steps(name: str, trace: Trace) -> None:
    run = simulate(name, trace, 2)
    assert run.violations == []
    assert len(run.out.finish) == len(trace) == 20
    # with no horizon every step counts as useful: sample-steps are conserved
    everything = replace(trace, horizon=1e12)
    out = Simulation(everything, contender(name, everything), 2).run()
    assert out.useful == sum(k.samples * k.steps for k in (trace.kinds[i] for i in trace.kind))
    assert out.padded == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_the_same_run(name: str, trace: Trace) -> None:
    first, second = (Simulation(trace, contender(name, trace), 2, seed=3).run() for _ in range(2))
    assert list(first.finish) == list(second.finish)
    assert list(first.start) == list(second.start)


@pytest.mark.parametrize("name", NAMES)
def test_nobody_runs_more_jobs_than_his_limit(name: str) -> None:
    trace = make("abusive", H200, jobs=30, workers=2, load=1.0)
    running: dict[tuple[str, bool], int] = {}
    worst: list[int] = []

    class Limits(Backlog):
        def before(self, plan: BatchPlan, lives: list[Life], now: float) -> None:
            if plan.stage is Stage.ENCODE:
                who = lives[0].ticket.account, lives[0].lane is Lane.RELAX
                running[who] = running.get(who, 0) + 1
                worst.append(running[who] - lives[0].ticket.max_running)

        def ended(self, life: Life, now: float) -> None:
            running[life.ticket.account, life.lane is Lane.RELAX] -= 1

    Simulation(trace, contender(name, trace), 2, watches=(Limits(),)).run()
    assert max(worst) <= 0


@pytest.mark.parametrize("name", TRACES)
def test_traces_offer_the_load_that_was_asked_for(name: str) -> None:
    trace = make(name, H200, jobs=200, workers=3, load=0.8, seed=5)
    solo = sum(H200.solo_ms(ticket) for _, ticket in trace)
    assert solo / (3 * trace.horizon) == pytest.approx(0.8)
    assert list(trace.arrivals) == sorted(trace.arrivals)
    assert 0 <= trace.arrivals[0] <= trace.arrivals[-1] <= trace.horizon
    assert list(trace) == list(make(name, H200, jobs=200, workers=3, load=0.8, seed=5))
    assert list(trace) != list(make(name, H200, jobs=200, workers=3, load=0.8, seed=6))


def gain(rows: int, count: int) -> float:
    one = StepShape(rows, 0)
    many = StepShape(rows * count, 0)
    return count * H200.step_ms(one) / H200.step_ms(many)


def test_the_large_model_saturates_as_it_was_measured() -> None:
    """SGLang #22183: 3.1x at batch 8 of 512x512, 1.02x at batch 2 of 1024x1024."""
    assert gain(1024, 8) == pytest.approx(3.1, abs=0.05)
    assert gain(4096, 2) == pytest.approx(1.02, abs=0.01)


def test_the_embedded_model_costs_what_was_measured() -> None:
    """bench/results/batch.json and grid.json."""
    shape = StepShape(1198, 0)
    assert CPU.step_ms(shape) == pytest.approx(34.98, rel=0.02)
    assert 7 * CPU.floor_ms + CPU.step_ms(shape) == pytest.approx(49.72, rel=0.02)
    assert CPU.step_ms(StepShape(1198, 0, 1198 * 16)) - CPU.step_ms(shape) == pytest.approx(1.26, rel=0.02)
    assert CPU.decode[0] + CPU.decode[1] * 128 * 128 / 1000 == pytest.approx(7.75, rel=0.02)


def test_jain() -> None:
    assert jain([2, 2, 2]) == pytest.approx(1)
    assert jain([1, 0, 0, 0]) == pytest.approx(0.25)
    assert jain([0, 0]) == 1


def test_metrics_of_a_run(trace: Trace) -> None:
    out = simulate("FIFO", trace, 2).out
    assert reached_gain(out) == pytest.approx(0)  # it never shares a step
    found = [of_lane(out, lane) for lane in LANES]
    assert sum(each["jobs"] for each in found) == 20
    assert min(each.get("stretch_p50", 1) for each in found) > 0.9
    assert 0 <= (attainment(out) or 0) <= 1


def life(lane: Lane, rows: int, account: str = "a", job: str = "1") -> Life:
    ticket = Ticket(job, account, lane, drawing(StepShape(rows, rows), 8), max_running=1)
    return Life(ticket, lane, 0.0, H200.solo_ms(ticket))


def test_a_turbo_step_that_takes_too_long_is_a_violation(trace: Trace) -> None:
    scheduler = contender(SALON, trace)
    simulation = Simulation(trace, scheduler, 1)
    check = TurboCheck(H200, simulation.views)
    turbo, other = life(Lane.TURBO, 1000), life(Lane.FAST, 90_000, job="2")
    check.before(BatchPlan(1, "w0", Stage.STEP, ("1",), 0, 1.0, Lane.TURBO), [turbo], 0.0)
    assert check.violations == []
    check.before(BatchPlan(1, "w0", Stage.STEP, ("1", "2"), 0, 1.0, Lane.TURBO), [turbo, other], 0.0)
    assert len(check.violations) == 1
    assert check.true > 1.1


def test_a_window_without_its_share_of_relax_is_a_violation() -> None:
    check = RelaxCheck(H200, Policy(window_ms=60_000.0, relax_share=0.05))
    check.submitted(life(Lane.RELAX, 1000), 0.0)
    fast = life(Lane.FAST, 1000, job="2")
    plan = BatchPlan(1, "w0", Stage.STEP, ("2",), 0, 1.0, Lane.FAST)
    for number in range(1, 400):
        check.after(plan, [fast], 200.0, number * 200.0)
    assert check.windows == 1
    assert len(check.violations) == 1


def test_relax_that_may_not_start_is_no_violation() -> None:
    check = RelaxCheck(H200, Policy(window_ms=60_000.0, relax_share=0.05))
    first, second = life(Lane.RELAX, 1000), life(Lane.RELAX, 1000, job="3")
    check.submitted(first, 0.0)
    check.submitted(second, 0.0)
    check.before(BatchPlan(1, "w0", Stage.ENCODE, ("1",), 0, 1.0, Lane.RELAX), [first], 1.0)  # its account may run one
    plan, fast = BatchPlan(2, "w0", Stage.STEP, ("2",), 0, 1.0, Lane.FAST), life(Lane.FAST, 1000, job="2")
    for number in range(1, 400):
        check.after(plan, [fast], 200.0, 1.0 + number * 200.0)
    assert check.windows == 0
    assert check.violations == []


def test_salon_keeps_the_service_of_backlogged_accounts_together() -> None:
    trace = fairness.backlog(CPU, 4)
    policy = Policy()
    salon = fairness.measure(trace, contender(SALON, trace), policy)
    assert salon.plans > 20
    assert salon.own <= salon.bound


def test_overhead_keeps_its_queue() -> None:
    standing = Standing(100)
    before = standing.scheduler.num_queued
    assert len(standing.turn(50)()) == 50
    assert abs(standing.scheduler.num_queued - before) <= 64
    whole, ticket = bytes_per_job(200)
    assert whole > ticket > 0


def test_jobs_of_few_steps_share_them_on_a_device_with_a_floor() -> None:
    """A line for the cost, and a cap for Turbo that knows no floor, reached a tenth of the gain here."""
    few = make("poisson", H200, jobs=400, workers=8, load=1.2, steps=FEW_STEPS)
    run = simulate(SALON, few, 8)
    assert run.violations == []
    assert (reached_gain(run.out) or 0) > 0.3
    assert run.turbo is not None
    assert run.turbo.count > 20
    assert run.turbo.predicted <= 1.1
    assert sorted(run.turbo.held)[-1] <= 1.2
