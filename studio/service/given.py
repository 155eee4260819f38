"""Say how the methods of a durable studio check what a program hands them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from ...given import Arguments, called_with, items_of, name_of_file
from ...values import number_of
from .errors import WrongValue
from .options import ServiceOptions

S = TypeVar("S", bound=msgspec.Struct)
ARGUMENTS: Final = Arguments(
    WrongValue,
    {
        "Iterable[Picture]": ("a list", items_of),
        "str | Path": ("the path of a folder", name_of_file),
        "OpenStudio": called_with("options", "accounts"),
    },
)
checks_arguments = ARGUMENTS.checks
_OPTIONS: Final = Arguments(WrongValue, {"float": ("a number", number_of), "Path": ("a path", name_of_file)})
_PATHS: Final = ("model", "vae", "ip_adapter", "image_encoder", "loras")  # text, or a path
_ELSEWHERE: Final = ("data", "text_encoder", "device", "workers", "threads", "backend", "isa", "dtype", "unload_after")


def checked_struct(made: S) -> S:
    """Return a struct whose own fields are what their annotations say. WrongValue: one is not."""
    kinds = inspect.get_annotations(type(made))
    read = {name: ARGUMENTS.read(kinds[name], name, getattr(made, name)) for name in kinds}
    return msgspec.structs.replace(made, **read)


def checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of a service, as `ServiceOptions` says; what the engine checks itself stays as it is.

    WrongValue: one is another.
    """
    kinds = inspect.get_annotations(ServiceOptions)
    read = dict(options)
    for name in read.keys() & kinds.keys() - set(_ELSEWHERE):
        read[name] = _OPTIONS.read("Path | None" if name in _PATHS else kinds[name], name, read[name])
    return read
