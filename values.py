"""What counts as a number, as text, as yes or no: one reading for every floor, of whatever a user hands in.

Numbers of numpy's, of torch's and of the standard library's are numbers; text that somebody derived from `str` is text.
What comes back is always Python's own, so that it can be sent, stored and compared. Standard library only: `salon
--help` must answer at once, and a thin client never loads numpy.
"""

from __future__ import annotations

import operator
from decimal import Decimal
from numbers import Real
from typing import Any


def flag_of(value: Any) -> bool | None:
    """Yes or no, also of numpy's; None: it is neither."""
    if isinstance(value, bool):
        return value
    kind = type(value)
    return bool(value) if kind.__module__ == "numpy" and kind.__name__ in ("bool", "bool_") else None


def whole_of(value: Any) -> int | None:
    """A whole number; None: it is none. Yes and no are none, and neither is 7.0."""
    if type(value) is int:
        return value
    if flag_of(value) is not None:
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def number_of(value: Any) -> float | None:
    """A number, perhaps infinite or NaN; None: it is none, or beyond all floats."""
    if type(value) is float:
        return value
    if flag_of(value) is not None:
        return None
    try:
        return float(value) if isinstance(value, Real | Decimal) else None
    except (OverflowError, ValueError):  # ValueError: a Decimal that signals
        return None


def text_of(value: Any) -> str | None:
    """Text as it is, whatever its class would write; None: it is none. It may hold halves of surrogate pairs."""
    return str.__str__(value) if isinstance(value, str) else None


def shown(value: Any) -> str:
    """`value` for a message: one line, short whatever it is. (Python refuses to write out integers of thousands of
    digits, and a foreign `repr` may do anything.)"""
    try:
        text = repr(value)
    except Exception as error:
        return "a huge number" if isinstance(value, int) else f"a {type(value).__name__} ({type(error).__name__})"
    text = " ".join(text.split()) if "\n" in text else text
    return text if len(text) <= 80 else f"{text[:77]}..."
