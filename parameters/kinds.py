"""Define kinds of values: how each is read from words, checked when it comes as data, and written.

Every error of a reader names the flag or field, the value, what is allowed and what to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, Protocol, TypeAlias

from ..bounds import MAX_ASPECT, MAX_PROMPT
from ..errors import complaint, is_text
from ..values import flag_of, number_of, shown, text_of, whole_of
from .errors import ParameterError

Scalar: TypeAlias = bool | int | float | str
Value: TypeAlias = Scalar | tuple[Scalar | tuple[Scalar, ...], ...]  # the values that the wire carries

WHOLE: Final = re.compile(r"[+-]?[0-9]{1,20}")
NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)")


class Kind(Protocol):
    """How a parameter's values are read, checked and written.

    Attributes:
        metavar: the name of a value in help.
        allowed: the range, in words.
        short: the range for a line of help; empty: help does not state it.
        many: whether a request may have several values.
    """

    @property
    def metavar(self) -> str: ...
    @property
    def allowed(self) -> str: ...
    @property
    def short(self) -> str: ...
    @property
    def many(self) -> bool: ...

    def read(self, flag: str, text: str, remedy: str) -> Any:
        """Return the value that `text` says. Raise ParameterError, which names the flag."""

    def check(self, name: str, value: Any, remedy: str) -> Value:
        """Return a value that came as data, in its plain form. Raise ParameterError, which names the field."""

    def write(self, value: Any) -> str:
        """Return a value as text that `read` takes."""


@dataclass(frozen=True)
class Whole:
    """A whole number from `low` to `high`. `most_data`: programs may give more than people type; None: not more."""

    low: int
    high: int
    metavar: str = "N"
    many: bool = False
    most_data: int | None = None

    @property
    def allowed(self) -> str:
        return f"a whole number from {self.low} to {self.high}"

    @property
    def short(self) -> str:
        return f"{self.low} to {self.high}"

    def read(self, flag: str, text: str, remedy: str) -> int:
        if not WHOLE.fullmatch(text) or not self.low <= int(text) <= self.high:
            raise _refused(flag, text, self.allowed, remedy)
        return int(text)

    def check(self, name: str, value: Any, remedy: str) -> int:
        whole, most = whole_of(value), self.high if self.most_data is None else self.most_data
        if whole is None or not self.low <= whole <= most:
            raise _refused(name, value, f"a whole number from {self.low} to {most}", remedy)
        return whole

    def write(self, value: Any) -> str:
        return str(value)


@dataclass(frozen=True)
class WholeOf:
    """One of some whole numbers."""

    numbers: tuple[int, ...]
    metavar: str = "N"
    many: bool = False

    @property
    def allowed(self) -> str:
        return " or ".join(map(str, self.numbers))

    @property
    def short(self) -> str:
        return self.allowed

    def read(self, flag: str, text: str, remedy: str) -> int:
        if not WHOLE.fullmatch(text) or int(text) not in self.numbers:
            raise _refused(flag, text, self.allowed, remedy)
        return int(text)

    def check(self, name: str, value: Any, remedy: str) -> int:
        whole = whole_of(value)
        if whole not in self.numbers:
            raise _refused(name, value, self.allowed, remedy)
        return int(whole)

    def write(self, value: Any) -> str:
        return str(value)


@dataclass(frozen=True)
class Number:
    """A number from `low` to `high`. As text it has no exponent."""

    low: float
    high: float
    metavar: str = "X"
    many: bool = False

    @property
    def allowed(self) -> str:
        return f"a number from {self.short}"

    @property
    def short(self) -> str:
        return f"{self.low:.12g} to {self.high:.12g}"

    def read(self, flag: str, text: str, remedy: str) -> float:
        if not NUMBER.fullmatch(text) or not self.low <= float(text) <= self.high:
            raise _refused(flag, text, self.allowed, remedy)
        return float(text)

    def check(self, name: str, value: Any, remedy: str) -> float:
        number = number_of(value)
        if number is None or not self.low <= number <= self.high:
            raise _refused(name, value, self.allowed, remedy)
        return number

    def write(self, value: Any) -> str:
        return plain_number(value)


@dataclass(frozen=True)
class Words:
    """Text of up to `most` characters. `to_end`: in a prompt it goes on until the next parameter; else it is a word."""

    most: int = MAX_PROMPT
    metavar: str = "TEXT"
    many: bool = False
    short: str = ""
    to_end: bool = True

    @property
    def allowed(self) -> str:
        return f"text of up to {self.most:,} characters"

    def read(self, flag: str, text: str, remedy: str) -> str:
        return self.check(flag, text, remedy)

    def check(self, name: str, value: Any, remedy: str) -> str:
        text = text_of(value)
        if text is None or "\0" in text or not is_text(text):
            raise _refused(name, value, "text in Unicode without NUL", remedy)
        if len(text) > self.most:
            raise ParameterError(complaint(name, f"{len(text):,} characters", f"up to {self.most:,}", "shorten it"))
        return text

    def write(self, value: Any) -> str:
        return str(value)


@dataclass(frozen=True)
class OneOf:
    """One of some names. They are listed at the first use."""

    list_names: Callable[[], Sequence[str]]
    metavar: str = "NAME"
    many: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names that are allowed."""
        return tuple(self.list_names())

    @property
    def allowed(self) -> str:
        return " or ".join(self.names)

    @property
    def short(self) -> str:
        return self.allowed

    def read(self, flag: str, text: str, remedy: str) -> str:
        return self.check(flag, text, remedy)

    def check(self, name: str, value: Any, remedy: str) -> str:
        text = text_of(value)
        if text is None or text not in self.names:
            raise _refused(name, value, self.allowed, remedy)
        return text

    def write(self, value: Any) -> str:
        return str(value)


@dataclass(frozen=True)
class Switch:
    """Yes or no, as a flag without a value."""

    metavar: str = ""
    many: bool = False
    allowed: str = "true or false"
    short: str = ""

    def read(self, flag: str, text: str, remedy: str) -> bool:
        raise ParameterError(complaint(flag, shown(text), "no value", f"write {flag} alone"))

    def check(self, name: str, value: Any, remedy: str) -> bool:
        flag = flag_of(value)
        if flag is None:
            raise _refused(name, value, self.allowed, remedy)
        return flag

    def write(self, value: Any) -> str:
        return ""


@dataclass(frozen=True)
class Aspect:
    """The proportion of width to height."""

    metavar: str = "W:H"
    many: bool = False
    short: str = f"up to {MAX_ASPECT}:1"
    allowed: str = f"whole numbers W:H from 1:{MAX_ASPECT} to {MAX_ASPECT}:1"

    def read(self, flag: str, text: str, remedy: str) -> tuple[int, int]:
        match = re.fullmatch(r"([0-9]{1,5}):([0-9]{1,5})", text)
        sides = (int(match[1]), int(match[2])) if match else (0, 0)
        if min(sides) == 0 or max(sides) > MAX_ASPECT * min(sides):
            raise _refused(flag, text, self.allowed, remedy)
        return sides

    def check(self, name: str, value: Any, remedy: str) -> tuple[float, float]:
        pair = items_of(value) or ()
        sides = [number_of(side) or 0.0 for side in pair]
        if len(sides) != 2 or not all(0 < side < float("inf") for side in sides):
            raise _refused(name, value, "two numbers above 0", remedy)
        return sides[0], sides[1]

    def write(self, value: Any) -> str:
        width, height = map(Fraction, value)
        ratio = (width / height).limit_denominator(9_999)  # `read` takes whole numbers
        return f"{ratio.numerator}:{ratio.denominator}"


@dataclass(frozen=True)
class Interval:
    """A part of a whole, from one share of it to a larger one."""

    metavar: str = "S"
    many: bool = False
    short: str = ""
    allowed: str = "two numbers A:B from 0 to 1, the second above the first"

    def read(self, flag: str, text: str, remedy: str) -> tuple[float, float]:
        parts = text.split(":")
        ends = [float(part) for part in parts if NUMBER.fullmatch(part)]
        if len(parts) != 2 or not _is_interval(ends):
            raise _refused(flag, text, self.allowed, remedy)
        return ends[0], ends[1]

    def check(self, name: str, value: Any, remedy: str) -> tuple[float, float]:
        ends = [number_of(end) for end in items_of(value) or ()]
        whole = [end for end in ends if end is not None]
        if len(ends) != len(whole) or not _is_interval(whole):
            raise _refused(name, value, self.allowed, remedy)
        return whole[0], whole[1]

    def write(self, value: Any) -> str:
        return ":".join(map(plain_number, value))


def _is_interval(ends: Sequence[float]) -> bool:
    return len(ends) == 2 and 0 <= ends[0] < ends[1] <= 1


@dataclass(frozen=True)
class Box:
    """A rectangle: left, top, width and height in whole numbers, of which the first two may be below 0."""

    most: int
    metavar: str = "X,Y,W,H"
    many: bool = False
    short: str = "pixels"

    @property
    def allowed(self) -> str:
        return f"left,top,width,height in whole pixels up to {self.most}, the sides from 1"

    def read(self, flag: str, text: str, remedy: str) -> tuple[int, int, int, int]:
        parts = text.split(",")
        box = self._box([int(part) for part in parts if WHOLE.fullmatch(part)])
        if box is None or len(parts) != len(box):
            raise _refused(flag, text, self.allowed, remedy)
        return box

    def check(self, name: str, value: Any, remedy: str) -> tuple[int, int, int, int]:
        box = self._box([whole_of(side) for side in items_of(value) or ()])
        if box is None:
            raise _refused(name, value, self.allowed, remedy)
        return box

    def _box(self, sides: Sequence[int | None]) -> tuple[int, int, int, int] | None:
        whole = [side for side in sides if side is not None]
        if len(whole) != 4 or len(sides) != 4 or min(whole[2:]) < 1 or max(map(abs, whole)) > self.most:
            return None
        left, top, width, height = whole
        return left, top, width, height

    def write(self, value: Any) -> str:
        return ",".join(map(str, value))


def plain_number(value: float) -> str:
    """Return a number as text that has exactly this value, without an exponent."""
    text = repr(float(value))
    if "e" in text:
        text = format(Decimal(text), "f")
    return text.removesuffix(".0")


def items_of(value: Any) -> tuple[Any, ...] | None:
    """Return the items of a list, a tuple or an array; None for any other value."""
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        return None
    try:
        return tuple(value)
    except TypeError:  # an array of no dimension
        return None


def _refused(name: str, value: Any, allowed: str, remedy: str) -> ParameterError:
    if isinstance(value, str):
        value = value if len(value) <= 40 else value[:40] + "..."
    return ParameterError(complaint(name, shown(value), allowed, remedy))
