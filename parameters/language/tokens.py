"""The smallest parts of a prompt, each with its place: one pass from left to right, in linear time.

A backslash makes the next character plain. Text in double quotes is one part, in which nothing else has a meaning; a
quotation mark right behind a letter or figure (5") is a character like any other.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, NamedTuple

from ...errors import complaint, is_text
from ..errors import PromptRefused, refused

FULL_WIDTH: Final = "\uff0d\uff0d"
DASHES: Final = ("--", "—", "–", FULL_WIDTH)  # what may introduce a parameter
PLAIN_DASHES: Final = ("--", FULL_WIDTH)  # those that also introduce names of one letter, and are no punctuation


class Kind(Enum):
    """What a token is."""

    SPACE = "space"
    ESCAPED = "escaped"  # a backslash and the character that it makes plain
    QUOTED = "quoted"  # with its quotation marks
    OPEN = "open"
    CLOSE = "close"
    COMMA = "comma"
    COLONS = "colons"  # two
    DASHES = "dashes"  # one of `DASHES`
    HOLE = "hole"  # `__name__`, for a word from a list
    WORD = "word"  # anything else


class Token(NamedTuple):
    """A part of a prompt; a tuple, because there are very many, and tuples are made fastest.

    Attributes:
        kind: what it is.
        text: as it was typed.
        start: its place.
    """

    kind: Kind
    text: str
    start: int

    @property
    def plain(self) -> str:
        """What it means as words: without the backslash that makes a character plain."""
        if self.kind is Kind.ESCAPED:
            return self.text[1]
        return _ESCAPE.sub(r"\1", self.text) if self.kind is Kind.QUOTED else self.text


_ESCAPE: Final = re.compile(r"\\(\S)")
_TOKEN: Final = re.compile(
    r"""
    (?P<space>\s+)
    | (?P<escaped>\\\S)
    | (?P<quoted>(?<!\w)(?:"[^"\\]*(?:\\.[^"\\]*)*"|“[^”\\]*(?:\\.[^”\\]*)*”))
    | (?P<unclosed>(?<!\w)["“])
    | (?P<open>\{) | (?P<close>\}) | (?P<comma>,) | (?P<colons>::)
    | (?P<dashes>-{2,}|—+|–+|－－+)
    | (?P<hole>(?<!\w)__[a-z0-9]+(?:[-_][a-z0-9]+)*__(?!\w))
    | (?P<word>(?:[^\s\\{},:"“_—–－-]|(?<=\w)["“_]|-(?!-)|:(?!:)|－(?!－)|_(?!_))+|.)
    """,
    re.VERBOSE | re.DOTALL,
)


def tokens_of(prompt: str) -> list[Token]:
    """Return the tokens of a prompt, which together are the prompt.

    Raises:
        PromptRefused: a quotation that is not closed, or characters that are no text.
    """
    check_text(prompt)
    found = []
    for match in _TOKEN.finditer(prompt):
        name, text, start = match.lastgroup, match[0], match.start()
        if name == "unclosed":
            remedy = f"close it, or write \\{text} for the character alone"
            raise refused(prompt, start, "prompt", "a quotation that does not end", "one that does", remedy)
        if name == "dashes" and text not in DASHES:
            name = "word"  # a line of dashes
        assert name is not None
        found.append(Token(Kind(name), text, start))
    return found


def check_text(prompt: str) -> None:
    """Raise PromptRefused for what can be neither sent nor stored."""
    if not isinstance(prompt, str):
        raise PromptRefused(complaint("prompt", type(prompt).__name__, "text", "write some"))
    if "\0" in prompt:
        raise refused(prompt, prompt.index("\0"), "prompt", "NUL", "text in Unicode without NUL", "leave it out")
    if not is_text(prompt):
        place = next(i for i, char in enumerate(prompt) if "\ud800" <= char <= "\udfff")
        raise refused(prompt, place, "prompt", "bytes that are no UTF-8", "text in Unicode", "type it again")
