"""The backends: every module of this folder is one, and its name is the backend's.

To add a backend is to add a module with

    HELP: str                                        # what it is, in a few words, for `--help`
    def create(options: Options) -> Ops              # ValueError for an option that it does not have

Nothing else knows their names, and a module is loaded only when its backend is asked for or described. This one loads
nothing: `salon --help` lists the backends.
"""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from ..ops import Dtype, Ops

DEFAULT = "cpu"


@dataclass(frozen=True)
class Options:
    """How a backend is set up; None: its own choice.

    Attributes:
        isa: instruction set.
        dtype: compute dtype.
        threads: how many.
        device: which device, for those that have several ("cuda:0").
    """

    isa: str | None = None
    dtype: Dtype | None = None
    threads: int | None = None
    device: str | None = None


class Backend(Protocol):
    """What a module of this folder has."""

    HELP: str

    def create(self, options: Options) -> Ops[Any, Any]:
        """Make the op table. ValueError for an option that the backend does not have."""


@cache
def names() -> tuple[str, ...]:
    """Return the names of all backends, the default one first."""
    found = {module.name for module in pkgutil.iter_modules(__path__)}
    return (DEFAULT, *sorted(found - {DEFAULT}))


def backend(name: str) -> Backend:
    """Return the backend called `name`. ValueError if there is none."""
    if name not in names():
        raise ValueError(f"backend: got {name!r}, want one of {', '.join(names())}")
    return cast(Backend, import_module(f".{name}", __name__))


def create(
    name: str = DEFAULT,
    *,
    isa: str | None = None,
    dtype: Dtype | None = None,
    threads: int | None = None,
    device: str | None = None,
) -> Ops[Any, Any]:
    """Make the op table of the backend called `name`; the rest: see `Options`.

    Raises:
        ValueError: unknown name, or an option that the backend does not have.
    """
    return backend(name).create(Options(isa, dtype, threads, device))
