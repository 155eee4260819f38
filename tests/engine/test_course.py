"""What effort does to the table of a generation: where it stops, how often the model is asked, what it is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from salon.engine.course import ADDED, detailed, stopped
from salon.engine.engine import Engine
from salon.engine.errors import LimitError, SpecError
from salon.engine.evaluations import evaluations_of
from salon.engine.generation import ParkedGeneration, State
from salon.engine.sigmas import SigmaConfig
from salon.engine.solvers import evaluations
from salon.engine.spec import GenerationSpec
from salon.engine.start import Start

from .stepping import integrate

SIGMAS = SigmaConfig()


def spec(**fields: Any) -> GenerationSpec:
    return GenerationSpec(prompt="a red apple", **{"width": 16, "height": 16, "steps": 8, "seed": 0} | fields)


def drawn(engine: Engine, request: GenerationSpec) -> Any:
    """The latents and pictures of a request."""
    generation = engine.open(request)
    while generation.state is State.RUNNING:
        engine.step([generation])
    latents, pictures = engine.ops.numpy(generation.latents), engine.finish(generation)
    engine.close(generation)
    return latents, pictures


# ---- tables ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_nothing_asked_is_the_solvers_own_table(engine: Engine, solver: str) -> None:
    sizes = engine.model.architecture
    table = evaluations(solver, sizes.sigmas, 8, 16)
    assert evaluations_of(spec(solver=solver), sizes) == table
    assert evaluations_of(spec(solver=solver, stop=100, experimental=0), sizes) == table
    assert detailed(stopped(table, 8), 0) == table


@pytest.mark.parametrize(
    ("steps", "stop", "taken"),
    [(8, 100, 8), (8, 99, 7), (8, 50, 4), (8, 49.9, 3), (8, 10, 1), (1, 10, 1), (20, 55, 11), (20, 10, 2), (3, 67, 2)],
)
def test_how_many_steps_a_part_of_the_way_is(engine: Engine, steps: int, stop: float, taken: int) -> None:
    assert spec(steps=steps, stop=stop).steps_taken == taken
    for solver in ("euler", "heun"):
        table = evaluations_of(spec(steps=steps, stop=stop, solver=solver), engine.model.architecture)
        assert {e.step for e in table} == set(range(taken))
        whole = 2 * taken - (taken == steps)  # heun's last step to sigma 0 is euler's
        assert len(table) == (taken if solver == "euler" else whole)


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_it_ends_at_the_clean_estimate(solver: str) -> None:
    """latents - next_sigma * v at the last velocity, by hand."""
    table = evaluations(solver, SIGMAS, 8, 64)
    short = stopped(table, 3)
    assert short[:-1] == table[: len(short) - 1]
    assert short[-1].next_sigma == 0.0
    seen: list[Any] = []

    def velocity(x: Any, sigma: float) -> Any:
        seen.append(np.cos(3 * sigma) * x)
        return seen[-1]

    there = integrate(table[: len(short)], velocity, np.array([1.0, -0.5]))
    want = there - table[len(short) - 1].next_sigma * seen[-1]
    np.testing.assert_allclose(integrate(short, velocity, np.array([1.0, -0.5])), want, rtol=1e-12)


def test_detail_tells_of_more_noise_in_the_middle_and_moves_nothing_else() -> None:
    table = evaluations("euler", SIGMAS, 8, 64)
    assert detailed(table, 0) == table
    told = [[e.sigma for e in detailed(table, amount)] for amount in (0, 25, 50, 100)]
    for amount, sigmas in zip((0, 25, 50, 100), told, strict=True):
        for e, sigma in zip(table, sigmas, strict=True):
            assert 1 - sigma == pytest.approx((1 - e.sigma) * (1 - ADDED * amount / 100 * e.sigma))
            assert detailed(table, amount)[e.step] == replace(e, sigma=sigma)
    assert told[3][0] == 1.0
    assert all(less < more <= 1 for less, more in zip(told[1][1:], told[2][1:], strict=True))


def test_a_part_of_the_way_from_a_picture_on() -> None:
    start = Start("ab" * 32, 0.5)
    assert [spec(start=start, stop=stop).steps_taken for stop in (100, 50, 10)] == [4, 2, 1]
    assert spec(start=Start("ab" * 32, 0.0), stop=50).steps_taken == 0
    assert stopped((), 0) == ()


# ---- pictures --------------------------------------------------------------------------------------------------------


def test_a_stopped_picture_is_the_preview_there(engine: Engine) -> None:
    for solver in ("euler", "heun"):
        whole = engine.open(spec(solver=solver))
        while whole.step < 3:
            engine.step([whole])
        preview = engine.preview(whole).astype(int)
        engine.close(whole)
        generation = engine.open(spec(solver=solver, stop=40))
        reports = []
        while generation.state is State.RUNNING:
            reports += engine.step([generation])
        assert (reports[-1].step, reports[-1].done, generation.progress) == (3, True, 1.0)
        assert len(reports) == (3 if solver == "euler" else 6)
        pictures = engine.finish(generation).astype(int)
        np.testing.assert_array_equal(engine.preview(generation), pictures)
        engine.close(generation)
        assert np.abs(pictures - preview).max() <= 1, "but for rounding"


def test_each_knob_at_nothing_draws_the_same_bits_and_more_of_it_draws_others(engine: Engine) -> None:
    plain = drawn(engine, spec())
    for nothing in ({"stop": 100}, {"experimental": 0}, {"stop": 100.0, "experimental": 0.0}):
        got = drawn(engine, spec(**nothing))
        np.testing.assert_array_equal(got[0], plain[0])
        np.testing.assert_array_equal(got[1], plain[1])
    for some in ({"stop": 50}, {"experimental": 50}):
        assert np.abs(drawn(engine, spec(**some))[0] - plain[0]).max() > 1e-4, some


def test_in_company_and_parked_they_are_the_same(engine: Engine, new_engine: Callable[..., Engine]) -> None:
    requests = [spec(stop=50), spec(experimental=80, solver="heun"), spec(), spec(stop=30, experimental=20, images=2)]
    alone = [drawn(engine, request) for request in requests]
    other = new_engine()
    generations = [engine.open(request) for request in requests]
    engine.step(generations)
    moved = [other.resume(ParkedGeneration.from_bytes(engine.park(g).to_bytes())) for g in generations]
    while running := [g for g in moved if g.state is State.RUNNING]:
        other.step(running)
    for generation, want in zip(moved, alone, strict=True):
        np.testing.assert_array_equal(other.ops.numpy(generation.latents), want[0])
        np.testing.assert_array_equal(other.finish(generation), want[1])
        other.close(generation)


# ---- what a request says ---------------------------------------------------------------------------------------------


def test_quality_is_more_steps_whoever_says_how_many(engine: Engine) -> None:
    usual, info = engine.make_spec("cat", seed=1), engine.info
    assert engine.make_spec("cat", seed=1, quality=1) == usual
    for quality in (2, 4):
        assert engine.make_spec("cat", seed=1, quality=quality) == replace(usual, steps=quality * usual.steps)
        assert engine.make_spec("cat", seed=1, steps=5, quality=quality).steps == 5 * quality
        assert info.make_spec("cat", seed=1, quality=quality) == engine.make_spec("cat", seed=1, quality=quality)
    odd: list[Any] = [0, 3, 0.5, "2", None, True]
    for wrong in odd:
        with pytest.raises(SpecError, match=r"quality: got .*allowed 1 or 2 or 4; choose one of these"):
            engine.make_spec("cat", quality=wrong)
    with pytest.raises(LimitError, match="steps: got 400 steps, allowed 200 .*; take fewer steps, or less quality"):
        engine.open(engine.make_spec("cat", steps=100, quality=4))


def test_a_draft_has_the_models_settings_for_drafts(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    draft: dict[str, Any] = {"steps": 2, "shift": 2.0}
    monkeypatch.setattr(engine.model, "draft", draft)
    info = msgspec.structs.replace(engine.info, draft=draft)
    for maker in (engine, info):
        made = maker.make_spec("cat", seed=1, draft=True)
        assert made == replace(maker.make_spec("cat", seed=1), **draft)
        assert made != maker.make_spec("cat", seed=1, draft=False)
        assert maker.make_spec("cat", seed=1, draft=True, quality=2).steps == 4
        assert maker.make_spec("cat", seed=1, draft=True, shift=1.0).steps != 2, "not beside settings of one's own"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"stop": 9.9}, "stop: got 9.9, allowed a number from 10 to 100"),
        ({"stop": 101}, "stop: got 101"),
        ({"experimental": -1}, "experimental: got -1, allowed a number from 0 to 100"),
        ({"chaos": 101}, "chaos: got 101, allowed a number from 0 to 100"),
        ({"weird": 3001}, "weird: got 3001, allowed a number from 0 to 3000"),
        ({"weird": "very"}, "weird: got 'very'"),
        ({"tile": True, "start": Start("ab" * 32)}, "tile: got it with a picture to start from, allowed one of them"),
        ({"tile": "yes"}, "tile: got 'yes', allowed True or False"),
    ],
)
def test_what_is_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        spec(**fields)
