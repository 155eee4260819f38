"""Check what a program hands to the methods of a durable studio, by their annotations, before anything is done.

The wire checks the types of what comes over it; in a program nothing does, and an id that is no text, or a number that
no database holds, would fail somewhere inside.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType
from typing import Any, Final, TypeVar

import msgspec

from ...errors import complaint, is_text
from ...values import shown, text_of, whole_of
from .errors import WrongValue

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)
COUNTS: Final = range(-(2**63), 2**63)  # the numbers that a database holds


def plain_text(value: Any) -> str | None:
    """Return text that can be stored; None for any other value."""
    text = text_of(value)
    return text if text is not None and is_text(text) else None


def plain_count(value: Any) -> int | None:
    """Return a whole number that can be stored; None for any other value."""
    number = whole_of(value)
    return number if number is not None and number in COUNTS else None


def _several(read: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...] | None]:
    def read_all(values: Any) -> tuple[Any, ...] | None:
        if isinstance(values, str | bytes) or not isinstance(values, Iterable):
            return None
        found = [(value, read(value)) for value in values]
        return None if any(each is None for _, each in found) else tuple(each for _, each in found)

    return read_all


def _any(values: Any) -> tuple[Any, ...] | None:
    return None if isinstance(values, str | bytes) or not isinstance(values, Iterable) else tuple(values)


_TEXTS: Final = ("a list of text", _several(plain_text))
_READERS: Final[dict[str, tuple[str, Callable[[Any], Any]]]] = {  # by annotation: what is allowed, and how it is read
    "str": ("text", plain_text),
    "int": ("a whole number of up to 63 bits", plain_count),
    "Iterable[str]": _TEXTS,
    "Sequence[str]": _TEXTS,
    "tuple[str, ...]": _TEXTS,
    "Iterable[int]": ("a list of whole numbers", _several(plain_count)),
    "Iterable[Any]": ("a list", _any),
    "Iterable[Picture]": ("a list", _any),
    "Mapping[str, Any]": ("names and values", lambda value: value if isinstance(value, Mapping) else None),
}


def read_as(annotation: str, name: str, value: Any) -> Any:
    """Return a value as an annotation says; as it is, where nothing is known of that. WrongValue: it is another."""
    plain = annotation.removesuffix(" | None")
    if plain not in _READERS or (value is None and plain != annotation):
        return value
    allowed, read = _READERS[plain]
    found = read(value)
    if found is None:
        raise WrongValue(complaint(name, shown(value), allowed, "correct it"))
    return found


def checked_struct(made: S) -> S:
    """Return a struct whose own fields are what their annotations say. WrongValue: one is not."""
    kinds = inspect.get_annotations(type(made))
    return msgspec.structs.replace(made, **{name: read_as(kinds[name], name, getattr(made, name)) for name in kinds})


def checks_arguments(*besides: str) -> Callable[[type[T]], type[T]]:
    """Return a decorator of classes by which public methods check their arguments, and raise WrongValue.

    Args:
        besides: arguments that are checked elsewhere, with other errors.
    """

    def decorate(kind: type[T]) -> type[T]:
        for name, function in list(vars(kind).items()):
            if isinstance(function, FunctionType) and not name.startswith("_"):
                setattr(kind, name, _checking(function, besides))
        return kind

    return decorate


def _checking(function: FunctionType, besides: tuple[str, ...]) -> Callable[..., Any]:
    signature = inspect.signature(function)
    kinds = {
        name: one.annotation
        for name, one in signature.parameters.items()
        if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL) and name not in ("self", *besides)
    }

    @functools.wraps(function)
    def checking(*args: Any, **options: Any) -> Any:
        bound = signature.bind(*args, **options)
        for name, value in bound.arguments.items():
            if name in kinds:
                bound.arguments[name] = read_as(kinds[name], name, value)
        return function(*bound.args, **bound.kwargs)

    return checking
