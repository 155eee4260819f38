"""Tokens as words: what stands between white space, and what it says."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ...errors import SalonError
from ..kinds import Switch, Words
from ..known import Flag, flags
from ..pictures import named
from ..references import RANDOM, Picture, References
from .tokens import PLAIN_DASHES, Kind, Token

_NAME: Final = re.compile(r"([A-Za-z]\w*(?:-\w+)*)(=?)(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Word:
    """Tokens without white space between them: `tokens[first:end]` of the prompt, and the same by themselves."""

    first: int
    end: int
    tokens: tuple[Token, ...]

    @property
    def start(self) -> int:
        """Its place."""
        return self.tokens[0].start

    @property
    def raw(self) -> str:
        """Its text as it was typed."""
        return "".join(token.text for token in self.tokens)

    @property
    def is_plain(self) -> bool:
        """Whether nothing in it was marked as plain."""
        return all(token.kind is not Kind.ESCAPED for token in self.tokens)

    @property
    def is_dash(self) -> bool:
        """Whether it is a dash by itself."""
        return len(self.tokens) == 1 and self.tokens[0].kind is Kind.DASHES

    @property
    def value(self) -> str:
        """What it says as a value: without quotation marks and escapes."""
        return value_of(self.tokens)


@dataclass(frozen=True, slots=True)
class Name:
    """A dash with a name right behind it.

    Attributes:
        dash: which one.
        flag: the name with two hyphens.
        known: what it says; None: there is no such flag.
        joined: an equals sign follows.
        rest: what follows the name, or the equals sign, in the same word.
        start: place of the dash.
    """

    dash: str
    flag: str
    known: Flag | None
    joined: bool
    rest: str
    start: int

    @property
    def is_letter(self) -> bool:
        """Whether the name has one letter."""
        return len(self.flag) == 3


def words_of(tokens: Sequence[Token]) -> Iterator[Word]:
    """Return the words of a prompt."""
    first = 0
    for i, token in enumerate(tokens):
        if token.kind is Kind.SPACE:
            if first < i:
                yield Word(first, i, tuple(tokens[first:i]))
            first = i + 1
    if first < len(tokens):
        yield Word(first, len(tokens), tuple(tokens[first:]))


def name_in(word: Word) -> Name | None:
    """Return the dash and the name that a word begins with; None: it does not."""
    return _name(word.tokens[0], word.tokens[1:])


def names_within(word: Word) -> Iterator[Name]:
    """Return the names of known parameters behind two hyphens within a word, which lack the white space before them."""
    for i in range(1, len(word.tokens) - 1):
        dash = word.tokens[i]
        if dash.kind is Kind.DASHES and dash.text in PLAIN_DASHES:
            last = i + 2 == len(word.tokens)
            name = _name(dash, word.tokens[i + 1 : i + 2])
            if name is not None and name.known is not None and (name.joined or (last and not name.rest)):
                yield name


def _name(dash: Token, following: Sequence[Token]) -> Name | None:
    if dash.kind is not Kind.DASHES or not following or following[0].kind is not Kind.WORD:
        return None
    raw = "".join(token.text for token in following)
    if not raw[:1].isascii():
        raw = unicodedata.normalize("NFKC", raw)  # letters of full width
    match = _NAME.fullmatch(raw)
    if match is None or not match[1].isascii():
        return None
    flag = f"--{match[1]}"
    return Name(dash.text, flag, flags().get(flag), bool(match[2]), match[3], dash.start)


def introduces(name: Name) -> bool:
    """Return whether a dash and a name introduce a parameter: any name behind two hyphens, and behind other dashes what
    is known, is longer than a letter, and ends there."""
    if name.dash in PLAIN_DASHES:
        return True
    return name.known is not None and not name.is_letter and (name.joined or not name.rest)


def suits(flag: Flag, following: Word | None) -> bool:
    """Return whether a word could be the value of a flag; None: nothing follows."""
    kind = flag.parameter.kind
    if following is not None and following.tokens[0].kind is Kind.DASHES:
        following = None
    if flag.spelling is not None:
        word = flag.spelling.word
        return following is None if not word else following is not None and following.value == word
    if isinstance(kind, Switch):
        return following is None
    if following is None:
        return getattr(kind, "none", False)
    if isinstance(kind, Words) and kind.to_end:
        return True
    if isinstance(kind, References | Picture):  # whose files may have any name: "a collage — image by image"
        name = following.value.partition("::")[0]
        return named(name) is not None or name == RANDOM or name.isdigit()
    try:
        kind.read("", following.value, "")
    except SalonError:
        return False
    return True


def value_of(tokens: Sequence[Token]) -> str:
    """Return what tokens say as a value: without quotation marks and escapes."""
    return "".join(token.plain[1:-1] if token.kind is Kind.QUOTED else token.plain for token in tokens)
