"""Where in a prompt a place of one of its parts is."""

from __future__ import annotations

import pytest

from salon.parameters.language.options import words_of
from salon.parameters.language.places import place_in
from salon.parameters.language.reading import parse


@pytest.mark.parametrize(
    ("prompt", "job", "word"),
    [
        ("a cat --ar 3:2", 0, "cat"),
        ("  a cat:: a __nothing__ dog::2 --ar 3:2", 0, "__nothing__"),
        ("hot:: __nothing__ dog:: cat::-0.5 --s 3", 0, "__nothing__"),
        ("a {red, green __nothing__} apple", 1, "green"),
        ("a {red, green}:: a __nothing__ apple --repeat 2", 2, "__nothing__"),
        ("photo.png a __nothing__ cat --iw 2", 0, "__nothing__"),
    ],
)
def test_a_place_in_the_words_of_a_job(prompt: str, job: int, word: str) -> None:
    part = words_of(parse(prompt)[job])
    found = place_in(prompt, part, part.index(word))
    term = next(term for term in parse(prompt)[job].terms if word in term.text)
    assert found in (prompt.index(word), term.position)
    if "{" not in prompt or prompt.index(word) > prompt.index("}"):
        assert found == prompt.index(word)


def test_what_cannot_be_told() -> None:
    assert place_in("a cat", "a cat", 2) == 2
    assert place_in("a cat", "a dog", 2) == -1
    assert place_in("a {cat", "a cat", 2) == -1
    assert place_in("a {cat, dog}", "a {cat, dog", 2) == -1
