"""Turn a record that a program made into one of Python's own values, or refuse a field by its name.

msgspec checks the types of what it reads, not of what it writes. Without this, a number of numpy's would fail only
where a message is packed, far from the call that brought it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from functools import cache
from types import UnionType
from typing import Any, Final, TypeVar, Union, get_args, get_origin

import msgspec

from ...errors import complaint, is_text
from ...values import flag_of, number_of, shown, text_of, whole_of
from .errors import BadMessage
from .messages import Record, Source, StyleWeight

R = TypeVar("R", bound=Record)
LEAST: Final = -(2**63)  # the least and the largest whole number of msgpack
MOST: Final = 2**64 - 1
_OWN: Final = (type(None), bool, float, bytes)  # types whose values are always right

Read = Callable[[Any], Any]  # raises _Odd


def plain(record: R, **typed: str) -> R:
    """Return the record with Python's own values only.

    Args:
        typed: field -> the name that the user knows it by, where that is another.

    Raises:
        BadMessage: a field does not have its type; the message names it, its value and what is allowed.
    """
    values = {}
    for name, kind, read in _fields(type(record)):
        value = getattr(record, name)
        if type(value) is kind and kind in _OWN:
            continue
        try:
            fit = read(value)
        except _Odd as odd:
            raise BadMessage(complaint(typed.get(name, name), shown(value), odd.allowed, "correct it")) from None
        if fit is not value and (type(value) is not tuple or any(map(operator.is_not, fit, value))):
            values[name] = fit
    return msgspec.structs.replace(record, **values) if values else record


class _Odd(Exception):
    """A value does not have the type of its field."""

    def __init__(self, allowed: str) -> None:
        self.allowed = allowed


def _whole(value: Any) -> int:
    whole = whole_of(value)
    if whole is None or not LEAST <= whole <= MOST:
        raise _Odd("a whole number of up to 64 bits")
    return whole


def _number(value: Any) -> float:
    number = number_of(value)
    if number is None:
        raise _Odd("a number")
    return number


def _text(value: Any) -> str:
    text = text_of(value)
    if text is None:
        raise _Odd("text")
    if not is_text(text):
        raise _Odd("text in Unicode, without half of a surrogate pair")
    return text


def _flag(value: Any) -> bool:
    flag = flag_of(value)
    if flag is None:
        raise _Odd("True or False")
    return flag


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise _Odd("bytes")
    return bytes(value)


def _items(value: Any, read: Read, allowed: str, count: int | None) -> tuple[Any, ...]:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise _Odd(allowed)
    try:
        items = tuple(read(item) for item in value)
    except (_Odd, TypeError):  # TypeError: numpy's arrays of no dimension claim to be iterable
        raise _Odd(allowed) from None
    if count is not None and len(items) != count:
        raise _Odd(allowed)
    return items


def _map(value: Any) -> dict[str, Any]:
    """Return a map with plain keys. `checks` knows the names and checks the values."""
    if not isinstance(value, dict) or not all(text_of(key) is not None for key in value):
        raise _Odd("a map of names to values")
    return {str.__str__(key): item for key, item in value.items()}


def _source(value: Any) -> Source:
    if not isinstance(value, Source):
        raise _Odd("a Source")
    return Source(job=_text(value.job), index=_whole(value.index), digest=_text(value.digest))


def _style(value: Any) -> StyleWeight:
    if not isinstance(value, StyleWeight):
        raise _Odd("a StyleWeight")
    return StyleWeight(number=_whole(value.number), weight=_number(value.weight))


_READ: Final[dict[Any, Read]] = {
    int: _whole,
    float: _number,
    str: _text,
    bool: _flag,
    bytes: _bytes,
    Source: _source,
    StyleWeight: _style,
}
_MANY: Final[dict[Any, str]] = {
    int: "a list of whole numbers",
    float: "numbers, like (16, 9)",
    str: "a list of words",
    Source: "a list of sources",
    StyleWeight: "a list of styles",
}


def _reader(kind: Any) -> Read:
    if get_origin(kind) in (Union, UnionType):
        (inner,) = (part for part in get_args(kind) if part is not type(None))
        read = _reader(inner)
        return lambda value: None if value is None else read(value)
    if get_origin(kind) is dict:
        return _map
    if get_origin(kind) is tuple:
        item, *others = get_args(kind)
        count = None if others == [...] else 1 + len(others)
        allowed = _MANY[item] if count is None else f"{count} {_MANY[item]}"
        return lambda value: _items(value, _reader(item), allowed, count)
    return _READ[kind]


@cache
def _fields(record: type[Record]) -> tuple[tuple[str, Any, Read], ...]:
    return tuple((field.name, field.type, _reader(field.type)) for field in msgspec.structs.fields(record))
