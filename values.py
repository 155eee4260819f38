"""Read numbers, text, names of files, yes and no from the values that a user hands in, in one way for every floor.

Numbers of numpy's, of torch's and of the standard library's are numbers; text of a class derived from `str` is text.
The results are always Python's own, so that they can be sent, stored and compared. Standard library only: `salon
--help` must answer at once, and a thin client never loads numpy.
"""

from __future__ import annotations

import operator
import os
from decimal import Decimal
from numbers import Real
from typing import Any


def flag_of(value: Any) -> bool | None:
    """Return yes or no, also from numpy's; None for any other value."""
    if isinstance(value, bool):
        return value
    kind = type(value)
    return bool(value) if kind.__module__ == "numpy" and kind.__name__ in ("bool", "bool_") else None


def whole_of(value: Any) -> int | None:
    """Return a whole number; None for any other value. Yes and no are not numbers, and 7.0 is not whole."""
    if type(value) is int:
        return value
    if flag_of(value) is not None:
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def number_of(value: Any) -> float | None:
    """Return a number, perhaps infinite or NaN; None for any other value, and for one beyond all floats."""
    if type(value) is float:
        return value
    if flag_of(value) is not None:
        return None
    try:
        return float(value) if isinstance(value, Real | Decimal) else None
    except (OverflowError, ValueError):  # ValueError: a signalling NaN of Decimal
        return None


def text_of(value: Any) -> str | None:
    """Return plain text; None for any other value. It may hold halves of surrogate pairs.

    A class derived from `str` may write itself in another way, which does not count.
    """
    return str.__str__(value) if isinstance(value, str) else None


def path_of(value: Any) -> str | None:
    """Return the name of a file; None for any other value, also for text that can name none.

    An integer is none, although `open` takes it: it would read from, and close, a file that the program has open. A
    foreign `__fspath__` may raise anything.
    """
    try:
        name = os.fspath(value)
        usable = isinstance(name, str) and b"\0" not in os.fsencode(name)
    except Exception:
        return None
    return str.__str__(name) if usable else None


def shown(value: Any) -> str:
    """Return a value as text for a message: one short line.

    Python refuses to write out integers of thousands of digits, and a foreign `repr` may do anything.
    """
    try:
        text = repr(value)
    except Exception as error:
        return "a huge number" if isinstance(value, int) else f"a {type(value).__name__} ({type(error).__name__})"
    text = " ".join(text.split()) if "\n" in text else text
    return text if len(text) <= 80 else f"{text[:77]}..."
