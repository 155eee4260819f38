"""`{a, b}` and `--repeat`."""

from __future__ import annotations

import pytest

from salon.bounds import MAX_JOBS
from salon.parameters.errors import PromptRefused
from salon.parameters.language.printing import printed
from salon.parameters.language.reading import parse, parse_one


@pytest.mark.parametrize(
    ("prompt", "all_of_them"),
    [
        ("a {red, blue} cat", ["a red cat", "a blue cat"]),
        ("{a, b} {c, d}", ["a c", "a d", "b c", "b d"]),
        ("a {red, green {pale, deep}} cat", ["a red cat", "a green pale cat", "a green deep cat"]),
        ("a cat {--s 5, --raw}", ["a cat --s 5", "a cat --raw"]),
        ("a cat {--p x, --p y}", ["a cat --p x", "a cat --p y"]),
        ("a cat --ar {3:2, 1:1}", ["a cat --ar 3:2", "a cat --ar 1:1"]),
        ("a cat --{ar 3:2, n 1}", ["a cat --ar 3:2", "a cat --n 1"]),
        ("a cat --s {1,2}0", ["a cat --s 10", "a cat --s 20"]),
        (r"a {red\, white, blue} cat", ["a red, white cat", "a blue cat"]),
        (r"a \{red, blue\} cat", [r"a \{red, blue\} cat"]),
        ('a {"x, y", z} cat', ['a "x, y" cat', "a z cat"]),
        ("a {, red} cat", ["a  cat", "a red cat"]),
        ("a {red} cat", ["a red cat"]),
        ("a cat --repeat 2", ["a cat"] * 2),
        ("a {red, blue} cat --r 2", ["a red cat", "a red cat", "a blue cat", "a blue cat"]),
        ("hot:: {dog, cat}::2", ["hot::1 dog::2", "hot::1 cat::2"]),
    ],
)
def test_permutations(prompt: str, all_of_them: list[str]) -> None:
    assert [printed(one) for one in parse(prompt)] == all_of_them


@pytest.mark.parametrize(
    ("prompt", "position", "message"),
    [
        ("a {b, c", 2, "{ without }"),
        ("a b}", 3, "} without {"),
        ("a {} b", 2, "{} without a choice"),
        ("x " + "{" * 9 + "a" + "}" * 9, 10, "braces 9 deep, allowed up to 8"),
        ("{a, b}" * 7, 0, f"more than {MAX_JOBS} prompts in one, allowed up to {MAX_JOBS}; nothing was made"),
        ("{a,b}" * 40_000, 0, "more than"),
        ("{" + "," * 40_000 + "}", 0, "more than"),
        ("{a, b, c} --repeat 40", 10, "--repeat: got 120 prompts in one"),
        ("a --repeat 41", 11, "--repeat: got '41', allowed a whole number from 1 to 40"),
        ("a --r 0", 6, "--r: got '0'"),
        ("a {--s 5, --s 2000}", 14, "--s: got '2000'"),  # the place is that of the whole prompt
        ("a {--s 5, --foo}", 10, "'--foo': got a name"),
    ],
)
def test_refusals(prompt: str, position: int, message: str) -> None:
    with pytest.raises(PromptRefused, match=message) as caught:
        parse(prompt)
    assert caught.value.position == position


def test_fewer_may_be_allowed() -> None:
    assert len(parse("{a, b, c, d}", 4)) == 4
    with pytest.raises(PromptRefused, match="allowed up to 4"):
        parse("{a, b, c, d, e}", 4)
    with pytest.raises(PromptRefused, match="got 2 prompts in one, allowed one"):
        parse_one("{a, b}")
