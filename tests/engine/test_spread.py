"""Chaos and weird: which styles they bring, that nothing of them is nothing, and that they grow."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from salon.engine.engine import Engine
from salon.engine.errors import SpecError
from salon.engine.generation import ParkedGeneration, State
from salon.engine.spec import GenerationSpec
from salon.engine.spread import CHAOTIC, NOISY, WEIRDEST, adapters_of, all_adapters, check_spread, point, text_of
from salon.engine.styles import names
from salon.engine.styles.choice import StyleInfo
from salon.engine.text.pipeline import TextEncoding

INFO = StyleInfo(tokens=4, words=("a", "b"), default="a", stylize=((0.0, 0.0), (100.0, 0.4)))


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load(dtype="float32")


def spec(**fields: Any) -> GenerationSpec:
    small = {"width": 64, "height": 64, "steps": 2, "seed": 3, "guidance_scale": 4.0}
    return GenerationSpec(prompt="a cat", **small | fields)


def drawn(engine: Engine, request: GenerationSpec) -> Any:
    """The latents and pictures of a request."""
    generation = engine.open(request)
    while generation.state is State.RUNNING:
        engine.step([generation])
    latents, pictures = engine.ops.numpy(generation.latents), engine.finish(generation)
    engine.close(generation)
    return latents, pictures


# ---- styles that nobody asked for ------------------------------------------------------------------------------------


def test_nothing_asked_is_the_specs_own_adapters() -> None:
    own = GenerationSpec(prompt="x", adapters=()).adapters
    assert adapters_of(spec(), 0, True) == all_adapters(spec(images=4), True) == own == ()


def test_every_image_has_a_style_of_its_own_and_all_share_the_weird_one() -> None:
    request = spec(images=3, chaos=50, weird=1500)
    each = [adapters_of(request, image, True) for image in range(3)]
    assert [len(uses) for uses in each] == [2, 2, 2]
    assert len({uses[0].adapter for uses in each}) == 3
    assert {uses[0].weight for uses in each} == {CHAOTIC / 2}
    assert {uses[0].unconditional for uses in each} == {names.NONE}
    assert len({uses[1] for uses in each}) == 1
    assert (each[0][1].weight, each[0][1].unconditional) == (WEIRDEST / 2, names.DEFAULT)
    assert all_adapters(request, True) == tuple(use for uses in each for use in uses)
    assert len(all_adapters(spec(images=3, weird=1500), True)) == 1


def test_points_follow_from_seed_and_image() -> None:
    found = {point(seed, image, which) for seed in (0, 1, 2**64 - 1) for image in range(8) for which in (0, 1)}
    assert len(found) == 48
    assert all(0 <= number < 2**32 for number in found)
    assert (point(3, 0, 0), point(3, 0, 1)) == POINTS, "a seed is the same picture for ever"


POINTS = (1276613582, 574819141)


def test_a_model_without_styles_has_chaos_in_its_texts_alone_and_nothing_weird() -> None:
    assert all_adapters(spec(images=3, chaos=50), False) == ()
    check_spread(spec(chaos=100), None)
    check_spread(spec(chaos=1, weird=1), INFO)
    for styles in (None, StyleInfo(tokens=4, words=())):
        with pytest.raises(SpecError, match=r"weird: got 3000, allowed 0 \(the model has no default style\); leave it"):
            check_spread(spec(weird=3000), styles)


# ---- texts -----------------------------------------------------------------------------------------------------------


def test_every_image_reads_its_own_noise_and_empty_rows_stay_empty() -> None:
    rng = np.random.default_rng(0)
    tokens = rng.standard_normal((5, 32)).astype(np.float32) * np.array([[1], [3], [0], [0.1], [0]], np.float32)
    text = TextEncoding(tokens, rng.standard_normal(24).astype(np.float32), {"subject": "cat"}, ("left out",))
    assert text_of(text, spec(), 0) is text
    read = [text_of(text, spec(chaos=100), image) for image in range(2)]
    again = text_of(text, spec(chaos=100, images=8), 1)
    np.testing.assert_array_equal(again.tokens, read[1].tokens)
    np.testing.assert_array_equal(again.pooled, read[1].pooled)
    assert (read[0].clauses, read[0].warnings) == (text.clauses, text.warnings)
    assert np.abs(read[0].tokens[0] - read[1].tokens[0]).max() > 0.1
    for each in read:
        assert not each.tokens[[2, 4]].any()
        kept = [float(each.tokens[row] @ tokens[row] / (tokens[row] @ tokens[row])) for row in (0, 1, 3)]
        assert np.allclose(kept, np.sqrt(1 - NOISY**2), atol=0.3), "a share of the text itself is left in every row"
    moved = [np.abs(text_of(text, spec(chaos=chaos), 0).tokens - tokens).mean() for chaos in (0, 5, 30, 100)]
    assert moved[0] == 0
    assert all(less < more for less, more in pairwise(moved))


# ---- pictures --------------------------------------------------------------------------------------------------------


def test_nothing_of_them_is_nothing_and_the_first_image_is_the_same_in_any_number(engine: Engine) -> None:
    plain = drawn(engine, spec(images=2))
    np.testing.assert_array_equal(drawn(engine, spec(images=2, chaos=0, weird=0))[0], plain[0])
    one, two = drawn(engine, spec(chaos=60, weird=600)), drawn(engine, spec(images=2, chaos=60, weird=600))
    np.testing.assert_array_equal(one[1][0], two[1][0])


def test_they_grow(engine: Engine) -> None:
    plain = drawn(engine, spec())[0]
    for name, values in (("chaos", (10, 40, 100)), ("weird", (300, 1200, 3000))):
        moved = [float(np.abs(drawn(engine, spec(**{name: value}))[0] - plain).mean()) for value in values]
        assert moved[0] > 1e-3
        assert all(more > 1.2 * less for less, more in pairwise(moved)), (name, moved)


def test_alone_in_company_and_parked_they_are_the_same(engine: Engine) -> None:
    requests = [spec(images=2, chaos=70), spec(weird=900), spec(), spec(chaos=20, weird=3000, guidance_scale=1.0)]
    alone = [drawn(engine, request) for request in requests]
    other = Engine.load(dtype="float32")
    generations = [engine.open(request) for request in requests]
    engine.step(generations)
    moved = [other.resume(ParkedGeneration.from_bytes(engine.park(g).to_bytes())) for g in generations]
    while running := [g for g in moved if g.state is State.RUNNING]:
        other.step(running)
    for each, want in zip(moved, alone, strict=True):
        np.testing.assert_array_equal(other.ops.numpy(each.latents), want[0])
        np.testing.assert_array_equal(other.finish(each), want[1])
        other.close(each)
    for one in (engine, other):
        assert one.num_open == 0
        one.adapters.arena.check()
