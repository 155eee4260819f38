"""`{a, b}`: one prompt that stands for several. Choices may be nested, and hold whole parameters.

A comma between braces parts two choices; white space around a choice is left out, and a choice may be empty. With a
backslash before them, comma and braces are characters like any other. The first braces turn slowest: `{a, b} {c, d}` is
a c, a d, b c, b d.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from ...bounds import MAX_JOBS
from ..errors import refused
from .tokens import Kind, Token

MAX_DEPTH: Final = 8  # of braces within braces


@dataclass(slots=True)
class Choice:
    """What stands between two braces."""

    start: int
    options: list[list[Part]] = field(default_factory=lambda: [[]])


Part: TypeAlias = Token | Choice


def expand(prompt: str, tokens: Sequence[Token], most: int = MAX_JOBS) -> list[list[Token]]:
    """Return the tokens of every prompt that a prompt stands for; without braces there is one.

    Args:
        prompt: for messages.
        tokens: of it.
        most: prompts that are allowed.

    Raises:
        PromptRefused: braces that do not match, are empty or too deep, or too many prompts.
    """
    if not any(token.kind in (Kind.OPEN, Kind.CLOSE) for token in tokens):
        return [list(tokens)]
    parts = _parts(prompt, tokens)
    count = _count(parts, most)
    if count > most:
        first = next(part for part in parts if isinstance(part, Choice))
        got, remedy = f"more than {most} prompts in one", "nothing was made; leave some out"
        raise refused(prompt, first.start, "permutations", got, f"up to {most}", remedy)
    return _expanded(parts)


def _parts(prompt: str, tokens: Sequence[Token]) -> list[Part]:
    """Return the tokens with braces as choices."""
    whole: list[Part] = []
    here, stack = whole, list[Choice]()
    for token in tokens:
        if token.kind is Kind.OPEN:
            if len(stack) == MAX_DEPTH:
                got = f"braces {MAX_DEPTH + 1} deep"
                raise refused(prompt, token.start, "permutations", got, f"up to {MAX_DEPTH}", "use fewer, or write \\{")
            choice = Choice(token.start)
            here.append(choice)
            stack.append(choice)
            here = choice.options[-1]
        elif token.kind is Kind.CLOSE:
            if not stack:
                remedy = "open it, or write \\} for the character alone"
                raise refused(prompt, token.start, "permutations", "} without {", "pairs of braces", remedy)
            choice = stack.pop()
            choice.options = [_trimmed(option) for option in choice.options]
            if choice.options == [[]]:
                remedy = "write {a, b}, or \\{ and \\} for the characters alone"
                raise refused(prompt, choice.start, "permutations", "{} without a choice", "choices", remedy)
            here = stack[-1].options[-1] if stack else whole
        elif token.kind is Kind.COMMA and stack:
            here = []
            stack[-1].options.append(here)
        else:
            here.append(token)
    if stack:
        remedy = "close it, or write \\{ for the character alone"
        raise refused(prompt, stack[-1].start, "permutations", "{ without }", "pairs of braces", remedy)
    return whole


def _trimmed(option: list[Part]) -> list[Part]:
    ends = [i for i, part in enumerate(option) if isinstance(part, Choice) or part.kind is not Kind.SPACE]
    return option[ends[0] : ends[-1] + 1] if ends else []


def _count(parts: Sequence[Part], most: int) -> int:
    """Return how many prompts there are, or something above `most`; the numbers stay small."""
    count = 1
    for part in parts:
        if isinstance(part, Choice):
            total = 0
            for option in part.options:
                total = min(most + 1, total + _count(option, most))
            count = min(most + 1, count * total)
    return count


def _expanded(parts: Sequence[Part]) -> list[list[Token]]:
    """Return all combinations, the first braces slowest. Lists are copied only where braces have several choices."""
    found: list[list[Token]] = [[]]
    for part in parts:
        if isinstance(part, Token):
            for tokens in found:
                tokens.append(part)
            continue
        options = [tokens for option in part.options for tokens in _expanded(option)]
        if len(options) == 1:
            for tokens in found:
                tokens += options[0]
        else:
            found = [[*tokens, *option] for tokens in found for option in options]
    return found
