"""The one thing of a prompt: its head noun, as a name that the model was taught, and what is said of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ...values import shown
from .clauses import Subject, without_article, words_of
from .heads import Head, head_of, is_aside
from .nouns import Nouns

MANY: Final = 3  # names that are offered
MOST: Final = 8  # clauses that a note shows


class NotDrawn(ValueError):
    """The prompt names no thing that the model draws.

    Attributes:
        noun: what it names; "": no noun that is known.
        near: names to take instead.
    """

    def __init__(self, noun: str, near: Sequence[str]) -> None:
        super().__init__(noun)
        self.noun = noun
        self.near = tuple(near[:MANY])


def subject_of(clauses: Sequence[str], nouns: Nouns) -> Subject:
    """Return the subject of normalised clauses that are no attributes: the first that names a thing decides.

    Raises:
        NotDrawn: nothing that the model was taught is a picture of that thing, or none of them names one.
    """
    heads = [head_of(clause, nouns) for clause in clauses]
    things = [at for at, head in enumerate(heads) if head is not None and not head.aside]
    things += [at for at, head in enumerate(heads) if head is not None and head.match.name is not None]
    if not things:
        words = [word for clause in clauses if not is_aside(clause) for word in words_of(clause)]
        raise NotDrawn("", nouns.alike(words))
    head = heads[things[0]]
    assert head is not None
    if head.match.name is None:
        raise NotDrawn(head.match.noun, head.match.near)
    text, said = _drawn(clauses[things[0]], head, head.match.name)
    rest = [clause for at, clause in enumerate(clauses) if at != things[0]]
    return Subject(text, said if not rest else (*said, _left_out(rest)))


def avoided_of(clauses: Sequence[str], nouns: Nouns) -> Subject:
    """Return the subject of what is not to be drawn. What the model draws anyhow never is left out, and said."""
    try:
        return subject_of(clauses, nouns)
    except NotDrawn:
        return Subject("", tuple(f"{shown(clause)} is left out: the model draws no such thing" for clause in clauses))


def _drawn(clause: str, head: Head, name: str) -> tuple[str, tuple[str, ...]]:
    """Return the text for the subject's slot, and what is to be said of it."""
    if without_article(clause) == name:
        return clause, ()
    said = f"{shown(clause)} is drawn as {name!r}"
    if head.match.replaced:
        said += ", the nearest thing that the model knows"
    if head.left_out:
        said += f"; left out: {', '.join(map(shown, head.left_out))}"
    return name, (said,)


def _left_out(clauses: Sequence[str]) -> str:
    """One sentence for all: a prompt of many tags has dozens."""
    kinds = "style, palette, background or finish"
    some = ", ".join(map(shown, clauses[:MOST])) + (f" and {len(clauses) - MOST} more" if clauses[MOST:] else "")
    are, their = ("are", "these names") if clauses[1:] else ("is", "this name")
    return f"{some} {are} left out: the model draws one thing, and has no {kinds} of {their}"
