"""The cost model: what it learns, how fast, what cannot mislead it, and that prices stay prices."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salon.scheduler.cost import CostModel, Prior, StageCost, WorkerCost
from salon.scheduler.nnls import nnls
from salon.scheduler.tickets import Lane, StageWork, StepShape, Ticket, drawing

TRUE = (3.0, 0.01, 4e-6, 2e-5)


def cost_of(shape: StepShape, coefficients: tuple[float, ...] = TRUE) -> float:
    fixed, row, square, adapter = coefficients
    return fixed + row * shape.rows + square * shape.squares + adapter * shape.adapter_rows


def random_shape(rng: random.Random) -> StepShape:
    rows, samples, tokens = rng.choice([16, 64, 256, 1024, 4096]), rng.randint(1, 8), rng.choice([0, 0, 64, 256, 1024])
    return StepShape(rows * samples, rows * rows * samples, rows * samples * tokens)


def taught(steps: int, noise: float = 0.05, seed: int = 0, coefficients: tuple[float, ...] = TRUE) -> CostModel:
    rng, model = random.Random(seed), CostModel()
    for _ in range(steps):
        shape = random_shape(rng)
        model.observe(shape, cost_of(shape, coefficients) * math.exp(rng.gauss(0, noise)))
    return model


def worst(model: CostModel, factor: float = 1.0, coefficients: tuple[float, ...] = TRUE) -> float:
    rng = random.Random(99)
    shapes = [random_shape(rng) for _ in range(300)]
    return max(abs(model.predict(shape) / (factor * cost_of(shape, coefficients)) - 1) for shape in shapes)


@pytest.mark.parametrize("seed", range(3))
def test_coefficients_are_recovered_from_noisy_mixed_steps(seed):
    model = taught(3000, noise=0.03, seed=seed)
    assert model.coefficients == pytest.approx(TRUE, rel=0.05)
    assert model.fixed_ms == model.coefficients[0]
    assert model.observations == 3000


@pytest.mark.parametrize("noise", [0.02, 0.05, 0.2])
def test_the_error_estimate_is_about_the_noise(noise):
    assert 0.6 * noise < taught(1500, noise).error < 1.6 * noise


def test_high_is_rarely_exceeded():
    model, rng = taught(1000, 0.1), random.Random(5)
    over = 0
    for _ in range(1000):
        shape = random_shape(rng)
        ms = cost_of(shape) * math.exp(rng.gauss(0, 0.1))
        over += ms > model.high(shape)
        model.observe(shape, ms)
    assert over < 60


def test_a_coefficient_that_is_nothing_stays_at_nothing():
    model = taught(1000, coefficients=(2.0, 0.01, 0.0, 0.0))
    assert min(model.coefficients) >= 0
    assert worst(model, coefficients=(2.0, 0.01, 0.0, 0.0)) < 0.15


def test_cold_start_is_the_prior():
    prior = Prior(fixed_ms=1, row_us=10, square_ns=1, adapter_ns=2, error=0.3)
    model = CostModel(prior)
    assert model.predict(StepShape(100, 10_000, 1000)) == pytest.approx(1 + 1 + 0.01 + 0.002)
    assert model.high(StepShape(0, 0)) == pytest.approx(1.6)
    assert (model.observations, model.error) == (0, 0.3)


def test_what_was_never_excited_is_scaled_with_the_rest():
    model, shape = CostModel(), StepShape(256, 256**2)
    before = model.coefficients
    model.observe(shape, model.predict(shape) / 100)
    assert model.coefficients == pytest.approx([one / 100 for one in before], rel=1e-3)


def test_a_machine_a_hundred_times_faster_is_learnt_in_twenty_steps():
    prior = Prior()
    fast = tuple(
        one / 100 for one in (prior.fixed_ms, prior.row_us / 1e3, prior.square_ns / 1e6, prior.adapter_ns / 1e6)
    )
    assert worst(taught(20, 0.05, coefficients=fast), coefficients=fast) < 0.15
    bent = (fast[0] * 3, fast[1], fast[2] / 2, fast[3] * 2)
    assert worst(taught(20, 0.02, coefficients=bent), coefficients=bent) < 0.5


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_machine_that_changes_its_speed_is_followed_in_a_hundred_steps(factor):
    model, rng = taught(2000), random.Random(7)
    for _ in range(100):
        shape = random_shape(rng)
        model.observe(shape, factor * cost_of(shape) * math.exp(rng.gauss(0, 0.05)))
    assert worst(model, factor) < 0.2


def test_one_shape_tells_of_a_slower_machine_for_all():
    model, shape = taught(2000), StepShape(256, 256**2)
    for _ in range(300):
        model.observe(shape, 2 * cost_of(shape))
    assert worst(model, 2) < 0.35  # most of it at once; the rest when they come


def test_ten_thousand_equal_steps_leave_the_other_shapes_alone():
    model, rng, shape = taught(1000, 0.03), random.Random(3), StepShape(512, 2 * 256**2)
    for _ in range(10_000):
        model.observe(shape, cost_of(shape) * math.exp(rng.gauss(0, 0.1)))
    assert worst(model) < 0.12
    assert model.predict(shape) == pytest.approx(cost_of(shape), rel=0.05)


def test_a_shape_off_the_formula_does_not_move_the_pace_of_the_others():
    model, rng = taught(1000, 0.03), random.Random(3)
    shapes = [StepShape(rows, 4 * rows**2) for rows in (400, 410, 420)]
    for _ in range(5000):
        shape = rng.choice(shapes)
        model.observe(shape, 1.3 * cost_of(shape) * math.exp(rng.gauss(0, 0.05)))
    assert worst(model) < 0.35


def test_hiccups_hardly_count():
    calm, rng = taught(1000), random.Random(11)
    before, error = calm.coefficients, calm.error
    shape = random_shape(rng)
    calm.observe(shape, 20 * cost_of(shape))
    assert calm.coefficients == pytest.approx(before, rel=0.05)
    assert calm.error < 1.5 * error

    model = CostModel()
    for step in range(1500):
        shape = random_shape(rng)
        model.observe(shape, cost_of(shape) * (20 if step % 50 == 13 else math.exp(rng.gauss(0, 0.05))))
    assert worst(model) < 0.2


def test_a_hiccup_at_the_first_sight_of_a_shape_is_forgotten_at_the_second():
    model, shape = CostModel(), StepShape(64, 64**2)
    model.observe(shape, 100.0)
    model.observe(shape, 5.0)
    assert model.predict(shape) == pytest.approx(5, rel=0.01)


@pytest.mark.parametrize("ms", [0, -1.0, math.nan, math.inf, True, "1", None])
def test_impossible_observations_are_refused_and_change_nothing(ms):
    model, stage = taught(20), StageCost(1, 1)
    before = model.coefficients, model.error, model.observations
    with pytest.raises(ValueError, match="ms"):
        model.observe(StepShape(1, 1), ms)
    assert (model.coefficients, model.error, model.observations) == before
    with pytest.raises(ValueError, match="ms"):
        stage.observe(3, ms)
    assert stage.observations == 0


def test_impossible_arguments_are_refused():
    for wrong in (0, -1, math.nan, math.inf, "x"):
        with pytest.raises(ValueError, match="row_us"):
            Prior(row_us=wrong)  # type: ignore[arg-type]
    for forgetting in (0.1, 1.0, 2.0):
        with pytest.raises(ValueError, match="forgetting"):
            CostModel(forgetting=forgetting)
    with pytest.raises(ValueError, match="below 0"):
        CostModel().observe(StepShape(-1, 1), 1.0)
    for units in (-1, math.nan, math.inf):
        with pytest.raises(ValueError, match="units"):
            StageCost(1, 1).observe(units, 1.0)


SIZES = st.tuples(st.integers(1, 2**28), st.integers(1, 2**56), st.integers(0, 2**56))
STREAMS = st.lists(st.tuples(SIZES, st.floats(1e-320, 1e308, exclude_min=True)), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(STREAMS, SIZES, st.tuples(st.integers(0, 2**28), st.integers(0, 2**56), st.integers(0, 2**56)))
def test_prices_are_finite_positive_and_monotone_whatever_is_observed(stream, some, more):
    model, stage, shape = CostModel(), StageCost(1, 1), StepShape(*some)
    for sizes, ms in stream:
        model.observe(StepShape(*sizes), ms)
        stage.observe(sizes[0], ms)
        for price in (model.predict(shape), model.high(shape), stage.predict(some[0]), stage.high(some[0])):
            assert 0 < price < math.inf
        assert min(*model.coefficients, *stage.coefficients) >= 0
        assert model.predict(shape + StepShape(*more)) >= model.predict(shape)
        assert 0 <= model.error < math.inf
    assert model.fixed_ms > 0


def test_memory_is_bounded():
    model, rng = CostModel(), random.Random(0)
    for _ in range(3000):
        shape = StepShape(rng.randint(1, 2**20), rng.randint(1, 2**40), rng.randint(0, 2**30))
        model.observe(shape, 1.0)
    assert len(model._fit._classes) <= 128


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.floats(-1, 1), min_size=4, max_size=4), min_size=4, max_size=6))
def test_nnls_meets_the_conditions_of_the_optimum(lines):
    matrix = [[sum(line[i] * line[j] for line in lines) + 0.01 * (i == j) for j in range(4)] for i in range(4)]
    right = [sum(line[i] for line in lines) for i in range(4)]
    answer = nnls(matrix, right)
    for i in range(4):
        slope = sum(matrix[i][j] * answer[j] for j in range(4)) - right[i]
        assert answer[i] >= 0
        assert slope >= -1e-7
        assert abs(slope * answer[i]) < 1e-7


@pytest.fixture
def ticket():
    stages = drawing(StepShape(64, 64**2), 10, images=3, pixels=20_000, text_rows=16, upscales=2)
    return Ticket("j", "a", Lane.FAST, stages)


def test_a_stage_is_learnt():
    rng, stage = random.Random(2), StageCost(2, 1000)
    for _ in range(500):
        units = rng.choice([4, 16, 64, 256])
        stage.observe(units, (0.5 + 0.02 * units) * math.exp(rng.gauss(0, 0.03)))
    assert stage.coefficients == pytest.approx((0.5, 0.02), rel=0.05)
    assert stage.predict(100) == pytest.approx(2.5, rel=0.05)
    assert stage.error == pytest.approx(0.03, rel=0.6)
    assert stage.high(100) == pytest.approx(stage.predict(100) * (1 + 2 * stage.error))


def test_a_worker_prices_each_stage_by_its_own_units(ticket):
    lines = {"encode": StageCost(1, 1000), "decode": StageCost(2, 1000), "upscale": StageCost(3, 1000)}
    cost = WorkerCost(CostModel(), lines)
    encode, step, decode, upscale = ticket.stages
    assert cost.predict(encode) == pytest.approx(17)
    assert cost.predict(decode) == pytest.approx(22)
    assert cost.predict(upscale) == pytest.approx(23)
    assert cost.predict(step) == cost.step.predict(ticket.shape)
    joint = ticket.shape + ticket.shape
    assert cost.predict(step, joint) == cost.step.predict(joint)
    for work in ticket.stages:
        assert cost.high(work) == pytest.approx(2 * cost.predict(work))


def test_a_kind_of_stage_that_nobody_knows_has_a_line_of_its_own():
    cost, other = WorkerCost(), StageWork("describe", 1, 3.0)
    before = cost.predict(StageWork("decode", 1, 3.0))
    assert cost.predict(other) > 0
    for _ in range(20):
        cost.observe(other, 50.0)
    assert cost.predict(other) == pytest.approx(50.0, rel=0.01)
    assert cost.predict(StageWork("decode", 1, 3.0)) == before


def test_an_observation_goes_to_its_stage_alone(ticket):
    for work in ticket.stages:
        cost = WorkerCost()
        cost.observe(work, 7.0)
        for other in ticket.stages:
            assert (cost.predict(other) == pytest.approx(7.0)) == (other is work)
    cost = WorkerCost()
    joint = ticket.shape + ticket.shape
    cost.observe(ticket.stages[1], 7.0, joint)
    assert cost.step.predict(joint) == pytest.approx(7.0)
