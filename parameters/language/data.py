"""What a prompt says, as plain data: what the wire carries and `make_spec` takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from ...bounds import random_seed
from ...errors import SalonError, complaint
from ..errors import ParameterError, refusal_of
from ..kinds import Value
from ..known import parameters, unmade
from ..pictures import Form, Named
from ..references import RANDOM, Typed, TypedPicture
from .prompt import Prompt, Said

NONE: Final[Mapping[str, str]] = MappingProxyType({})


def data_of(
    prompt: Prompt, digests: Mapping[str, str] = NONE, choose: Callable[[], int] = random_seed
) -> dict[str, Value]:
    """Return the parameters of a prompt by name, each in its range.

    Args:
        prompt: as it was read.
        digests: of the files that it names, by path or link.
        choose: called for the number of every `random`.

    Raises:
        PromptRefused: a file that is not in `digests`, or a parameter that this version knows by name alone.
    """
    want_made(prompt)
    known = parameters()
    found = {}
    for name, one in prompt.said.items():
        parameter = known[name]
        try:
            found[name] = parameter.kind.check(one.flag, plain(one, digests, choose), parameter.remedy)
        except SalonError as error:
            raise refusal_of(str(error), prompt.source, one.value_position) from error
    return found


def want_made(prompt: Prompt) -> None:
    """Raise PromptRefused for a parameter that this version knows by name alone."""
    for name, one in prompt.said.items():
        if missing := parameters()[name].missing:
            error = unmade(one.flag, missing)
            raise refusal_of(str(error), prompt.source, one.position) from error


def pictures_of(prompt: Prompt, digests: Mapping[str, str] = NONE) -> tuple[str, ...]:
    """Return the pictures before the words of a prompt, as data.

    Raises:
        PromptRefused: a file that is not in `digests`.
    """
    try:
        return tuple(
            _digest("image prompt", each.source, digests)
            if each.form is Form.FILE
            else digests.get(each.source, each.source)
            for each in prompt.pictures
        )
    except SalonError as error:
        raise refusal_of(str(error), prompt.source, 0) from error


def plain(one: Said, digests: Mapping[str, str] = NONE, choose: Callable[[], int] = random_seed) -> Any:
    """Return a value without what only means something where it was typed. Arguments and errors as of `data_of`."""
    value = one.value
    if isinstance(value, Named):
        return _digest(one.flag, value.source, digests) if value.form is Form.FILE else value.source
    if isinstance(value, Typed):
        return _source(one.flag, value, digests, choose)
    if not isinstance(value, tuple) or not any(isinstance(each, Typed) for each in value):
        return value
    if all(isinstance(each, TypedPicture) for each in value):
        return tuple(_source(one.flag, typed, digests, choose) for typed in value)
    return tuple((_source(one.flag, typed, digests, choose), typed.weight) for typed in value)


def files_in(value: Any) -> list[str]:
    """Return the paths of files that a value names."""
    found = value if isinstance(value, tuple) else (value,)
    paths = [str(each.source) for each in found if isinstance(each, Typed) and each.is_file]
    return paths + [each.source for each in found if isinstance(each, Named) and each.form is Form.FILE]


def _source(flag: str, typed: Typed, digests: Mapping[str, str], choose: Callable[[], int]) -> int | str:
    if typed.is_file:
        return _digest(flag, str(typed.source), digests)
    return choose() if typed.source == RANDOM and type(typed) is Typed else digests.get(str(typed.source), typed.source)


def _digest(flag: str, path: str, digests: Mapping[str, str]) -> str:
    if path not in digests:
        remedy = "bring it first (add_reference), and write its SHA-256"
        raise ParameterError(complaint(flag, f"the file {path!r}"[:80], "pictures that are there", remedy))
    return digests[path]
