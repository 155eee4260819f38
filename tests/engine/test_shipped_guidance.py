"""What several texts do to pictures of the shipped model, over 8 seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from salon.engine.engine import Engine
from salon.engine.errors import PromptError
from salon.engine.generation import State
from salon.engine.guidance import TextTerm

SEEDS = 8


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load(threads=1)


def draw(engine: Engine, prompt: str, **fields: Any) -> Any:
    """Pictures uint8 [SEEDS, 64, 64, 3], without a style."""
    small: dict[str, Any] = {"steps": 5, "width": 64, "height": 64}
    specs = [engine.make_spec(prompt, seed=1000 + seed, **small, **fields) for seed in range(SEEDS)]
    generations = [engine.open(spec) for spec in specs]
    while running := [each for each in generations if each.state is State.RUNNING]:
        engine.step(running)
    pictures = np.concatenate([engine.finish(each) for each in generations])
    for each in generations:
        engine.close(each)
    return pictures


def redness(pictures: Any) -> float:
    """Share of pixels that are clearly red."""
    red, green, blue = (pictures[..., channel].astype(int) for channel in range(3))
    return float(((red > green + 64) & (red > blue + 64)).mean())


def test_a_colour_that_is_left_out_gets_rarer_with_the_weight(engine: Engine) -> None:
    found = [redness(draw(engine, "a balloon", terms=[("red", weight)])) for weight in (0.0, -0.1, -0.5)]
    assert found == sorted(found, reverse=True), found
    assert found[2] < 0.5 * found[0], found


def test_a_second_thing_comes_in_with_its_weight(engine: Engine) -> None:
    """Pictures leave the one thing and near the other, in mean differences."""
    cat, dog = draw(engine, "a cat"), draw(engine, "a dog")
    nearer = []
    for weight in (0.25, 4.0):
        both = draw(engine, "a cat", terms=[("a dog", weight)]).astype(float)
        nearer.append(np.abs(both - cat).mean() - np.abs(both - dog).mean())
    assert nearer[0] < 0 < nearer[-1], nearer


def test_attributes_beside_a_prompt_are_no_things(engine: Engine) -> None:
    text = engine.model.text
    assert text is not None
    for words, read in (
        ("red", {"background": "red background"}),
        ("on a pink background", {"background": "pink background"}),
        ("3d render", {"style": "3d render style"}),
        ("sepia tones, on teal", {"palette": "sepia tones", "background": "teal background"}),
        ("a red apple, 3d render", {"subject": "a red apple", "style": "3d render style"}),
    ):
        beside = text.encode(words, beside=True)
        assert (dict(beside.clauses), beside.warnings) == (read, ())
        assert ("subject" in beside.clauses) == bool(beside.pooled.any())
    with pytest.raises(PromptError):
        text.encode("red")  # a prompt has to say what to draw
    generation = engine.open(engine.make_spec("a cat", no="red", steps=1))
    assert generation.terms == (text.encode("red", beside=True),)
    assert generation.spec.terms == (TextTerm("red", -0.5),)
    engine.close(generation)
