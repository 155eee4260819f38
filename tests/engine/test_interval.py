"""Guidance in a share of the steps alone: cheaper steps outside of it, the same bits in any company."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from salon.engine.engine import Engine
from salon.engine.errors import LimitError, SpecError
from salon.engine.generation import ParkedGeneration, State
from salon.engine.guidance import TextTerm
from salon.engine.limits import Limits
from salon.engine.spec import GenerationSpec
from salon.engine.start import Start

STEPS = 5


def spec(*interval: float, **fields: Any) -> GenerationSpec:
    usual: dict[str, Any] = {"width": 16, "height": 16, "steps": STEPS, "seed": 3}
    given = {"guidance_interval": interval} if interval else {}
    return GenerationSpec(prompt="a red apple", **usual | given | fields)


def course(engine: Engine, request: GenerationSpec) -> tuple[list[Any], list[int]]:
    """Latents after every evaluation, and how many samples each had."""
    generation = engine.open(request)
    latents, samples = [], []
    while generation.state is State.RUNNING:
        samples.append(generation.num_samples)
        engine.step([generation])
        latents.append(engine.ops.numpy(generation.latents).copy())
    engine.close(generation)
    return latents, samples


def test_outside_of_the_interval_the_prompt_stands_alone(engine: Engine) -> None:
    terms = {"terms": (TextTerm("a dog", 0.5),), "images": 2}
    guided, plain = (course(engine, spec(guidance_scale=scale, **more)) for scale, more in ((3.0, terms), (1.0, {})))
    early, late = (course(engine, spec(*ends, **terms)) for ends in ((0, 0.5), (0.4, 1)))
    assert (guided[1], early[1], late[1]) == ([6] * 5, [6, 6, 2, 2, 2], [2, 2, 6, 6, 6])
    for taken in range(2):
        np.testing.assert_array_equal(early[0][taken], guided[0][taken])
        np.testing.assert_array_equal(late[0][taken][: len(plain[0][taken])], plain[0][taken])
    assert not np.array_equal(early[0][-1], guided[0][-1])
    heun = spec(0.4, 0.6, solver="heun")
    assert course(engine, heun)[1] == [1, 1, 1, 1, 2, 2, 1, 1, 1], "both evaluations of a step alike"


def test_the_whole_interval_is_none(engine: Engine) -> None:
    assert spec(0, 1) == spec()
    np.testing.assert_array_equal(course(engine, spec(0, 1))[0][-1], course(engine, spec())[0][-1])


def test_of_a_start_picture_the_share_is_of_all_steps() -> None:
    later = spec(0.6, 1.0, start=Start("ab" * 32, 0.6))
    assert (later.steps_begun, [later.guides(step) for step in range(3)]) == (3, [False, True, True])


def test_in_any_company_and_parked_the_bits_are_the_same(engine: Engine, new_engine: Callable[..., Engine]) -> None:
    requests = [
        spec(0, 0.3, images=2), spec(0.5, 1, solver="unipc", seed=4), spec(seed=5), spec(0.2, 0.7, solver="dpmpp_2m"),
    ]  # fmt: skip
    alone = [course(engine, request)[0][-1] for request in requests]
    other = new_engine()
    generations = [engine.open(request) for request in requests]
    for _ in range(2):
        engine.step(generations)
    moved = [other.resume(ParkedGeneration.from_bytes(engine.park(g).to_bytes())) for g in generations]
    while running := [g for g in moved if g.state is State.RUNNING]:
        other.step(running)
    for generation, want in zip(moved, alone, strict=True):
        np.testing.assert_array_equal(other.ops.numpy(generation.latents), want)


def test_the_largest_step_is_what_is_admitted(new_engine: Callable[..., Engine]) -> None:
    engine, request = new_engine(), spec(0.5, 1, images=4)
    plain, whole = engine.open(spec(guidance_scale=1, images=4)), engine.open(request)
    assert engine.step_rows([whole]) == engine.step_rows([plain]), "its first step has the prompt alone"
    limited = Engine(engine.ops, engine.model, Limits(max_rows=engine.step_rows([plain])))
    limited.open(spec(guidance_scale=1, images=4))
    with pytest.raises(LimitError, match=r"step: got .* rows, allowed "):
        limited.open(request)


@pytest.mark.parametrize(
    ("request_of", "told"),
    [
        (lambda: spec(0.5, 0.2), r"guidance_interval: got \(0.5, 0.2\), allowed two numbers from 0 to 1"),
        (lambda: spec(-0.1, 0.2), "guidance_interval: got"),
        (lambda: spec(0.5), "guidance_interval: got"),
        (lambda: spec(0, 0.5, guidance_scale=1.0), "got 0:0.5 with guidance_scale 1, which guides nothing, .* raise"),
        (lambda: spec(0.12, 0.2), "got 0.12:0.2 with 5 steps, none of which .*; widen it"),
    ],
)
def test_what_is_refused(engine: Engine, request_of: Callable[[], GenerationSpec], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        engine.open(request_of())
    with pytest.raises(SpecError, match="got 0:0.5 with guidance_scale 1"):
        engine.make_spec("a cat", guidance_scale=1, guidance_interval=(0, 0.5))
