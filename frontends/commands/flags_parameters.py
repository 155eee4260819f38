"""Flags of a request's parameters, made from the one list of them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ...parameters.errors import ParameterError
from ...parameters.kinds import OneOf, Switch
from ...parameters.known import Parameter, parameters
from ...parameters.references import References, Typed
from .parsing import FILE, Names, UsageError

if TYPE_CHECKING:
    from ...studio.references import ReferencePicture


class Reader:
    """A reader of one parameter's values."""

    def __init__(self, parameter: Parameter) -> None:
        self.parameter = parameter

    def __call__(self, text: str) -> Any:
        parameter = self.parameter
        try:
            return parameter.kind.read(parameter.label, text, parameter.remedy)
        except ParameterError as error:
            raise UsageError(str(error)) from error


def add(group: Any) -> None:
    """Add the flags of all parameters that have some."""
    for parameter in parameters().values():
        if not parameter.flags:
            continue
        default = f" ({parameter.default})" if parameter.default else ""
        kind = parameter.kind
        text = f"{', '.join(filter(None, [parameter.help, kind.short]))}{default}".replace("%", "%%")
        if isinstance(kind, Switch):
            group.add_argument(*parameter.flags, dest=parameter.dest, action="store_const", const=True, help=text)
            continue
        read = Names(parameter.label, kind.names) if isinstance(kind, OneOf) else Reader(parameter)
        action = group.add_argument(
            *parameter.flags,
            dest=parameter.dest,
            type=read,
            default=parameter.implies,
            metavar=kind.metavar,
            nargs="+" if kind.many else None,
            help=text,
        )
        if isinstance(kind, References):
            action.completes = FILE


def given(options: argparse.Namespace) -> dict[str, Any]:
    """Return the parameters that a command line has, by name; references as they were typed (`references`)."""
    found = {p.name: getattr(options, p.dest, None) for p in parameters().values() if p.flags}
    return {name: value for name, value in found.items() if value is not None}


def references(values: dict[str, Any]) -> dict[str, ReferencePicture]:
    """Read the pictures that parameters refer to, by path, before any other work.

    Raise ReferenceRefused if one cannot be read as a picture.
    """
    found: dict[str, ReferencePicture] = {}
    for name, value in values.items():
        for typed in value if isinstance(value, list) else ():
            path = str(typed.source)
            if typed.is_file and path not in found:
                from ...studio.references import read_file, read_picture  # Pillow and numpy: not for other requests

                label = parameters()[name].label
                found[path] = read_picture(read_file(path, label), f"{label} {path!r}")
    return found


def sent(values: dict[str, Any], digests: dict[str, str]) -> dict[str, Any]:
    """Return parameters as data: references by number or digest. `digests`: of the pictures, by path."""

    def pair(typed: Typed) -> tuple[int | str, float]:
        source = digests[str(typed.source)] if typed.is_file else typed.source
        return source, typed.weight

    return {name: tuple(map(pair, value)) if isinstance(value, list) else value for name, value in values.items()}
