"""The backends: every module of this folder is one, and its name is the backend's.

To add a backend is to add a module with

    HELP: str                                        # what it is, in a few words
    def create(options: Options) -> Ops              # ValueError for an option that it does not have

Nothing else knows their names, and a module is loaded only when its backend is asked for or described. This one loads
nothing: `salon --help` lists the backends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ...plugins import Plugins

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


PLUGINS: Plugins[Backend] = Plugins("backend", __name__, __path__, DEFAULT)
names, backend = PLUGINS.names, PLUGINS.get


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
