"""`one:: other::2`: the words of a prompt as terms with weights."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from ...bounds import TERM_WEIGHT
from ..errors import refused
from ..kinds import NUMBER
from .prompt import Hole, Term
from .tokens import Kind, Token

_NUMERIC: Final = re.compile(r"[+-]?\.?[0-9]")
MAX_DIGITS: Final = 400  # of a weight: as many as the least float has
ALLOWED: Final = f"a number from {TERM_WEIGHT[0]:g} to {TERM_WEIGHT[1]:g} behind ::"


def terms_of(prompt: str, tokens: Sequence[Token]) -> tuple[Term, ...]:
    """Return the terms of the words of a prompt; a weight that is not written is 1.

    Raises:
        PromptRefused: a term has no words, a weight is no number, or the weights do not sum up to more than 0.
    """
    terms: list[Term] = []
    first, at, bare = 0, 0, False
    places = []
    while at < len(tokens):
        if tokens[at].kind is not Kind.COLONS:
            at += 1
            continue
        colons = tokens[at]
        places.append(colons.start)
        text, holes, start = _text(tokens[first:at])
        if not text:
            remedy = "write some, or \\:: for the characters alone"
            raise refused(prompt, colons.start, "prompt", ":: without words before it", "words", remedy)
        _check_bare(prompt, tokens[first:at], bare, start)
        weight, at, bare = _weight(prompt, tokens, at)
        terms.append(Term(text, weight, holes, start))
        first = at
    text, holes, start = _text(tokens[first:])
    if text:
        _check_bare(prompt, tokens[first:], bare, start)
        terms.append(Term(text, 1.0, holes, start))
    if places and sum(Decimal(repr(term.weight)) for term in terms) <= 0:
        total = sum(Decimal(repr(term.weight)) for term in terms)
        raise refused(prompt, places[-1], "weights", f"a sum of {total:f}", "more than 0", "raise one")
    return tuple(terms)


def _weight(prompt: str, tokens: Sequence[Token], at: int) -> tuple[float, int, bool]:
    """Return the weight behind the colons at `at`, where it ends, and whether none is written."""
    end = at + 1
    while end < len(tokens) and tokens[end].kind not in (Kind.SPACE, Kind.COLONS):
        end += 1
    raw = "".join(token.text for token in tokens[at + 1 : end])
    if not _NUMERIC.match(raw):
        if raw[:1] == ":":
            raise refused(prompt, tokens[at].start, "prompt", "three colons", "two", "write :: or \\:")
        return 1.0, at + 1, True
    low, high = TERM_WEIGHT
    if len(raw) > MAX_DIGITS or not NUMBER.fullmatch(raw) or not low <= float(raw) <= high:
        shown = repr(raw if len(raw) <= 40 else raw[:40] + "...")
        raise refused(prompt, tokens[at].start, "weight", shown, ALLOWED, "write a space behind it, or before words")
    return float(raw) + 0.0, end, False


def _check_bare(prompt: str, tokens: Sequence[Token], bare: bool, start: int) -> None:
    """Refuse a term that is a number behind colons with a space between: a weight was meant."""
    words = [token.text for token in tokens if token.kind is not Kind.SPACE]
    if bare and len(words) == 1 and len(words[0]) <= 40 and NUMBER.fullmatch(words[0]):
        got, remedy = f":: and {words[0]!r} with a space between", f"write ::{words[0]}, or \\{words[0]} for words"
        raise refused(prompt, start, "prompt", got, "a weight or words", remedy)


def _text(tokens: Sequence[Token]) -> tuple[str, tuple[Hole, ...], int]:
    """Return the words of tokens, the holes in them, and where they begin."""
    kept = [i for i, token in enumerate(tokens) if token.kind is not Kind.SPACE]
    if not kept:
        return "", (), 0
    parts, holes, length = [], [], 0
    for token in tokens[kept[0] : kept[-1] + 1]:
        text = token.plain
        if token.kind is Kind.HOLE:
            holes.append(Hole(length, length + len(text), text.strip("_")))
        parts.append(text)
        length += len(text)
    return "".join(parts), tuple(holes), tokens[kept[0]].start
