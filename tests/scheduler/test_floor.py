"""A device with a floor: the cost model finds it, believes none where there is none, and lanes then share steps."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salon.scheduler.cost import CostModel, WorkerCost
from salon.scheduler.curve import soft_max
from salon.scheduler.policy import Policy
from salon.scheduler.tickets import BatchPlan, Lane, Stage, StepShape

from .house import House, ticket

ROW, SQUARE, ADAPTER = 0.06, 1.5e-6, 1.5e-6  # ms, about those of a 20B model on an H200


def device(fixed: float = 0.0, floor: float = 0.0, order: float = 7.0) -> Callable[[StepShape], float]:
    """The true milliseconds of a step, by its shape."""

    def ms(shape: StepShape) -> float:
        load = ROW * shape.rows + SQUARE * shape.squares + ADAPTER * shape.adapter_rows
        high, low = max(load, floor), min(load, floor)
        return float(fixed + high * (1 + (low / high) ** order) ** (1 / order))

    return ms


def batch(rng: random.Random) -> StepShape:
    """The joint shape of one to five jobs of any size."""
    rows = squares = adapter = 0
    for _ in range(rng.choice([1, 1, 2, 3, 5])):
        each, samples, tokens = (
            rng.choice([320, 1088, 1088, 4160]),
            rng.choice([1, 1, 2, 4]),
            rng.choice([0, 0, 16, 64]),
        )
        rows, squares, adapter = rows + each * samples, squares + each**2 * samples, adapter + each * samples * tokens
    return StepShape(rows, squares, adapter)


def teach(
    model: CostModel, ms: Callable[[StepShape], float], steps: int, noise: float = 0.02, seed: int = 0, hiccups: int = 0
) -> CostModel:
    rng = random.Random(seed)
    for step in range(steps):
        shape = batch(rng)
        off = 10.0 if hiccups and step % hiccups == hiccups - 1 else math.exp(rng.gauss(0, noise))
        model.observe(shape, ms(shape) * off)
    return model


def worst(model: CostModel, ms: Callable[[StepShape], float]) -> float:
    rng = random.Random(77)
    shapes = [batch(rng) for _ in range(300)]
    return max(abs(model.predict(shape) / ms(shape) - 1) for shape in shapes)


def line_only(steps: int, ms: Callable[[StepShape], float]) -> CostModel:
    """A model that was taught the same and believes in no floor, as all did before."""
    model = CostModel()
    model._fit._floors = None
    return teach(model, ms, steps)


@pytest.mark.parametrize(
    ("true", "floor"),
    [
        (device(floor=190.0), 190.0),
        (device(floor=190.0, order=60.0), 190.0),  # a hard corner
        (device(floor=190.0, order=4.0), 190.0),
        (device(fixed=20.0, floor=190.0), 190.0),
        (device(fixed=5.0, floor=1000.0), 1000.0),  # most jobs lie on it
    ],
)
def test_a_floor_is_found(true, floor):
    model = teach(CostModel(), true, 400)
    assert model.floor_ms + model.fixed_ms == pytest.approx(true(StepShape(1, 1)), rel=0.06)
    assert worst(model, true) < 0.12
    assert worst(model, true) < 0.5 * worst(line_only(400, true), true)


@pytest.mark.parametrize("fixed", [0.0, 20.0, 200.0])
@pytest.mark.parametrize("noise", [0.02, 0.2])
def test_a_line_has_no_floor_and_costs_what_it_did(fixed, noise):
    true = device(fixed=fixed)
    model, before = CostModel(), CostModel()
    before._fit._floors = None
    rng = random.Random(4)
    for _ in range(400):
        shape = batch(rng)
        ms = true(shape) * math.exp(rng.gauss(0, noise))
        model.observe(shape, ms)
        before.observe(shape, ms)
    assert model.floor_ms == 0.0
    assert model.coefficients == before.coefficients
    assert model.error == before.error


def test_a_floor_is_found_soon_and_in_spite_of_hiccups():
    true = device(floor=190.0)
    assert worst(teach(CostModel(), true, 40), true) < 0.25
    assert worst(teach(CostModel(), true, 600, noise=0.05, hiccups=50), true) < 0.15


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_device_with_a_floor_that_changes_its_speed_is_followed(factor):
    true = device(floor=190.0)
    model = teach(CostModel(), true, 600)
    teach(model, lambda shape: factor * true(shape), 150, seed=1)
    assert worst(model, lambda shape: factor * true(shape)) < 0.2


def test_a_floor_that_falls_is_followed():
    model = teach(CostModel(), device(floor=190.0), 300)
    teach(model, device(floor=120.0), 800, seed=1)
    assert model.floor_ms == pytest.approx(120.0, rel=0.1)
    assert worst(model, device(floor=120.0)) < 0.2


def test_equal_streams_give_equal_models():
    first, second = (teach(CostModel(), device(floor=190.0), 300) for _ in range(2))
    assert first.coefficients == second.coefficients
    assert (first.floor_ms, first.error) == (second.floor_ms, second.error)


def test_jobs_of_one_size_show_the_floor_once_they_share_steps():
    true, model = device(floor=190.0), CostModel()
    for turn in range(60):
        count = 1 + turn % 8
        model.observe(StepShape(1088 * count, 1088**2 * count), true(StepShape(1088 * count, 1088**2 * count)))
    for count in range(1, 9):
        shape = StepShape(1088 * count, 1088**2 * count)
        assert model.predict(shape) == pytest.approx(true(shape), rel=0.12)


@settings(max_examples=25, deadline=None)
@given(
    st.floats(0, 50), st.floats(0, 3000), st.floats(1, 60), st.integers(0, 10**6), st.integers(1, 80),
    st.tuples(st.integers(1, 2**24), st.integers(1, 2**40), st.integers(0, 2**40)),
    st.tuples(st.integers(0, 2**24), st.integers(0, 2**40), st.integers(0, 2**40)),
)  # fmt: skip
def test_prices_are_positive_finite_and_never_less_for_more(fixed, floor, order, seed, steps, some, more):
    model = teach(CostModel(), device(fixed, floor, order), steps, noise=0.3, seed=seed, hiccups=seed % 40)
    small = StepShape(*some)
    large = small + StepShape(*more)
    low, high = model.predict(small), model.predict(large)
    assert 0 < low < math.inf
    assert high >= low * (1 - 1e-12)
    # sharing a step never costs more than two steps apart, and a step never less than its load
    assert model.predict(small + large) <= (low + high) * (1 + 1e-9)
    assert low >= model.load(small) * (1 - 1e-12)
    assert min(*model.coefficients, model.floor_ms) >= 0


@dataclass
class Gpu(House):
    """A house whose steps have a floor that its scheduler has to learn."""

    true: Callable[[StepShape], float] = field(default=device(floor=190.0))

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.names:
            self.scheduler.workers[name].cost = WorkerCost()

    def cost(self, plan: BatchPlan) -> float:
        if plan.stage is not Stage.STEP:
            return super().cost(plan)
        shapes = [self.tickets[job].shape for job in plan.jobs]
        return self.true(sum(shapes[1:], start=shapes[0]))


def test_jobs_of_one_size_come_to_share_steps_though_none_larger_was_ever_seen():
    """Alone each takes 12 steps of 190 ms, near all that a shared step may take before the floor is known."""
    house = Gpu()
    for i in range(12):
        house.submit(ticket(f"j{i}", f"a{i}", rows=1000, steps=12, images=0))
    house.run()
    assert house.all_done()
    assert house.now < 0.5 * 12 * 12 * 190


def test_few_step_turbo_jobs_leave_steps_to_be_shared_and_wait_no_longer_than_promised():
    """Steps of twice the floor are shared though that is more than the typical Turbo job would allow."""
    house, policy = Gpu(), Policy()
    for i in range(60):
        house.submit(ticket(f"f{i}", f"a{i}", rows=1000, steps=8, images=0), 150.0 * i)
    for i in range(12):
        house.submit(ticket(f"t{i}", "t", Lane.TURBO, rows=1000, steps=2, images=0), 2000.0 + 1900 * i)
    house.run()
    later = [(end - start, plan) for start, end, plan in house.done if start > 4000 and plan.stage is Stage.STEP]
    shared = [took for took, plan in later if len(plan.jobs) > 1 and plan.lead is not Lane.TURBO]
    assert len(shared) > 0.8 * sum(plan.lead is not Lane.TURBO for _, plan in later)
    assert max(shared) <= 1.03 * policy.max_floors * 190
    turbos = [job for job, lane in house.lanes.items() if lane is Lane.TURBO and house.arrivals[job] > 4000]
    assert len(turbos) >= 8
    for job in turbos:
        plans = house.of(job)
        assert plans[0][0] - house.arrivals[job] <= 1.03 * policy.max_floors * 190
        alone = sum(end - start for start, end, _ in plans)
        assert house.ended_at[job] - plans[0][0] <= 1.07 * alone
        assert all(end - start <= 1.09 * 190 for start, end, plan in plans if plan.stage is Stage.STEP)


def test_the_soft_maximum():
    assert soft_max(0.0, 0.0) == 0.0
    assert soft_max(3.0, 0.0) == soft_max(0.0, 3.0) == 3.0
    assert soft_max(2.0, 2.0) == pytest.approx(2 * 2 ** (1 / 8))
    assert soft_max(5.0, 1.0) == pytest.approx(5.0, rel=1e-5)
    assert soft_max(1e-300, 1e300) == 1e300
