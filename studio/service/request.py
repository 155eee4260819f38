"""Requests of programs, and the fingerprint by which a repeated request is told from another one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import msgspec

from ...bounds import ID, MAX_PREVIEW_EVERY, MAX_SEED
from ...engine.errors import SpecError
from ...errors import complaint, is_text
from ...given import items_of, plain_count, plain_text, raising
from ...parameters.job_request import JobRequest, Source
from ...values import flag_of, number_of, shown, text_of, whole_of

FIRST: Final = 14  # fields beside the key that the first fingerprints had
OPTIONAL: Final = ("width", "height", "steps", "seed", "guidance_scale", "solver", "shift")  # may be None


def request_of(**fields: Any) -> JobRequest:
    """Return a request of what a program hands in, in Python's own types. Whether numbers are in their range, the spec
    says. SpecError: a field that is unknown or missing, or a value of another type."""
    made: dict[str, Any] = {}
    for name, value in fields.items():
        if name not in _TYPES:
            raise SpecError(complaint("field", shown(name), ", ".join(_TYPES), "name one of these"))
        what, read = _TYPES[name]
        try:
            made[name] = None if value is None and name in _MAY_BE_NONE else read(value)
        except Exception as error:  # of a foreign class
            raise SpecError(complaint(name, raising(value, error), what, "correct it")) from error
        if made[name] is None and not (value is None and name in _MAY_BE_NONE):
            raise SpecError(complaint(name, shown(value), what, "correct it"))
    if not made.get("language") and not is_text(made.get("prompt", "")):  # the language says where in it
        raise SpecError(complaint("prompt", shown(made["prompt"]), "text in Unicode", "correct it"))
    if missing := [name for name in ("key", "prompt") if name not in made]:
        raise SpecError(complaint("field", f"no {missing[0]}", "one", "give it"))
    return JobRequest(**made)


def fingerprint(request: JobRequest) -> bytes:
    """Return a hash of everything but the key: it tells a repeated request from another one under the same key.

    Behind the `FIRST` fields, those at the end that have their defaults are left out. So stored fingerprints stay true
    when a field is added.
    """
    fields = _hashed(type(request))
    values = [getattr(request, field.name) for field in fields]
    while len(values) > FIRST and values[-1] == _default_of(fields[len(values) - 1]):
        values.pop()
    values = [sorted(value.items()) if isinstance(value, dict) else value for value in values]  # in any order
    return hashlib.sha256(msgspec.msgpack.encode(values)).digest()


@cache
def _hashed(kind: type[JobRequest]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """Return the fields that are hashed. Looking them up evaluates annotations, for longer than all the rest takes."""
    return tuple(field for field in msgspec.structs.fields(kind) if field.name != "key")


def _default_of(field: msgspec.structs.FieldInfo) -> Any:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def _key(value: Any) -> str | None:
    text = text_of(value)
    return text if text is not None and re.fullmatch(ID, text) else None


def _pair(value: Any) -> tuple[float, float] | None:
    try:
        width, height = map(number_of, value)
    except (TypeError, ValueError):
        return None
    return None if width is None or height is None else (width, height)


def _sources(value: Any) -> tuple[Source, ...] | None:
    made = items_of(value)
    return made if made is not None and all(map(_is_source, made)) else None


def _is_source(value: Any) -> bool:
    if not isinstance(value, Source):
        return False
    return None not in (plain_text(value.job), plain_text(value.digest), plain_count(value.index))


def _whole(value: Any) -> int | None:
    number = whole_of(value)
    return number if number is not None and -(2**63) <= number <= MAX_SEED else None


def _every(value: Any) -> int | None:
    steps = whole_of(value)
    return steps if steps is not None and 0 <= steps <= MAX_PREVIEW_EVERY else None


_Type = tuple[str, Callable[[Any], Any]]
_TEXT: Final[_Type] = ("text in Unicode", plain_text)
_WHOLE: Final[_Type] = ("a whole number of up to 64 bits", _whole)
_NUMBER: Final[_Type] = ("a number", number_of)
_TYPES: Final[dict[str, _Type]] = {
    "key": ("1 to 64 letters, digits, '.', '_', ':' or '-'", _key),
    "prompt": ("text", text_of),
    "lane": _TEXT,
    "negative_prompt": _TEXT,
    "aspect": ("two numbers, width and height", _pair),
    "width": _WHOLE,
    "height": _WHOLE,
    "steps": _WHOLE,
    "seed": _WHOLE,
    "images": _WHOLE,
    "guidance_scale": _NUMBER,
    "solver": _TEXT,
    "shift": _NUMBER,
    "private": ("True or False", flag_of),
    "preview_every": (f"a whole number from 0 to {MAX_PREVIEW_EVERY}", _every),
    "language": ("True or False", flag_of),
    "parameters": ("a map of names to values", lambda value: dict(value) if isinstance(value, dict) else None),
    "kind": _TEXT,
    "sources": ("a list of Source", _sources),
}
_MAY_BE_NONE: Final = {"aspect", "parameters", *OPTIONAL}
