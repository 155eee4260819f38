"""Guidance of any number of terms: the sum by hand, weights that people give, and what is refused."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.engine.engine import Engine
from salon.engine.errors import LimitError, PromptError, SpecError
from salon.engine.generation import Generation, State
from salon.engine.guidance import NO, TextTerm, left_out, weighted
from salon.engine.limits import Limits
from salon.engine.spec import AdapterUse, GenerationSpec
from salon.engine.text.pipeline import TextEncoding


def spec(**fields: Any) -> GenerationSpec:
    """A small request: 4 x 4 tokens, 1 step."""
    values: dict[str, Any] = {"prompt": "a red apple, 3d, on teal", "width": 16, "height": 16, "steps": 1, "seed": 0}
    return GenerationSpec(**(values | fields))


def velocity(engine: Engine, request: GenerationSpec) -> Any:
    """What moves the latents in the first step, float32 [rows, C]."""
    generation = engine.open(request)
    engine.step([generation])
    found = engine.ops.numpy(generation.velocity)
    engine.close(generation)
    return found


# ---- the sum


def test_the_velocity_is_the_weighted_sum_by_hand(engine: Engine) -> None:
    """Every part is had by a request of its own: guidance 1 is a prompt alone, guidance 0 the unconditional input."""
    uses = (AdapterUse("page", 0.8, "null"),)
    texts = ("cat", "big dog", "house")
    parts = {text: velocity(engine, spec(prompt=text, guidance_scale=1.0, adapters=uses)) for text in texts}
    u = velocity(engine, spec(guidance_scale=0.0, adapters=uses))
    terms = (TextTerm("big dog", 0.4), TextTerm("house", -0.3))
    got = velocity(engine, spec(prompt="cat", terms=terms, prompt_weight=0.6, guidance_scale=3.0, adapters=uses))
    want = u + 3 * (0.6 * (parts["cat"] - u) + 0.4 * (parts["big dog"] - u) - 0.3 * (parts["house"] - u))
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-5)
    assert np.abs(got - velocity(engine, spec(prompt="cat", guidance_scale=3.0, adapters=uses))).max() > 1e-2


def test_at_guidance_1_prompts_are_mixed_without_an_unconditional_sample(engine: Engine) -> None:
    request = spec(prompt="cat", terms=(TextTerm("house", 0.25),), prompt_weight=0.75, guidance_scale=1.0)
    generation = engine.open(request)
    assert (generation.negative, generation.num_samples) == (None, 2)
    engine.close(generation)
    cat, house = (velocity(engine, spec(prompt=text, guidance_scale=1.0)) for text in ("cat", "house"))
    np.testing.assert_allclose(velocity(engine, request), 0.75 * cat + 0.25 * house, rtol=0, atol=1e-5)
    away = spec(prompt="cat", terms=(TextTerm("house", -0.5),), guidance_scale=1.0)
    generation = engine.open(away)
    assert generation.num_samples == 3
    engine.close(generation)
    u = velocity(engine, spec(guidance_scale=0.0))
    np.testing.assert_allclose(velocity(engine, away), cat - 0.5 * (house - u), rtol=0, atol=1e-5)


def test_a_negative_prompt_stays_the_unconditional_input_beside_terms(engine: Engine) -> None:
    terms = (TextTerm("house", -0.5),)
    u, cat, house = (velocity(engine, spec(prompt=text, guidance_scale=1.0)) for text in ("a dog", "cat", "house"))
    got = velocity(engine, spec(prompt="cat", negative_prompt="a dog", terms=terms, guidance_scale=3.0))
    np.testing.assert_allclose(got, u + 3 * (cat - u - 0.5 * (house - u)), rtol=0, atol=2e-5)


def test_terms_have_the_adapters_of_the_conditional_branch(engine: Engine) -> None:
    """Two halves of one prompt are the prompt, whatever acts on it."""
    uses = (AdapterUse("page", 0.8, "null"), AdapterUse("short", 0.5))
    whole = velocity(engine, spec(prompt="cat", adapters=uses))
    halves = velocity(engine, spec(prompt="cat", terms=(TextTerm("cat", 0.5),), prompt_weight=0.5, adapters=uses))
    np.testing.assert_allclose(halves, whole, rtol=0, atol=2e-5)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_weight_zero_is_no_term_to_the_bit(engine: Engine, guidance: float) -> None:
    plain = velocity(engine, spec(guidance_scale=guidance, images=2))
    zero = spec(terms=(TextTerm("cat", 0.0), TextTerm("house", 0.0)), guidance_scale=guidance, images=2)
    generation = engine.open(zero)
    assert (generation.terms, generation.num_samples) == ((), 2 if guidance == 1 else 4)
    engine.close(generation)
    np.testing.assert_array_equal(velocity(engine, zero), plain)


def test_the_effect_grows_with_the_weight(engine: Engine) -> None:
    plain = velocity(engine, spec())
    for sign in (1, -1):
        weights = [0.05, 0.2, 0.8, 3.2]
        moved = [np.abs(velocity(engine, spec(terms=(TextTerm("house", sign * w),))) - plain).mean() for w in weights]
        assert moved == sorted(moved)
        assert 0 < moved[0] < moved[-1] / 10


def test_a_spoilt_term_fails_its_own_generation_alone(engine: Engine) -> None:
    """Numbers that overflow in the sample of one term; the neighbour's bits are those that it has alone."""
    good = spec(seed=1, terms=(TextTerm("cat", 0.5),))
    failing, fine = engine.open(spec(terms=(TextTerm("house", 0.5),))), engine.open(good)
    broken = TextEncoding(np.zeros((3, 12), np.float32), np.full(12, 3e38, np.float32))
    whole = failing.all_branches
    failing.all_branches = (*whole[:-1], dataclasses.replace(whole[-1], text=broken))
    reports = engine.step([failing, fine])
    assert [report.state for report in reports] == [State.FAILED, State.DONE]
    np.testing.assert_array_equal(engine.ops.numpy(fine.velocity), velocity(engine, good))
    for generation in (failing, fine):
        engine.close(generation)


# ---- sizes and limits


def opened(engine: Engine, **fields: Any) -> Generation:
    generation = engine.open(spec(**fields))
    engine.close(generation)
    return generation


def test_every_term_is_one_more_sample_an_image(engine: Engine) -> None:
    one = opened(engine, images=2)
    two = opened(engine, images=2, terms=(TextTerm("cat", 0.5), TextTerm("house", -0.5)))
    assert (one.num_samples, two.num_samples) == (4, 8)
    assert two.image_rows == 2 * one.image_rows
    assert two.text_rows == 2 * one.text_rows
    assert engine.step_bytes([two]) > engine.step_bytes([one])


@pytest.mark.parametrize(
    ("limits", "fields", "told"),
    [
        ({}, {"terms": (TextTerm("cat"),) * 9}, "terms: got 9 terms, allowed 8 .Limits.max_terms.; leave some out"),
        ({"max_terms": 1}, {"terms": (TextTerm("cat"),) * 2}, "terms: got 2 terms, allowed 1 "),
        ({"max_prompt_chars": 30}, {"terms": (TextTerm("cat " * 9),)}, "term: got 36 characters, allowed 30 "),
        ({"max_rows": 60}, {"terms": (TextTerm("cat"),)}, "step: got 75 rows, allowed 60"),
    ],
)
def test_limits(new_engine: Callable[..., Engine], limits: dict[str, int], fields: dict[str, Any], told: str) -> None:
    engine = new_engine(**limits)
    with pytest.raises(LimitError, match=told):
        engine.open(spec(**fields))
    assert engine.num_open == 0


def test_a_term_that_cannot_be_read_is_named(engine: Engine) -> None:
    with pytest.raises(PromptError, match="^term: got '!!!', allowed some words"):
        engine.open(spec(terms=(TextTerm("!!!"),)))
    words = "^terms: got 'cat' with guidance_scale 0, .*, allowed some with guidance; raise guidance_scale"
    for make in (engine.open, lambda s: engine.make_spec("cat", terms=s.terms, guidance_scale=0)):
        with pytest.raises(SpecError, match=words):
            make(spec(terms=(TextTerm("cat"),), guidance_scale=0.0))
    assert opened(engine, terms=(TextTerm("cat", 0.0),), guidance_scale=0.0).num_samples == 2


def test_what_is_left_out_of_a_term_is_told(engine: Engine) -> None:
    generation = opened(engine, terms=(TextTerm("a big red cat house apple dog", 0.5),))
    assert generation.clauses == generation.text.clauses
    assert [said for said in generation.warnings if said.startswith("'a big red cat house apple dog': the subject")]


# ---- weights as people give them


def normal(**fields: Any) -> list[float]:
    """Prompt's weight and those of terms."""
    found = weighted(**fields)
    return [found["prompt_weight"], *(term.weight for term in found["terms"])]


def test_guidance_keeps_its_strength_whatever_the_scale_of_weights() -> None:
    assert normal() == [1.0]
    assert normal(terms=[("a dog", 1)]) == [0.5, 0.5]
    assert normal(terms=[("a dog", 0.5)]) == pytest.approx([2 / 3, 1 / 3])
    assert normal(terms=[("a dog", 30.0)], prompt_weight=60) == pytest.approx([2 / 3, 1 / 3])
    assert normal(terms=[("a dog", -0.5)]) == [1.0, -0.5]
    assert normal(terms=[("a dog", 0.0)]) == [1.0, 0.0]
    assert normal(terms=[("a dog", 2)], prompt_weight=-0.5) == [-0.25, 1.0]


def test_what_is_left_out_weighs_the_same_beside_any_weights() -> None:
    found = weighted(terms=[("a dog", 3)], no=" red,a hat ,, ")
    assert found["prompt_weight"] == 0.25
    assert found["terms"] == (TextTerm("a dog", 0.75), TextTerm("red", NO), TextTerm("a hat", NO))
    assert weighted(no="red") == weighted(terms=[TextTerm("red", -0.5)])  # as the prompt language writes it
    assert left_out(["red, blue", "green"]) == ("red", "blue", "green")
    assert left_out(None) == ()


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=6))
def test_weights_above_zero_sum_to_one(weights: list[float]) -> None:
    terms = [("x", weight) for weight in weights[1:]]
    if math.fsum(weights) <= 0:
        with pytest.raises(SpecError, match="^weights: got .*, allowed a sum above 0; raise one"):
            weighted(prompt_weight=weights[0], terms=terms)
        return
    found = normal(prompt_weight=weights[0], terms=terms)
    assert sum(weight for weight in found if weight > 0) == pytest.approx(1)
    assert all((a > 0) == (b > 0) or abs(a) < 1e-300 for a, b in zip(weights, found, strict=True))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"terms": [("a dog", -1)]}, "weights: got 1 - 1, allowed a sum above 0; raise one, or leave one out"),
        ({"terms": [("a dog", -2), ("b", 0.5)]}, "weights: got 1 - 2 [+] 0.5, allowed"),
        ({"prompt_weight": 0}, "weights: got 0, allowed"),
        ({"prompt_weight": math.nan}, "prompt_weight: got nan, allowed a number from -100 to 100; choose"),
        ({"terms": [("a dog", 101)]}, "weight of a term: got 101, allowed a number from -100 to 100"),
        ({"terms": [("a dog", "1")]}, "weight of a term: got '1'"),
        ({"terms": [(" ", 1)]}, "term: got ' ', allowed some words"),
        ({"terms": [(3, 1)]}, "term: got 3"),
        ({"terms": ["a dog"]}, "term: got 'a dog', allowed a pair"),
        ({"terms": "a dog"}, "terms: got 'a dog', allowed several"),
        ({"terms": 3}, "terms: got 3, allowed several"),
        ({"no": " , "}, "no: got ' , ', allowed some words"),
        ({"no": 3}, "no: got 3"),
        ({"no": [3]}, "no: got 3, allowed words"),
    ],
)
def test_wrong_weights_are_named(engine: Engine, fields: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError, match=f"^{told}"):
        engine.make_spec("a cat", **fields)


def test_a_spec_holds_normal_weights_and_survives(engine: Engine) -> None:
    made = engine.make_spec("a cat", seed=1, terms=[("a dog", np.float32(1))], no=np.str_("red"))
    assert made.prompt_weight == 0.5
    assert made.terms == (TextTerm("a dog", 0.5), TextTerm("red", -0.5))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(made), type=GenerationSpec) == made
    assert hash(made) == hash(dataclasses.replace(made))
    assert dataclasses.replace(made, terms=(), prompt_weight=1.0) == engine.make_spec("a cat", seed=1)


def test_a_spec_of_before_has_no_terms() -> None:
    fields = msgspec.to_builtins(GenerationSpec(prompt="a cat", seed=1))
    del fields["terms"], fields["prompt_weight"]
    assert msgspec.convert(fields, GenerationSpec) == GenerationSpec(prompt="a cat", seed=1)
    assert Limits().max_terms == 8
