"""Check what a program hands to a method, by the annotations of its arguments, before anything is done.

The wire checks the types of what comes over it; in a program nothing does, and an id that is no text, a number that no
database holds, or the letters of a word in place of a list would fail, or do something else, somewhere inside. Standard
library only: a thin client loads this.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType
from typing import Any, Final, TypeAlias, TypeVar, cast

from .errors import SalonError, complaint, is_text
from .values import flag_of, path_of, shown, text_of, whole_of

T = TypeVar("T")
Read: TypeAlias = Callable[[Any], Any]
Kind: TypeAlias = tuple[str, Read]  # what is allowed, in words; and what returns such a value, or None for any other
COUNTS: Final = range(-(2**63), 2**63)  # the numbers that a database holds


def plain_text(value: Any) -> str | None:
    """Return text that can be stored; None for any other value."""
    text = text_of(value)
    return text if text is not None and is_text(text) else None


def plain_count(value: Any) -> int | None:
    """Return a whole number that can be stored; None for any other value."""
    number = whole_of(value)
    return number if number is not None and number in COUNTS else None


def items_of(values: Any) -> tuple[Any, ...] | None:
    """Return the items of a list, or of anything that yields some; None for any other value, text and bytes too."""
    if isinstance(values, str | bytes | bytearray) or not isinstance(values, Iterable):
        return None
    return tuple(values)


def each_of(read: Read) -> Read:
    """Return what reads lists of which every item is read by `read`."""

    def read_all(values: Any) -> tuple[Any, ...] | None:
        items = items_of(values)
        found = () if items is None else tuple(map(read, items))
        return None if items is None or any(each is None for each in found) else found

    return read_all


def names_and_values(value: Any) -> Mapping[str, Any] | None:
    """Return a mapping of text; None for any other value."""
    return value if isinstance(value, Mapping) and all(plain_text(name) is not None for name in value) else None


def file_or_bytes(value: Any) -> Any:
    """Return what names a file, or the bytes of one, as it is; None for any other value."""
    return value if isinstance(value, bytes) else name_of_file(value)


def raising(value: Any, error: Exception) -> str:
    """Return in words what came, where looking at it raised an error, as an iterator may."""
    return f"{shown(value)}, which raises {shown(error)}"


def name_of_file(value: Any) -> Any:
    """Return what names a file or folder, as it is; None for any other value."""
    return None if path_of(value) is None else value


def one_of_class(kind: type[Any]) -> Read:
    """Return what reads objects of a class."""
    return lambda value: value if isinstance(value, kind) else None


def with_members(*names: str) -> Read:
    """Return what reads objects that have these members, as a protocol says."""
    return lambda value: value if not isinstance(value, type) and all(hasattr(value, name) for name in names) else None


def called_with(*arguments: str) -> Kind:
    """Return the kind of a callable that is called with such arguments.

    A coroutine function is none, since its call would do nothing.
    """

    def read(value: Any) -> Any:
        if not callable(value) or _is_coroutine_function(value):
            return None
        try:
            signature = inspect.signature(value)
        except (TypeError, ValueError):
            return value  # written in C, and does not say
        try:
            signature.bind(*arguments)
        except TypeError:
            return None
        return value

    return f"a plain function (not async) of {len(arguments)}: {', '.join(arguments)}", read


def _is_coroutine_function(value: Any) -> bool:
    while isinstance(value, functools.partial):
        value = value.func
    return inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(type(value).__call__)


_TEXTS: Final[Kind] = ("a list of text", each_of(plain_text))
KINDS: Final[dict[str, Kind]] = {  # by annotation; None is allowed where the annotation says so besides
    "str": ("text", plain_text),
    "int": ("a whole number of up to 63 bits", plain_count),
    "bool": ("True or False", flag_of),
    "Iterable[str]": _TEXTS,
    "Sequence[str]": _TEXTS,
    "tuple[str, ...]": _TEXTS,
    "Iterable[int]": ("a list of whole numbers", each_of(plain_count)),
    "Iterable[Any]": ("a list", items_of),
    "Mapping[str, Any]": ("names and values", names_and_values),
}


class Arguments:
    """How arguments are read.

    Args:
        refusal: makes the error of a message.
        more: kinds beside `KINDS`, or in place of some; also for one name alone, as "prompt: str".

    Attributes:
        kinds: all of them, to which modules add those of their own.
    """

    def __init__(self, refusal: Callable[[str], SalonError], more: Mapping[str, Kind] | None = None) -> None:
        self._refusal, self.kinds = refusal, {**KINDS, **(more or {})}

    def read(self, annotation: str, name: str, value: Any) -> Any:
        """Return a value as an annotation says; as it is, where nothing is known of that.

        The refusal's error: it is another, or raises while it is read, as an iterator may.
        """
        plain = annotation.removesuffix(" | None")
        kind = self.kinds.get(f"{name}: {plain}") or self.kinds.get(plain)
        if kind is None or (value is None and plain != annotation):
            return value
        allowed, read = kind
        try:
            found = read(value)
        except (SalonError, MemoryError):
            raise
        except Exception as error:  # of a foreign class
            raise self._refusal(complaint(name, raising(value, error), allowed, "correct it")) from error
        if found is None:
            raise self._refusal(complaint(name, shown(value), allowed, "correct it"))
        return found

    def reader(self, function: Callable[..., Any], *besides: str) -> Callable[..., inspect.BoundArguments]:
        """Return what reads the arguments of calls of a function, `self` among them, but for those of these names.

        It raises TypeError for arguments that the function does not have, as a call does.
        """
        signature: inspect.Signature | None = None
        kinds: dict[str, str] = {}

        def read_all(*values: Any, **named: Any) -> inspect.BoundArguments:
            nonlocal signature
            if signature is None:  # at the first call: there are many functions
                looked = inspect.signature(function)
                kinds.update(self._checked(looked, besides))
                signature = looked
            bound = signature.bind(*values, **named)
            for name, value in bound.arguments.items():
                if name in kinds:
                    bound.arguments[name] = self.read(kinds[name], name, value)
            return bound

        return read_all

    def _checked(self, signature: inspect.Signature, besides: tuple[str, ...]) -> dict[str, str]:
        return {
            name: one.annotation
            for name, one in signature.parameters.items()
            if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
            and isinstance(one.annotation, str)
            and name not in ("self", *besides)
        }

    def checks(self, *besides: str) -> Callable[[type[T]], type[T]]:
        """Return a decorator of classes by which public methods, and `__init__`, check their arguments.

        Args:
            besides: names of arguments that are checked elsewhere.
        """

        def decorate(kind: type[T]) -> type[T]:
            for name, function in list(vars(kind).items()):
                if name.startswith("_") and name != "__init__":
                    continue
                if isinstance(function, FunctionType):
                    setattr(kind, name, self._checking(function, besides))
                elif isinstance(function, classmethod):
                    setattr(kind, name, classmethod(self._checking(cast(FunctionType, function.__func__), besides)))
            return kind

        return decorate

    def _checking(self, function: FunctionType, besides: tuple[str, ...]) -> Callable[..., Any]:
        read_all = self.reader(function, *besides)

        @functools.wraps(function)
        def checking(*values: Any, **named: Any) -> Any:
            bound = read_all(*values, **named)
            return function(*bound.args, **bound.kwargs)

        return checking
