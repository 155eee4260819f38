"""What is printed is read as the same; whatever comes, only our own errors, in linear time."""

from __future__ import annotations

import time
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salon.parameters.errors import PromptRefused
from salon.parameters.kinds import Aspect, Box, Number, OneOf, Switch, Whole, Words
from salon.parameters.known import parameters
from salon.parameters.language.grammar import check_conflicts
from salon.parameters.language.printing import printed
from salon.parameters.language.prompt import Prompt, Said, Term
from salon.parameters.language.reading import parse
from salon.parameters.pictures import Form, Named
from salon.parameters.profiles import Profiles
from salon.parameters.references import Picture, References, Typed

PIECES = [
    "--", "—", "–", "-", "::", ":", "{", "}", ",", "\\", '"', "“", "”", "_", "__", "__color__", " ", "  ", "\n", "a",
    "cat", "ar", "s", "no", "raw", "fast", "end", "p", "3:2", "250", "2", "0.5", "-1", "=", "http://x.org/a.png",
    "a.png", "ab" * 32, "0123456789abcdef01234567:2", "\uff0d\uff0d", "\u3000", "é", ".", "+", "--ar 3:2", "--no",
    "--sref", "random",
]  # fmt: skip
FILES = ["/a/my poster.png", '/a"b\\c/--x.png', "/a::b"]
TEXT = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3)), max_size=12).map("".join)
WORDS = TEXT.map(str.strip).filter(lambda text: bool(text) and "\0" not in text and text.isprintable())


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a kind, as it reads them."""
    if isinstance(kind, Whole):
        return st.integers(kind.low, kind.high)
    if isinstance(kind, Number):
        return st.floats(kind.low, kind.high, allow_nan=False).map(lambda value: value + 0.0)
    if isinstance(kind, Switch):
        return st.just(True)
    if isinstance(kind, OneOf):
        return st.sampled_from(kind.names)
    if isinstance(kind, Words):
        return WORDS if kind.to_end else st.from_regex(r"[a-z0-9.]{1,8}", fullmatch=True)
    if isinstance(kind, Aspect):
        return st.sampled_from([(1, 1), (3, 2), (16, 9), (1, 14)])
    if isinstance(kind, Box):
        far, sides = st.integers(-kind.most, kind.most), st.integers(1, kind.most)
        return st.tuples(far, far, sides, sides)
    if isinstance(kind, References):
        sources = st.one_of(
            st.builds(Typed, st.integers(0, 2**32 - 1), st.just(False), st.floats(0.01, 100)),
            st.builds(Typed, st.sampled_from(["random", "ab" * 32]), st.just(False), st.just(1.0)),
            st.builds(Typed, st.sampled_from(FILES), st.just(True), st.just(2.0)),
        )
        return st.lists(sources, min_size=1, max_size=3).map(tuple)
    if isinstance(kind, Profiles):
        return st.lists(st.tuples(st.sampled_from(["abc", "m12", "@ann"]), st.floats(0.01, 100)), max_size=3).map(tuple)
    if isinstance(kind, Picture):
        found = [Typed("/a/my poster.png", True, 1.0), Typed("ab" * 32, False, 1.0), Typed("job-1:2", False, 1.0)]
        return st.sampled_from(found)
    pytest.skip(f"no values of a {type(kind).__name__} are known here")


@st.composite
def prompts(draw: Any) -> Prompt:
    """Prompts as the grammar makes them."""
    terms = draw(st.lists(st.builds(Term, WORDS, st.floats(0, 100, exclude_min=True)), min_size=1, max_size=3))
    if len(terms) == 1 and draw(st.booleans()):
        terms = [Term(terms[0].text)]
    said: dict[str, Said] = {}
    for name in draw(st.sets(st.sampled_from([each.name for each in parameters().values() if each.flags]))):
        parameter = parameters()[name]
        if name == "repeat":
            continue
        one = Said(name, parameter.flags[0], draw(values(parameter.kind)))
        try:
            check_conflicts("", {**said, name: one})
        except PromptRefused:
            continue
        said[name] = one
    pictures = draw(st.lists(st.sampled_from([Named("a.png", Form.FILE), Named("ab" * 32, Form.DIGEST)]), max_size=2))
    return Prompt(tuple(terms), MappingProxyType(said), tuple(pictures))


def meaning(prompt: Prompt) -> Any:
    """What is to stay; a mapping is compared whatever its order."""
    return prompt.terms, prompt.pictures, {name: one.value for name, one in prompt.said.items()}


@settings(deadline=None, max_examples=100)
@given(prompts())
def test_what_is_printed_is_read_as_the_same(prompt: Prompt) -> None:
    (again,) = parse(printed(prompt))
    assert meaning(again) == meaning(prompt)
    assert printed(again) == printed(prompt)


@settings(deadline=None, max_examples=250)
@given(TEXT)
def test_whatever_comes_is_read_or_refused(text: str) -> None:
    refused: PromptRefused | None = None
    found: tuple[Prompt, ...] = ()
    try:
        found = parse(text)
    except PromptRefused as error:
        refused = error
    assert refused is None or refused.prompt == text
    assert refused is None or 0 <= refused.position <= len(text)
    assert refused is None or "\n" in refused.pointer()
    for prompt in found:
        (again,) = parse(printed(prompt))
        assert meaning(again) == meaning(prompt)


LONG = ["{", "::", "--", '"', "{a,", "a::", "-- ", "{a}", "a--ar", "\\", "}", "— ar ", "--s 1 ", "__a__", "x--"]


@pytest.mark.parametrize("piece", LONG)
def test_time_is_linear(piece: str) -> None:
    """Ten times as much takes about ten times as long, not a hundred times."""

    def seconds(size: int) -> float:
        text = piece * (size // len(piece))
        start = time.thread_time()  # of this thread alone, however busy the machine is
        with suppress(PromptRefused):
            parse(text)
        return time.thread_time() - start

    small = min(seconds(4_000) for _ in range(3))
    assert any(seconds(40_000) < 40 * small + 0.5 for _ in range(3))  # the second and third time if the first was slow
