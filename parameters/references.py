"""Read references to styles and pictures, as users type them and as programs send them.

A typed reference is a number, a picture's file, the SHA-256 of one, or a taste code, each perhaps followed by
`::WEIGHT`. A sent reference is a pair of the number, SHA-256 or code and the weight: a picture has to be put where the
job runs first. A picture
to start from is a file, a SHA-256, or JOB:NUMBER of a job's picture, without a weight.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any, Final

from ..bounds import (
    ANY_SIDE,
    CODE,
    ID,
    MAX_IMAGE_PROMPTS,
    MAX_IMAGES,
    MAX_LINK,
    MAX_OMNI,
    MAX_REFERENCES,
    MAX_STYLE_NUMBER,
    REFERENCE_WEIGHT,
)
from ..errors import complaint
from ..system import expand_home
from ..values import number_of, shown, text_of, whole_of
from .errors import ParameterError
from .kinds import NUMBER, items_of, plain_number
from .pictures import is_link

DIGEST: Final = re.compile(r"[0-9a-f]{64}")
RANDOM: Final = "random"
OF_JOB: Final = re.compile(rf"({ID}):([1-{MAX_IMAGES}])")  # a picture of a job, by its number


@dataclass(frozen=True)
class Typed:
    """A reference as the user typed it.

    Attributes:
        source: a style number, the SHA-256 of a picture's file, the path of one, or `random`.
        is_file: whether `source` is a path.
        weight: its share beside other references.
    """

    source: int | str
    is_file: bool
    weight: float


@dataclass(frozen=True)
class References:
    """The kind of references to styles to draw in: pictures, numbers, or several of them."""

    metavar: str = "STYLE"
    many: bool = True
    short: str = ""
    allowed: str = f"up to {MAX_REFERENCES} of: a picture's file, a number from 0 to {MAX_STYLE_NUMBER}, `random`"

    def read(self, flag: str, text: str, remedy: str) -> Typed:
        """Return one reference. The word `random` stays as it is until the job is made."""
        name, separator, share = text.rpartition("::")
        if not separator or (is_link(text) and not NUMBER.fullmatch(share)):
            name, share = text, "1"
        low, high = REFERENCE_WEIGHT
        if not NUMBER.fullmatch(share) or not low <= float(share) <= high:
            allowed = f"a weight from {low:g} to {high:g} behind ::"
            raise ParameterError(complaint(flag, shown(text), allowed, "write it like 4093::2"))
        weight = float(share)
        if name == RANDOM:
            return Typed(RANDOM, False, weight)
        if re.fullmatch(r"[0-9]+", name):
            number = int(name) if len(name) <= 20 else MAX_STYLE_NUMBER + 1
            if number > MAX_STYLE_NUMBER:
                allowed = f"a style number from 0 to {MAX_STYLE_NUMBER}"
                raise ParameterError(complaint(flag, shown(name), allowed, f"choose another, or write ./{name[:20]}"))
            return Typed(number, False, weight)
        if DIGEST.fullmatch(name) or is_link(name) or (re.fullmatch(CODE, name) and not os.path.exists(name)):
            return Typed(name, False, weight)
        if not name or "\0" in name:
            raise ParameterError(complaint(flag, shown(text), self.allowed, "name one"))
        return Typed(os.path.abspath(expand_home(name, flag)), True, weight)

    def check(self, name: str, value: Any, remedy: str) -> tuple[tuple[int | str, float], ...]:
        """Return references that came as data: numbers and digests, alone or in pairs with their weights."""
        many = items_of(value)
        many = (value,) if many is None else many
        if not 1 <= len(many) <= MAX_REFERENCES:
            got, allowed = f"{len(many)} references", f"1 to {MAX_REFERENCES}"
            raise ParameterError(complaint(name, got, allowed, "leave some out" if many else "leave it out"))
        pairs = tuple(_pair(name, each) for each in many)
        sources = [source for source, _ in pairs]
        if len(set(sources)) != len(sources):
            twice = next(source for source in sources if sources.count(source) > 1)
            raise ParameterError(complaint(name, f"{twice} twice", "each once", "add up the weights"))
        return pairs

    def write(self, value: Any) -> str:
        pairs = [(each.source, each.weight) if isinstance(each, Typed) else each for each in value]
        return " ".join(f"{source}" if weight == 1 else f"{source}::{plain_number(weight)}" for source, weight in pairs)


@dataclass(frozen=True)
class Pictures:
    """Several pictures, which only programs name so: a prompt has them before its words."""

    metavar: str = "IMAGE"
    many: bool = True
    short: str = ""
    allowed: str = (
        f"1 to {MAX_IMAGE_PROMPTS} pictures: each the SHA-256 (64 hex digits) of its file, a link, or JOB:NUMBER"
    )

    def read(self, flag: str, text: str, remedy: str) -> str:
        """Return one of them."""
        return ONE.check(flag, text, remedy)

    def check(self, name: str, value: Any, remedy: str) -> tuple[str, ...]:
        """Return the names of pictures that came as data."""
        many = items_of(value)
        many = (value,) if many is None else many
        if not 1 <= len(many) <= MAX_IMAGE_PROMPTS:
            got, allowed = f"{len(many)} pictures", f"1 to {MAX_IMAGE_PROMPTS}"
            raise ParameterError(complaint(name, got, allowed, "leave some out" if many else "leave it out"))
        found = tuple(ONE.check(name, each, remedy) for each in many)
        if len(set(found)) != len(found):
            raise ParameterError(complaint(name, "a picture twice", "each once", "leave it out; --iw weighs them all"))
        return found

    def write(self, value: Any) -> str:
        return " ".join(value)


@dataclass(frozen=True)
class TypedPicture(Typed):
    """One of several pictures as the user typed it; it has no weight."""


@dataclass(frozen=True)
class OmniReferences:
    """The kind of pictures that a model looks at while it draws: typed their files, sent their SHA-256s.

    A server puts the (width, height) of each behind its SHA-256.
    """

    metavar: str = "PICTURE"
    many: bool = True
    short: str = ""
    allowed: str = f"1 to {MAX_OMNI} pictures: each a file, the SHA-256 (64 hex digits) of one, a link, or JOB:NUMBER"

    def read(self, flag: str, text: str, remedy: str) -> TypedPicture:
        """Return one picture as it was typed."""
        typed = ONE.read(flag, text, remedy)
        return TypedPicture(typed.source, typed.is_file, typed.weight)

    def check(self, name: str, value: Any, remedy: str) -> tuple[Any, ...]:
        """Return the names of pictures that came as data, those with a size as (name, width, height)."""
        many = items_of(value)
        many = (value,) if many is None else many
        if not 1 <= len(many) <= MAX_OMNI:
            got, allowed = f"{len(many)} pictures", f"1 to {MAX_OMNI}"
            raise ParameterError(complaint(name, got, allowed, "leave some out" if many else "leave it out"))
        found = tuple(_sized(name, each, remedy) for each in many)
        pictures = [each if isinstance(each, str) else each[0] for each in found]
        if len(set(pictures)) != len(pictures):
            raise ParameterError(complaint(name, "a picture twice", "each once", "leave it out"))
        return found

    def write(self, value: Any) -> str:
        names = [each.source if isinstance(each, Typed) else each for each in value]
        return " ".join(str(each if isinstance(each, int | str) else each[0]) for each in names)


def _sized(name: str, value: Any, remedy: str) -> Any:
    items = items_of(value)
    if items is None:
        return ONE.check(name, value, remedy)
    sides = [whole_of(side) for side in items[1:]]
    if len(sides) != 2 or not all(side is not None and 1 <= side <= ANY_SIDE for side in sides):
        allowed = f"a picture, or one with its width and height from 1 to {ANY_SIDE}"
        raise ParameterError(complaint(name, shown(value)[:80], allowed, "correct it"))
    return (ONE.check(name, items[0], remedy), *sides)


@dataclass(frozen=True)
class Picture:
    """One picture: typed its file, or the SHA-256 of that, or JOB:NUMBER; sent one of the last two."""

    metavar: str = "FILE"
    many: bool = False
    short: str = ""
    allowed: str = "a picture's file, the SHA-256 (64 hex digits) of one, a link, or a job's picture, as JOB:NUMBER"

    def read(self, flag: str, text: str, remedy: str) -> Typed:
        """Return the picture as it was typed."""
        if DIGEST.fullmatch(text) or is_link(text) or (OF_JOB.fullmatch(text) and not os.path.exists(text)):
            return Typed(text, False, 1.0)
        if not text or "\0" in text:
            raise ParameterError(complaint(flag, shown(text), self.allowed, remedy))
        return Typed(os.path.abspath(expand_home(text, flag)), True, 1.0)

    def check(self, name: str, value: Any, remedy: str) -> str:
        """Return the digest, or the JOB:NUMBER, of a picture that came as data."""
        text = text_of(value)
        if text is None or not (DIGEST.fullmatch(text) or OF_JOB.fullmatch(text) or _is_link(text)):
            allowed = "the SHA-256 (64 hex digits) of a picture's file, a link, or a job's picture, as JOB:NUMBER"
            raise ParameterError(complaint(name, shown(value)[:80], allowed, "bring the picture first"))
        return text

    def write(self, value: Any) -> str:
        return str(value.source if isinstance(value, Typed) else value)


ONE: Final = Picture()


def _is_link(text: str) -> bool:
    return len(text) <= MAX_LINK and is_link(text) and not re.search(r"\s", text)


def _pair(name: str, value: Any) -> tuple[int | str, float]:
    source, weight, items = value, 1.0, items_of(value)
    if items is not None:
        if len(items) != 2:
            raise ParameterError(complaint(name, shown(value), "a reference and its weight", "correct it"))
        source, weight = items
    number, text, share = whole_of(source), text_of(source), number_of(weight)
    low, high = REFERENCE_WEIGHT
    if share is None or not low <= share <= high:
        allowed = f"a number from {low:g} to {high:g}"
        raise ParameterError(complaint(f"{name}: weight", shown(weight), allowed, "correct it"))
    if number is not None and 0 <= number <= MAX_STYLE_NUMBER:
        return number, share
    if text is not None and (DIGEST.fullmatch(text) or re.fullmatch(CODE, text) or _is_link(text)):
        return text, share
    allowed = f"a style number from 0 to {MAX_STYLE_NUMBER}, or the SHA-256 (64 hex digits) of a picture's file"
    raise ParameterError(complaint(name, shown(source), allowed, "correct it"))
