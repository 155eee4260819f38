"""Taste codes as adapters, and the style vector of a picture as an answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from salon.engine.engine import Engine
from salon.engine.errors import SpecError
from salon.engine.generation import ParkedGeneration, State
from salon.engine.inquiries import Text, features
from salon.engine.spec import AdapterUse, GenerationSpec
from salon.engine.start import PictureForm, PictureUse, forms_of
from salon.engine.styles import names
from salon.engine.styles.choice import StyleInfo, style_uses
from salon.studio.inquiring import featuring

CODES = ("abcdefghij234567", "zzzzzzzzzzzzzzzz")
INFO = StyleInfo(tokens=4, words=("a", "b"), default="a", stylize=((0.0, 0.0), (100.0, 0.4), (1000.0, 1.6)))
QUICK: dict[str, Any] = {"steps": 3, "width": 64, "height": 64, "seed": 4, "guidance_scale": 2.0}


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load(dtype="float32")


def draw(engine: Engine, *specs: GenerationSpec) -> list[Any]:
    """Draw specs together: uint8 [images, height, width, 3] each."""
    generations = [engine.open(spec) for spec in specs]
    while running := [each for each in generations if each.state is State.RUNNING]:
        engine.step(running)
    found = [engine.finish(each) for each in generations]
    for each in generations:
        engine.close(each)
    return found


def vector(engine: Engine, number: int) -> Any:
    taste = engine.info.taste
    assert taste is not None
    return taste.number_vector(number)


# ---- names and requests ----------------------------------------------------------------------------------------------


def test_a_code_names_its_adapter() -> None:
    name = names.of_taste(CODES[0])
    assert names.taste_of(name) == CODES[0]
    assert names.is_known(name)
    assert names.is_style(name)
    for wrong in ("", "ABCDEFGHIJ234567", "abcdefghij23456", "abcdefghij234561", CODES[0] + "a"):
        with pytest.raises(SpecError, match="taste code: got .* allowed 16 characters from a to z and 2 to 7"):
            names.of_taste(wrong)


def test_a_profile_takes_the_default_styles_place() -> None:
    assert style_uses(INFO, stylize=100.0, profile=[CODES[0]]) == (
        AdapterUse(names.of_taste(CODES[0]), 0.7, names.NONE),
    )
    assert style_uses(INFO, profile=[CODES[0]]) == style_uses(INFO, stylize=100.0, profile=[(CODES[0], 3.0)])
    assert style_uses(INFO, stylize=0.0, profile=[CODES[0]]) == ()
    assert style_uses(INFO, profile=()) == style_uses(INFO, profile=None) == ()


def test_strength_weights_and_references_beside() -> None:
    uses = style_uses(
        INFO, stylize=1000.0, profile=[(CODES[0], 1.0), (CODES[1], 3.0)], style_references=[7], style_weight=50.0
    )
    assert [(use.adapter, use.weight) for use in uses] == [
        (names.of_taste(CODES[0]), 0.625), (names.of_taste(CODES[1]), 1.875), ("style:number:7", 0.5)
    ]  # fmt: skip
    both = style_uses(INFO, profile=[CODES[0]], style_references=[CODES[0]])
    assert both == (AdapterUse(names.of_taste(CODES[0]), 1.7, names.NONE),)


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        (["ab" * 32], "profile: got .* allowed a taste code"),
        ([7], "profile: got 7, allowed a taste code"),
        ([(CODES[0], 0.0)], "weight of a profile: got 0.0, allowed a number from 0.01"),
        ([CODES[0], CODES[0]], "twice"),
        ([(CODES[0], -1.0)], "weight"),
    ],
)
def test_profiles_that_are_none(profile: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        style_uses(INFO, profile=profile)


def test_a_model_without_styles_has_no_profiles() -> None:
    with pytest.raises(SpecError, match=r"profile: got a style, allowed none \(the model has no style\)"):
        style_uses(None, profile=[CODES[0]])


# ---- in the engine ---------------------------------------------------------------------------------------------------


def test_a_code_is_the_style_of_its_vector(engine: Engine) -> None:
    engine.add_taste(CODES[0], vector(engine, 9))
    by_number = engine.make_spec("a cat", adapters=(AdapterUse("style:number:9", 0.7, names.NONE),), **QUICK)
    by_code = engine.make_spec("a cat", profile=[CODES[0]], **QUICK)
    assert forms_of(by_code) == (PictureForm(CODES[0], PictureUse.TASTE),)
    one, two, nothing = draw(engine, by_number, by_code, engine.make_spec("a cat", **QUICK))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, nothing)


def test_strength_0_is_no_profile_to_the_bit_and_needs_no_vector(engine: Engine) -> None:
    unknown = "y" * 16
    spec = engine.make_spec("a cat", profile=[unknown], stylize=0.0, **QUICK)
    plain, none = draw(engine, engine.make_spec("a cat", **QUICK), spec)
    assert np.array_equal(plain, none)


def test_strangers_codes_in_one_batch_have_the_bits_of_each_alone(engine: Engine) -> None:
    specs = []
    for number in range(6):
        code = "abcdef"[number] * 16
        engine.add_taste(code, vector(engine, 100 + number))
        own = QUICK | {"width": 64 + 16 * (number % 2), "steps": 3 + number % 2, "seed": number}
        specs.append(engine.make_spec("a dog", profile=[code], stylize=100.0 * number, **own))
    together = draw(engine, *specs)
    for spec, picture in zip(specs, together, strict=True):
        assert np.array_equal(draw(engine, spec)[0], picture)


def test_a_parked_job_goes_on_with_its_code(engine: Engine) -> None:
    engine.add_taste(CODES[1], vector(engine, 5))
    spec = engine.make_spec("a cat", profile=[CODES[1]], **QUICK)
    (whole,) = draw(engine, spec)
    generation = engine.open(spec)
    engine.step([generation])
    data = engine.park(generation).to_bytes()
    other = Engine.load(dtype="float32")
    with pytest.raises(SpecError, match=f"taste code: got {CODES[1]}, which is not here"):
        other.resume(ParkedGeneration.from_bytes(data))
    other.add_picture(forms_of(spec)[0], np.frombuffer(vector(engine, 5).astype("<f4").tobytes(), np.uint8))
    again = other.resume(ParkedGeneration.from_bytes(data))
    while again.state is State.RUNNING:
        other.step([again])
    assert np.array_equal(other.finish(again), whole)


@pytest.mark.parametrize(
    "wrong",
    [np.zeros(255, np.float32), np.zeros(256), np.full(256, np.nan, np.float32), np.zeros((1, 256), np.float32)],
)
def test_vectors_that_are_none(engine: Engine, wrong: Any) -> None:
    with pytest.raises(SpecError, match="taste code .*: got a vector .* allowed finite float32 .256."):
        engine.add_taste("x" * 16, wrong)


@pytest.mark.parametrize("wrong", [np.zeros(1023, np.uint8), np.zeros((4, 256), np.uint8), np.zeros(0, np.uint8)])
def test_bytes_that_are_no_vector(engine: Engine, wrong: Any) -> None:
    with pytest.raises(SpecError, match="taste code"):
        engine.add_picture(PictureForm("x" * 16, PictureUse.TASTE), wrong)


# ---- the style vector of a picture -----------------------------------------------------------------------------------


def test_features_are_the_style_vector(engine: Engine) -> None:
    pixels = np.kron(np.random.default_rng(1).integers(0, 255, (8, 8, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    digest = "cd" * 32
    spec = featuring(digest, (128, 128), engine.info)
    (form,) = forms_of(spec)
    engine.add_picture(form, pixels)
    generation = engine.open(spec)
    parked = engine.park(generation)
    generation = engine.resume(parked)
    engine.inquire(generation)
    assert generation.state is State.DONE
    (text,) = generation.texts
    engine.add_style_picture(digest, pixels)
    styles = engine.model.styles
    assert styles is not None
    found = features.read(text)
    assert np.array_equal(styles.tokens(engine.ops, found), engine.adapters._known[names.of_picture(digest)].tokens)


@pytest.mark.parametrize("wrong", [Text("?", 1.0, "vector"), Text("", 1.0, "vector"), Text("AACAfw==", 1.0, "prompt")])
def test_texts_that_are_no_vector(wrong: Text) -> None:
    with pytest.raises(SpecError, match="features: got"):
        features.read(wrong)
