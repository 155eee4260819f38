"""Texts with weights, as they are sent and written: what guidance follows beside the prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..bounds import MAX_PROMPT, MAX_TERMS, TERM_WEIGHT
from ..errors import complaint
from ..values import shown
from .errors import ParameterError
from .kinds import NUMBER, Number, Words, items_of

_TEXT, _WEIGHT = Words(MAX_PROMPT), Number(*TERM_WEIGHT)


@dataclass(frozen=True)
class WeightedTexts:
    """Texts, each with a weight; written as TEXT::WEIGHT."""

    metavar: str = "TEXT::WEIGHT"
    many: bool = True
    short: str = ""
    allowed: str = f"up to {MAX_TERMS} pairs of text and weight, {TERM_WEIGHT[0]:g} to {TERM_WEIGHT[1]:g}"

    def read(self, flag: str, text: str, remedy: str) -> tuple[str, float]:
        """Return one text and its weight; 1, where none is written."""
        words, separator, weight = text.rpartition("::")
        if not separator or not weight:
            words, weight = text.removesuffix("::"), "1"
        if not NUMBER.fullmatch(weight):
            raise ParameterError(complaint(flag, shown(text), "a text, perhaps with ::WEIGHT behind it", remedy))
        return self._pair(flag, (words, float(weight)), remedy)

    def check(self, name: str, value: Any, remedy: str) -> tuple[tuple[str, float], ...]:
        """Return texts that came as data: pairs of text and weight."""
        pairs = items_of(value)
        if pairs is None or not 1 <= len(pairs) <= MAX_TERMS:
            got = shown(value) if pairs is None else f"{len(pairs)} texts"
            raise ParameterError(complaint(name, got, self.allowed, "leave some out" if pairs else remedy))
        return tuple(self._pair(name, pair, remedy) for pair in pairs)

    def write(self, value: Any) -> str:
        """Return them one after another."""
        return " ".join(f"{text}::{weight:.12g}" for text, weight in value)

    def _pair(self, name: str, pair: Any, remedy: str) -> tuple[str, float]:
        items = items_of(pair) or ()
        if len(items) != 2:
            raise ParameterError(complaint(name, shown(pair), "a text and its weight", remedy))
        text = _TEXT.check(name, items[0], remedy)
        if not text.strip():
            raise ParameterError(complaint(name, shown(text), "some words", remedy))
        return text, _WEIGHT.check(f"{name}: weight", items[1], remedy)
