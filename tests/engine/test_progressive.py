"""Progressive resolution: the first steps at half the sides, then the whole size, with the same bits in any company."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from salon.engine import solvers
from salon.engine.doubling import doubled
from salon.engine.engine import Engine
from salon.engine.errors import LimitError, SpecError
from salon.engine.evaluations import evaluations_of
from salon.engine.generation import Generation, ParkedGeneration, State
from salon.engine.solvers import Evaluation
from salon.engine.spec import GenerationSpec
from salon.engine.start import Start
from salon.scheduler.tickets import Lane, Stage
from salon.studio.pricing import work_of
from salon.studio.scheduling.tickets import ticket_of


def spec(**fields: Any) -> GenerationSpec:
    usual = {"width": 16, "height": 24, "steps": 6, "seed": 3, "progressive": 50.0}
    return GenerationSpec(prompt="a red apple", **usual | fields)


def finished(engine: Engine, generation: Generation) -> Any:
    while generation.state is State.RUNNING:
        engine.step([generation])
    latents = engine.ops.numpy(generation.latents).copy()
    engine.close(generation)
    return latents


SPECS = [
    spec(), spec(solver="heun", images=2), spec(solver="euler_ancestral", seed=4),
    spec(solver="unipc", steps=7, guidance_interval=(0.2, 0.7)),
    spec(progressive=0.0), spec(stop=70.0, progressive=80.0, experimental=50.0),
    spec(guidance_scale=1.0, width=20, height=12, images=2),
]  # fmt: skip


@pytest.fixture(scope="module")
def alone(engine: Engine) -> list[Any]:
    return [finished(engine, engine.open(each)) for each in SPECS]


@pytest.mark.parametrize("solver", solvers.names())
def test_the_levels_are_those_of_the_solver_and_its_noise_is_never_the_same(engine: Engine, solver: str) -> None:
    sizes = engine.model.architecture
    plain, table = (evaluations_of(spec(solver=solver, progressive=each), sizes) for each in (0.0, 50.0))
    steps = dict.fromkeys(e.step for e in table)
    assert list(steps) == list(range(6))
    first = {e.step: e.sigma for e in reversed(table)}
    assert first == {e.step: e.sigma for e in reversed(plain)}, "each step begins at the same level"
    small = [e for e in table if e.step < 3]
    assert small[-1].next_sigma == 0.0, "they end at the clean estimate"
    used = [e.step + 1 for e in table if e.noise]
    assert 3 not in used, "which is the noise that is added to it"
    assert len(used) == len(set(used))
    later = next(e for e in table if e.step == 3)
    assert (later.b, later.aside, later.from_base) == (0.0, 0.0, False), "nothing of the small size is read"


@pytest.mark.parametrize(
    ("fields", "small"),
    [
        ({}, 3), ({"progressive": 0.0}, 0), ({"progressive": 1.0}, 1), ({"progressive": 90.0}, 5), ({"steps": 1}, 0),
        ({"steps": 2, "progressive": 90.0}, 1), ({"stop": 50.0, "progressive": 90.0}, 2),
    ],
)  # fmt: skip
def test_how_many_steps_are_small(fields: dict[str, Any], small: int) -> None:
    assert spec(**fields).small_steps == small


def test_growing_by_hand(engine: Engine) -> None:
    """With a clean estimate known, the first large step begins at (1 - level) of it, enlarged, and level of noise."""
    request = spec(images=2)
    generation = engine.open(request)
    for _ in range(3):
        engine.step([generation])
    assert (generation.grid, generation.whole) == ((3, 2), (6, 4))
    clean, level = engine.ops.numpy(generation.latents), engine.info.evaluations(request)[3].sigma
    codec, made = engine.model.denoiser.codec, []
    for each in np.split(clean, 2):
        latents = codec.latents(each, (3, 2))
        big = latents.repeat(2, axis=0).repeat(2, axis=1)
        enlarged = codec.enlarged(each, (3, 2))
        back = codec.latents(enlarged, (6, 4))
        assert np.abs(back.mean((0, 1)) - latents.mean((0, 1))).max() < 1e-5
        assert np.abs(back - big).max() <= np.ptp(latents)
        made.append(enlarged)
    engine.step([generation])
    assert (generation.grid, generation.whole, generation.latents.shape) == ((6, 4), None, (48, 16))
    e = engine.info.evaluations(request)[3]
    velocity = engine.ops.numpy(generation.velocity)
    want = (1 - level) * np.concatenate(made) + level * generation.noise(3) + e.a * velocity
    np.testing.assert_allclose(engine.ops.numpy(generation.latents), want, rtol=1e-4, atol=1e-4)
    engine.close(generation)


def test_of_odd_sides_the_last_half_token_is_dropped(engine: Engine) -> None:
    request = spec(width=20, height=12, steps=2)
    generation = engine.open(request)
    engine.step([generation])
    assert (generation.grid, generation.whole) == ((2, 3), (3, 5))
    codec = engine.model.denoiser.codec
    clean = codec.enlarged(engine.ops.numpy(generation.latents), (2, 3)).reshape(4, 6, -1)[:3, :5]
    engine.step([generation])
    e = engine.info.evaluations(request)[1]
    want = (1 - e.sigma) * clean.reshape(15, -1) + e.sigma * generation.noise(1)
    want += e.a * engine.ops.numpy(generation.velocity)
    np.testing.assert_allclose(engine.ops.numpy(generation.latents), want, rtol=1e-4, atol=1e-4)
    engine.close(generation)


def test_doubled_latents_are_bilinear() -> None:
    rows = np.array([[0.0], [4.0]], np.float32)[:, None]
    assert doubled(rows)[:, 0, 0].tolist() == doubled(rows)[:, 1, 0].tolist() == [0.0, 1.0, 3.0, 4.0]
    even = np.full((3, 2, 5), 0.3, np.float32)
    np.testing.assert_allclose(doubled(even), np.full((6, 4, 5), 0.3), rtol=1e-6)


def test_in_any_company_the_bits_are_those_alone(engine: Engine, alone: list[Any]) -> None:
    generations = [engine.open(each) for each in SPECS]
    turn = 0
    while running := [g for g in generations if g.state is State.RUNNING]:
        turn += 1
        engine.step(running if turn % 3 else running[:: 1 + len(running) % 2])
    for generation, want in zip(generations, alone, strict=True):
        np.testing.assert_array_equal(engine.ops.numpy(generation.latents), want)
        assert engine.finish(generation).shape[1:3] == (generation.spec.height, generation.spec.width)
        engine.close(generation)


@pytest.mark.parametrize("which", [2, 6])
def test_parked_at_any_place_it_goes_on(
    engine: Engine, new_engine: Callable[..., Engine], alone: list[Any], which: int
) -> None:
    other = new_engine()
    generation, engines = engine.open(SPECS[which]), [other, engine]
    own = engine
    while generation.state is State.RUNNING:
        own.step([generation])
        parked = ParkedGeneration.from_bytes(own.park(generation).to_bytes())
        own = engines[generation.position % 2]
        generation = own.resume(parked)
    np.testing.assert_array_equal(own.ops.numpy(generation.latents), alone[which])
    own.close(generation)


def test_parked_when_it_has_grown_and_not_stepped(engine: Engine, alone: list[Any], monkeypatch: Any) -> None:
    generation = engine.open(SPECS[0])
    for _ in range(3):
        engine.step([generation])
    with monkeypatch.context() as broken:
        broken.setattr("salon.engine.batch.Batch.step", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            engine.step([generation])
    generation = engine.resume(ParkedGeneration.from_bytes(engine.park(generation).to_bytes()))
    assert (generation.position, generation.whole) == (3, None)
    np.testing.assert_array_equal(finished(engine, generation), alone[0])


def test_previews_are_of_the_whole_size(engine: Engine) -> None:
    generation = engine.open(spec(width=20))
    shown = []
    while generation.state is State.RUNNING:
        engine.step([generation])
        shown.append(engine.preview(generation))
    assert {each.shape for each in shown} == {(1, 24, 20, 3)}
    np.testing.assert_array_equal(shown[-1], engine.finish(generation))
    assert all((each[:, ::2, ::2] == each[:, 1::2, 1::2]).all() for each in shown[:3]), "pixels of two by two"
    engine.close(generation)


def rows_of(evaluations: tuple[Evaluation, ...], ticket: Any) -> list[int]:
    return [ticket.stage(Stage.STEP).shape_at(n).rows for n in range(len(evaluations))]


@pytest.mark.parametrize("request_", [SPECS[1], SPECS[4]])
def test_tickets_say_what_each_step_takes(engine: Engine, request_: GenerationSpec) -> None:
    info, generation, seen = engine.info, engine.open(request_), []
    ticket = ticket_of(info, request_, job="j", account="a", lane=Lane.FAST, max_running=3, adapters={})
    while generation.state is State.RUNNING:
        seen.append(engine.step_rows([generation]))
        engine.step([generation])
    engine.close(generation)
    said = rows_of(info.evaluations(request_), ticket)
    longest = info.text_rows + (info.unconditional_rows if request_.guided else 0)
    padding = request_.images * longest - generation.text_rows  # a ticket is written before the text is read
    assert [rows - padding for rows in said] == seen
    assert len(set(said)) == (2 if request_.progressive else 1)


def test_small_evaluations_are_priced_by_their_area(engine: Engine) -> None:
    for progressive, counted in ((0.0, 20), (50.0, 10 + 3), (90.0, 2 + 5)):
        effort = work_of(engine.info, spec(steps=20, progressive=progressive)).effort
        assert effort is not None
        assert effort.evaluations == counted


def test_what_cannot_be_is_refused() -> None:
    start = Start("ab" * 32)
    with pytest.raises(SpecError, match=r"progressive: got 91, allowed a number from 0 to 90"):
        spec(progressive=91)
    with pytest.raises(SpecError, match="progressive: got it with a picture to start from, allowed one of them"):
        spec(start=start)
    with pytest.raises(SpecError, match=r"progressive: got it with a pattern \(tile\), allowed one of them"):
        spec(tile=True)


def test_a_step_too_large_is_refused_when_it_grows_and_nothing_is_lost(new_engine: Callable[..., Engine]) -> None:
    """Small ones fit a step together, whole ones do not: each goes on alone."""
    lone = new_engine()
    two = [lone.open(spec(seed=seed)) for seed in (1, 2)]
    whole = lone.open(spec(progressive=0.0))
    engine = new_engine(max_rows=max(lone.step_rows(two), lone.step_rows([whole])))
    want = [finished(lone, each) for each in two]
    both = [engine.open(spec(seed=seed)) for seed in (1, 2)]
    for _ in range(3):
        engine.step(both)
    with pytest.raises(LimitError, match="rows"):
        engine.step(both)
    assert all(g.whole for g in both)
    for generation, latents in zip(both, want, strict=True):
        np.testing.assert_array_equal(finished(engine, generation), latents)
