"""What one prompt says: plain, immutable records. `grammar.py` reads them, `printing.py` writes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ..known import Spelling
from ..pictures import Named


@dataclass(frozen=True)
class Said:
    """A parameter that a prompt has.

    Attributes:
        name: of the parameter.
        flag: that was typed, with two hyphens; of a parameter's several names it may be any.
        value: as its kind reads it; of a kind that takes several, a tuple of them.
        position: of the flag in the prompt; -1: it was said beside it. `value_position`: of its value.
    """

    name: str
    flag: str = field(compare=False)
    value: Any
    position: int = field(default=-1, compare=False)
    value_position: int = field(default=-1, compare=False)


@dataclass(frozen=True)
class Hole:
    """A place in a term's text, `text[start:end]`, for a word of the list `name`."""

    start: int
    end: int
    name: str


@dataclass(frozen=True)
class Term:
    """Words of a prompt, and how much they count beside the other terms."""

    text: str
    weight: float = 1.0
    holes: tuple[Hole, ...] = ()
    position: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Prompt:
    """A prompt without permutations.

    Attributes:
        terms: its words; most prompts have one. () where it is made of pictures or parameters alone.
        said: its parameters, by name.
        pictures: those that it begins with.
        source: what it was read from, for messages.
    """

    terms: tuple[Term, ...]
    said: Mapping[str, Said] = field(default_factory=lambda: MappingProxyType({}))
    pictures: tuple[Named, ...] = ()
    source: str = field(default="", compare=False, repr=False)

    @property
    def has_holes(self) -> bool:
        """Whether words of lists are still to be chosen."""
        return any(term.holes for term in self.terms)


__all__ = ["Hole", "Named", "Prompt", "Said", "Spelling", "Term"]
