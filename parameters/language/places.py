"""Where in a prompt something stands that was said of a part of it: of one of its jobs, of its words alone."""

from __future__ import annotations

from ..errors import PromptRefused
from .options import words_of
from .reading import parse


def place_in(prompt: str, part: str, position: int) -> int:
    """Return the place in a prompt that a place in a part of it is; -1: that cannot be told.

    Args:
        prompt: as it was typed.
        part: the prompt itself, or one that it stands for, printed without its parameters.
        position: in `part`.
    """
    if part == prompt:
        return position
    try:
        wholes, (own,) = parse(prompt), parse(part)
    except (PromptRefused, ValueError):
        return -1
    for whole in wholes:
        if words_of(whole) != part:
            continue
        for mine, term in zip(reversed(own.terms), reversed(whole.terms), strict=True):
            if mine.position <= position:
                offset = position - mine.position
                same = part[mine.position : position + 1] == prompt[term.position : term.position + offset + 1]
                return term.position + (offset if same else 0)
        return 0
    return -1
