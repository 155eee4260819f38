"""From a prompt to a request: sources of values, settings, suffix, defaults; it prints back to what says the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salon.engine.spec import GenerationSpec
from salon.parameters.errors import ParameterError, PromptRefused
from salon.parameters.known import Parameter, parameters
from salon.parameters.language.options import prompts_of
from salon.parameters.language.reading import parse_one
from salon.studio.prompt.request import ResolvedRequest, Source
from salon.studio.prompt.requests import choices, keys_of
from salon.studio.prompt.resolve import Facts, resolve
from salon.studio.prompt.settings import Settings, merged

DIGEST = "ab" * 32
FACTS = Facts(default_style=True)
SPEC = GenerationSpec(prompt="x", width=192, height=128, steps=20, guidance_scale=4.0, solver="euler", seed=9)


def of(prompt: str, kept: Settings | None = None, facts: Facts = FACTS) -> ResolvedRequest:
    return resolve(parse_one(prompt), facts, kept, choose=choices("test"))


def sources(request: ResolvedRequest) -> dict[str, tuple[Any, str]]:
    return {name: (each.value, str(each.source)) for name, each in request.values.items()}


def test_where_every_value_comes_from() -> None:
    kept = Settings(parameters={"stylize": 50.0, "images": 2, "aspect": (3.0, 2.0)}, suffix="--n 3 --relax")
    found = sources(of("a cat --ar 1:1", kept).completed(SPEC))
    assert found["aspect"] == ((1.0, 1.0), "typed")
    assert found["images"] == (3, "suffix")
    assert found["lane"] == ("relax", "suffix")
    assert found["stylize"] == (50.0, "settings")
    assert found["private"] == (False, "default")
    assert found["steps"] == (20, "model")
    assert found["solver"] == ("euler", "model")
    assert found["seed"] == (9, "default")
    assert found["width"][1] == "typed"  # by the aspect


def test_defaults_of_a_request_that_says_nothing() -> None:
    found = sources(of("a cat"))
    assert found == {
        "lane": ("fast", "default"), "private": (False, "default"), "images": (4, "default"),
        "stylize": (100.0, "default"),
    }  # fmt: skip
    assert "stylize" not in sources(of("a cat", facts=Facts(default_style=False)))
    assert "stylize" not in sources(of("a cat --raw"))
    assert of("a cat").completed(SPEC).values["aspect"].value == (3.0, 2.0)


def test_what_contradicts_the_prompt_stays_out() -> None:
    kept = Settings(parameters={"raw": True}, suffix="--sref 7")
    found = of("a cat --s 250", kept).values
    assert "raw" not in found
    assert found["style_references"].source is Source.SUFFIX
    assert of("a cat", kept).values["raw"].source is Source.SETTINGS
    wide = Settings(parameters={"aspect": (3.0, 2.0)})
    for size in ({"width": 64, "height": 64}, {}):
        (prompt,) = prompts_of("a cat", size)
        assert ("aspect" in resolve(prompt, FACTS, wide).values) == (not size)


def test_the_resolved_prompt_shows_what_was_added() -> None:
    kept = Settings(parameters={"stylize": 50.0}, suffix="--ar 3:2")
    assert of("a cat --n 1", kept).printed() == "a cat --ar 3:2 --n 1 --s 50"
    assert of("a cat").printed() == "a cat"
    whole = of("a cat").completed(SPEC).printed(all_values=True)
    assert whole == "a cat --lane fast --public --ar 3:2 --seed 9 --n 4 --steps 20 --guidance 4 --solver euler --s 100"


PROMPTS = st.sampled_from([
    "a cat", "a cat --ar 3:2 --s 250", "a 12:30 \\--ar train", "a cat --raw --no a, b --private", "x --sref 4093::2 7",
    "a cat --seed 7 --turbo --steps 3 --guidance 2.5 --solver heun", 'a sign "x --n 9" --n 2', "a cat --sw 5 --sref 1",
])  # fmt: skip
KEPT = st.builds(
    lambda parameters, suffix: Settings(parameters=parameters, suffix=suffix).check(),
    st.fixed_dictionaries({}, optional={"stylize": st.floats(0, 1000), "images": st.integers(1, 8)}),
    st.sampled_from(["", "--raw", "--ar 16:9 --fast", "--s 3"]),
)


@settings(deadline=None, max_examples=60)
@given(PROMPTS, KEPT)
def test_a_request_prints_to_a_prompt_that_means_the_same(prompt: str, kept: Settings) -> None:
    request = of(prompt, kept).completed(SPEC)
    again = of(request.printed(all_values=True), kept).completed(SPEC)
    assert again.terms == request.terms
    assert {name: each.value for name, each in again.values.items()} == {
        name: each.value for name, each in request.values.items()
    }
    assert again.printed(all_values=True) == request.printed(all_values=True)


@pytest.mark.parametrize(
    ("prompt", "position", "message"),
    [
        ("--n 1", 0, "prompt: got no words, allowed some words"),
        ("", 0, "prompt: got no words"),
        ("x" * 2001, 0, "prompt: got 2,001 characters, allowed up to 2,000; shorten it"),
        ("a.png", 0, "Cannot use a single image prompt without text: add text or a second image"),
        ("a cat --video", 6, "--video: got it, allowed what this version can do; leave it out: it needs video"),
        ("a cat --p a,b", 10, "--p: got 'a,b', allowed profiles by name"),
        ("a cat --v 7", 6, "--v: got it, .* it needs a choice of models"),
        ("a cat --loop --bs 2", 6, "--loop: got it"),
        ("a cat --sref poster.png", 13, "--sref: got the file '.*', allowed pictures that are there; bring it first"),
        ("a __colour__ cat", 2, "prompt: got __colour__, allowed lists of words that are there"),
    ],
)
def test_refusals(prompt: str, position: int, message: str) -> None:
    with pytest.raises(PromptRefused, match=message) as caught:
        of(prompt)
    assert caught.value.position == position


@pytest.mark.parametrize(("prompt", "name"), [("hot:: dog::2", "terms"), (f"{DIGEST} a cat", "image_prompts")])
def test_what_needs_a_parameter_that_is_not_there_is_refused(
    prompt: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from salon.studio.prompt import resolve as module

    table = {each: parameter for each, parameter in parameters().items() if each != name}
    monkeypatch.setattr(module, "parameters", lambda: table)
    with pytest.raises(PromptRefused, match="this version cannot do that yet"):
        of(prompt)


def test_terms_are_handed_on_beside_the_prompt() -> None:
    request = of("hot:: dog::2 cat::-0.5 --n 1")
    assert request.text == "hot"
    assert request.fields["terms"] == (("dog", 2.0), ("cat", -0.5))
    assert request.fields["prompt_weight"] == 1.0
    assert request.printed() == "hot::1 dog::2 cat::-0.5 --n 1"
    assert "terms" not in of("a cat::2").fields  # alone its weight says nothing
    with pytest.raises(PromptRefused, match="allowed up to 8|8 pairs"):
        of("::".join("abcdefghijkl"))


def test_families_kinds_and_lanes_of_a_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    from salon.studio.prompt import resolve as module

    def only(**fields: Any) -> None:
        odd = Parameter("steps", ("--steps",), parameters()["steps"].kind, "", "", **fields)
        monkeypatch.setattr(module, "parameters", lambda: {**parameters(), "steps": odd})

    only(families=("flux2",))
    assert of("a cat --steps 2").values["steps"].value == 2  # the family is not known
    with pytest.raises(PromptRefused, match="--steps: got it for a model of family flux, allowed flux2; leave it out"):
        of("a cat --steps 2", facts=Facts(True, family="flux"))
    only(job_kinds=("upscale",))
    with pytest.raises(PromptRefused, match="--steps: got it for a job of kind imagine, allowed upscale"):
        of("a cat --steps 2")
    only(lanes=("fast", "turbo"))
    assert of("a cat --steps 2 --turbo").lane == "turbo"
    with pytest.raises(PromptRefused, match="--steps: got it for the lane relax, allowed fast or turbo"):
        of("a cat --steps 2 --relax")


def test_words_of_lists_are_stable_under_the_seed() -> None:
    def lists(name: str) -> list[str] | None:
        return {"colour": ["red", "green", "blue", "teal"], "thing": ["cat", "a -- dog"]}.get(name)

    def text(prompt: str) -> str:
        return resolve(parse_one(prompt), FACTS, lists=lists).text

    one = text("a __colour__ __thing__ and a __colour__ hat --seed 7")
    assert one == text("a __colour__ __thing__ and a __colour__ hat --seed 7")
    assert one == text("a __colour__ __thing__ and a __colour__ hat --n 1 --seed 7")
    assert len({text(f"a __colour__ cat --seed {seed}") for seed in range(30)}) == 4
    assert "__" not in one
    assert text(r"a \__colour__ cat") == "a __colour__ cat"


def test_settings_are_checked_when_they_are_made() -> None:
    assert merged(Settings(), {"stylize": 5}, "--ar 3:2 ").suffix == "--ar 3:2"
    assert merged(Settings(parameters={"stylize": 5.0}), {"stylize": None}) == Settings()
    assert merged(Settings(suffix="--raw"), {}) == Settings(suffix="--raw")
    for changes, suffix, message in (
        ({"stylize": 2000}, None, "stylize: got 2000"),
        ({"what": 1}, None, "got 'what'"),
        ({"seed": 1}, None, "settings: got seed"),
        ({"video": True}, None, "it needs video"),
        ({}, "a cat --s 5", "suffix: got 'a cat', allowed parameters alone"),
        ({}, "--s 5 --s 6", "it twice"),
        ({}, "--s 9999", "--s: got '9999'"),
        ({}, "{--s 5, --s 6}", "2 prompts in one"),
        ({}, "--video", "it needs video"),
        ({}, "--seed 5", "suffix: got --seed, allowed what is of every prompt"),
        ({}, "--r 2", "2 prompts in one"),
        ({}, "x" * 2001, "2,001 characters"),
    ):
        with pytest.raises(ParameterError, match=message):
            merged(Settings(), changes, suffix)


def test_keys_and_random_numbers_of_the_jobs_of_a_submit() -> None:
    assert keys_of("k", 1) == ["k"]
    assert keys_of("k", 3) == ["k.0", "k.1", "k.2"]
    with pytest.raises(ParameterError, match="key: got 64 characters for 2 jobs, allowed up to 62"):
        keys_of("k" * 64, 2)
    first, again, other = choices("a", "k"), choices("a", "k"), choices("a", "l")
    numbers = [first() for _ in range(3)]
    assert numbers == [again() for _ in range(3)]
    assert len({*numbers, other()}) == 4
