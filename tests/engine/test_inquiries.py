"""Inquiries: texts in place of pictures, the same bits alone and in company, parked or not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from salon.engine import inquiries
from salon.engine.engine import Engine
from salon.engine.errors import NumericalError, PromptError, SpecError, StateError
from salon.engine.generation import Generation, ParkedGeneration, State
from salon.engine.inquiries import Text, describe, shorten
from salon.engine.limits import Limits
from salon.engine.spec import GenerationSpec
from salon.engine.start import Start

from .conftest import THINGS, add_pictures, write_asked

ABOUT = Start("ab" * 32, 0.0)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_asked(tmp_path_factory.mktemp("asked"))


@pytest.fixture
def engine(asked: Path, backend: str) -> Engine:
    return Engine.load(asked, backend=backend, limits=Limits())


def spec(name: str = "describe", **fields: Any) -> GenerationSpec:
    values: dict[str, Any] = {"prompt": "", "start": ABOUT} if name == "describe" else {"prompt": "a red apple"}
    values |= {"width": 16, "height": 16, "seed": 5, "guidance_scale": 1.0, "inquiry": name}
    return GenerationSpec(**(values | fields))


def opened(engine: Engine, request: GenerationSpec) -> Generation:
    return engine.open(add_pictures(engine, request))


def answered(engine: Engine, generation: Generation) -> tuple[Text, ...]:
    while generation.state is State.RUNNING:
        engine.inquire(generation)
    texts = generation.texts
    engine.close(generation)
    return texts


def small_pieces(monkeypatch: pytest.MonkeyPatch, rows: int = 60) -> None:
    """Cut inquiries into pieces of two probes."""
    monkeypatch.setattr(inquiries, "PIECE_ROWS", rows)


def test_a_picture_is_described_by_prompts_that_the_model_reads(engine: Engine) -> None:
    texts = answered(engine, opened(engine, spec()))
    assert len(texts) == len({text.text for text in texts}) == describe.PROMPTS
    assert [text.score for text in texts] == sorted((text.score for text in texts), reverse=True)
    assert all(0 <= text.score <= 1 and text.role == "prompt" for text in texts)
    assert engine.reader is not None
    for text in texts:
        reading = engine.reader.read(text.text)
        assert reading.texts["subject"] in THINGS
        assert not reading.warnings
    other = answered(engine, opened(engine, spec(start=Start("cd" * 32, 0.0))))
    assert texts != other, "another picture"


def test_the_error_about_the_right_text_is_the_training_loss(engine: Engine) -> None:
    """A probe's number is the mean squared error of the velocity, worked out here by the engine's own step."""
    generation = opened(engine, spec())
    assert generation.probing is not None
    sigma, noise = 0.75, 3
    (number,) = generation.probing._measure([inquiries.Probe("cat", noise, sigma)])
    clean = engine.ops.numpy(generation.latents).astype(np.float64)
    from salon.engine import noise as noises

    drawn = noises.normal(5, noise, 0, 16, 16).astype(np.float64)
    plain = engine.open(GenerationSpec(prompt="cat", width=16, height=16, steps=4, seed=0, guidance_scale=1.0))
    at = next(i for i, one in enumerate(plain.evaluations) if one.sigma == sigma)
    plain.position = at
    plain.latents = engine.ops.array(((1 - sigma) * clean + sigma * drawn).astype(np.float32), "float32")
    engine.step([plain])
    velocity = engine.ops.numpy(plain.velocity).astype(np.float64)
    assert number == pytest.approx(float(((velocity - (drawn - clean)) ** 2).mean()), rel=2e-3)
    engine.close(plain)
    engine.close(generation)


def test_the_same_bits_alone_and_in_company(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    small_pieces(monkeypatch)
    alone = [answered(engine, opened(engine, spec(name))) for name in ("describe", "shorten")]
    together = [opened(engine, spec(name)) for name in ("describe", "shorten")]
    drawn = engine.open(GenerationSpec(prompt="dog", width=16, height=16, steps=40, seed=1))
    while any(one.state is State.RUNNING for one in together):
        for one in together:
            if one.state is State.RUNNING:
                engine.inquire(one)
            if drawn.state is State.RUNNING:
                engine.step([drawn])
    assert [one.texts for one in together] == alone
    for one in (*together, drawn):
        engine.close(one)
    monkeypatch.setattr(inquiries, "PIECE_ROWS", 1600)
    assert [answered(engine, opened(engine, spec(name))) for name in ("describe", "shorten")] == alone


@pytest.mark.parametrize("name", ["describe", "shorten"])
def test_parked_at_any_piece_and_resumed_elsewhere(
    name: str, asked: Path, engine: Engine, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_pieces(monkeypatch, 100)
    alone = answered(engine, opened(engine, spec(name)))
    there = Engine.load(asked, backend=backend)
    add_pictures(there, spec(name))
    generation = opened(engine, spec(name))
    assert generation.probing is not None
    for _ in range(generation.probing.course.pieces - 1):
        position = generation.position
        parked = ParkedGeneration.from_bytes(engine.park(generation).to_bytes())
        engine, there = there, engine
        generation = engine.resume(parked)
        assert generation.position == position
        assert generation.state is State.RUNNING
        engine.inquire(generation)
    assert answered(engine, generation) == alone
    assert there.num_open == engine.num_open == 0


def test_what_was_parked_is_checked(engine: Engine) -> None:
    generation = opened(engine, spec())
    engine.inquire(generation)
    parked = engine.park(generation)
    for numbers in (parked.numbers + b"x", b"\0" * 8 * 10_000):
        with pytest.raises(StateError, match="parked generation: got .* bytes of numbers"):
            engine.resume(msgspec.structs.replace(parked, numbers=numbers))
    assert engine.num_open == 0


def test_as_many_probes_as_were_announced(engine: Engine) -> None:
    """The cost model, the price and the end of the job go by that number."""
    words = {slot: len(names) for slot, names in engine.model.words.items()}
    assert words == {"subject": 5, "style": 1, "background": 2}
    for request in (spec(), spec("shorten"), spec("shorten", prompt="cat"), spec("shorten", prompt="cat, " * 40)):
        generation = opened(engine, request)
        assert generation.probing is not None
        answered(engine, generation)
        probing = opened(engine, request).probing
        assert probing is not None
        course = engine.info.course(request)
        assert course == probing.course
        assert (course.pieces - 1) * course.piece < course.probes <= course.pieces * course.piece


def test_a_word_that_is_not_read_weighs_nothing(engine: Engine) -> None:
    texts = answered(engine, opened(engine, spec("shorten", prompt="a red apple, masterpiece quality wallpaper, teal")))
    words = {text.text: text for text in texts if text.role == "word"}
    assert list(words) == ["a red", "apple", "masterpiece quality wallpaper", "teal"]
    assert sum(text.score for text in words.values()) == pytest.approx(1, abs=1e-3)
    shorter = [text for text in texts if text.role == "prompt"]
    assert 1 <= len(shorter) <= shorten.SHORTER
    assert [text.score for text in shorter] == sorted((text.score for text in shorter), reverse=True)
    for text in shorter:
        assert len(text.text) < len("a red apple, masterpiece quality wallpaper, teal")
        assert engine.reader is not None
        assert engine.reader.read(text.text).texts
    left = [text for text in words.values() if text.note]
    assert all(text.score == 0 and text.note == "left out: the model reads nothing of it" for text in left)


def test_words_beyond_the_bound_are_said_so(engine: Engine) -> None:
    texts = answered(engine, opened(engine, spec("shorten", prompt="apple " + "red " * 40)))
    words = [text for text in texts if text.role == "word"]
    assert len(words) == 41
    assert {text.note for text in words[shorten.MOST_WORDS :]} == {"not weighed: only the first 32 words are"}


def refusals() -> Sequence[tuple[dict[str, Any], str]]:
    return (
        ({"inquiry": "guess"}, "inquiry: got 'guess', allowed describe or features or shorten; choose one"),
        ({"inquiry": 3}, "inquiry: got 3, allowed"),
        ({"inquiry": "describe"}, "describe: got nothing to start from, allowed a picture, at strength 0"),
        ({"inquiry": "describe", "start": Start("ab" * 32, 0.5)}, "describe: got strength 0.5, allowed a picture"),
        ({"inquiry": "shorten", "start": ABOUT}, "shorten: got a picture to start from, allowed a prompt alone"),
        ({"inquiry": "shorten", "prompt": " "}, "prompt: got ' ', allowed some words"),
    )


@pytest.mark.parametrize(("fields", "message"), refusals())
def test_an_impossible_spec_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        GenerationSpec(**({"prompt": "cat"} | fields))


def test_what_draws_and_what_does_not(engine: Engine) -> None:
    inquiry = opened(engine, spec())
    drawn = engine.open(GenerationSpec(prompt="cat", width=16, height=16, steps=1))
    for call in (lambda: engine.step([inquiry]), lambda: engine.finish(inquiry), lambda: engine.decode(inquiry, 0)):
        with pytest.raises(StateError, match="got an inquiry, allowed a generation that draws"):
            call()
    with pytest.raises(StateError, match="inquire: got a generation that draws, allowed an inquiry"):
        engine.inquire(drawn)
    assert answered(engine, inquiry)
    with pytest.raises(StateError, match="inquire: got generation .*closed"):
        engine.inquire(inquiry)


def test_a_model_without_a_list_of_words_is_refused(tiny_model: Path, backend: str) -> None:
    engine = Engine.load(tiny_model, backend=backend)
    for request in (spec(), spec("shorten")):
        add_pictures(engine, request)
        message = f"{request.inquiry}: got a model without a list of its words, .* vocabulary.concepts"
        with pytest.raises(SpecError, match=message):
            engine.open(request)
        with pytest.raises(SpecError, match=message):
            engine.info.course(request)
    assert engine.num_open == 0


def test_a_prompt_of_nothing_is_refused(engine: Engine) -> None:
    with pytest.raises(PromptError, match="prompt: got ',', allowed some words"):
        engine.info.course(spec("shorten", prompt=","))


def test_numbers_that_are_none_fail_it_alone(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    generation = opened(engine, spec())
    assert generation.probing is not None
    monkeypatch.setattr(
        generation.probing, "_velocities", lambda texts, latents, sigmas: [np.full((16, 16), np.nan)] * len(texts)
    )
    with pytest.raises(NumericalError, match="describe: NaN or infinity in a velocity"):
        engine.inquire(generation)
    assert generation.state is State.FAILED
    engine.close(generation)
    assert engine.num_open == 0


def test_texts_at_once_are_encoded_as_one_by_one(engine: Engine) -> None:
    text: Any = engine.model.text
    prompts = ["cat", "a red apple, 3d, on teal", "dog", "cat, pink background"]
    readings = [text.reader.read(prompt) for prompt in prompts]
    for made, prompt in zip(text.encode_read(readings), prompts, strict=True):
        alone = text.encode(prompt)
        assert made.tokens.tobytes() == alone.tokens.tobytes()
        assert made.pooled.tobytes() == alone.pooled.tobytes()
        assert made.clauses == alone.clauses
    assert text.encode_read([]) == []
