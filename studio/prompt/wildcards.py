"""`__name__` in a prompt: a word from a list, the same one for the same seed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from ...errors import complaint
from ...parameters.errors import PromptRefused
from ...parameters.language.prompt import Prompt, Term

Lists: TypeAlias = Callable[[str], Sequence[str] | None]


def no_lists(name: str) -> None:
    """Return None for every name: there are no lists."""


def left_open(name: str) -> tuple[str, ...]:
    """Return the name itself, where another process fills it in."""
    return (f"__{name}__",)


def filled(prompt: Prompt, seed: int, lists: Lists) -> Prompt:
    """Return a prompt with a word in every hole. Which one depends on the seed, the list and how many holes of that
    list come before, and on nothing else.

    Args:
        prompt: as it was read.
        seed: of the request.
        lists: from a name to the words of that list; None: there is no such list.

    Raises:
        PromptRefused: there is no such list, or it is empty.
    """
    counts: dict[str, int] = {}
    terms = []
    for term in prompt.terms:
        parts, at = [], 0
        for hole in term.holes:
            words = lists(hole.name)
            if not words:
                got, remedy = f"__{hole.name}__", "correct the name, or write \\ before it for the characters"
                place = max(term.position, prompt.source.find(got, term.position))
                text = complaint("prompt", got, "lists of words that are there", remedy)
                raise PromptRefused(text, prompt.source, place)
            number = counts[hole.name] = counts.get(hole.name, -1) + 1
            digest = hashlib.sha256(f"{seed}\0{hole.name}\0{number}".encode()).digest()
            parts += [term.text[at : hole.start], words[int.from_bytes(digest[:8], "little") % len(words)]]
            at = hole.end
        text = "".join([*parts, term.text[at:]]).strip()
        terms.append(Term(text, term.weight, (), term.position))
    return replace(prompt, terms=tuple(terms))
