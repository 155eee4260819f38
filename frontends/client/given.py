"""Say how the methods of both clients check what a program hands them, before the first message.

They are read when a method is called, and not in its steps, which the blocking client runs under its lock: an iterator
of the program's may ask the same client.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ...given import Arguments, called_with, each_of, name_of_file
from ...values import number_of, text_of, whole_of
from ..wire.plain import LEAST, MOST
from .errors import invalid


def wire_number(value: Any) -> int | None:
    """Return a whole number that the wire carries; None for any other value."""
    number = whole_of(value)
    return number if number is not None and LEAST <= number <= MOST else None


def style_weights(styles: Any) -> dict[int, float] | None:
    """Return numbered styles with weights, which are 1 where none is said; None for any other value."""
    if not isinstance(styles, Mapping):
        numbers = each_of(whole_of)(styles)
        return None if numbers is None else dict.fromkeys(numbers, 1.0)
    weights = dict[int, float]()
    for number, weight in ((whole_of(number), number_of(weight)) for number, weight in styles.items()):
        if number is None or weight is None:
            return None
        weights[number] = weight
    return weights


ARGUMENTS: Final = Arguments(
    invalid,
    {
        "int": ("a whole number of up to 64 bits", wire_number),
        "prompt: str": ("text", text_of),  # the prompt language says where in it half of a surrogate pair is
        "float": ("a number", number_of),
        "OnContact": called_with("seconds"),
        "Iterable[int] | Mapping[int, float]": ("a list of numbers, or numbers with weights", style_weights),
        "str | os.PathLike[str]": ("the name of a file", name_of_file),
    },
)
