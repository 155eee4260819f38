"""Find the backends: every module of this folder is one, and its name is the backend's.

To add a backend is to add a module with

    HELP: str                                        # describes the backend in a few words
    def create(options: Options) -> Ops              # ValueError for an option that it does not have
    EXTRA: str                                       # may be absent: the extra of Salon that brings its packages
    CORES: bool                                      # may be absent: False if it leaves the machine's cores to others
    PROVIDERS: bool                                  # may be absent: True if it takes execution providers
    LINEAR_BYTES: int                                # may be absent: of a number of a linear layer, if not those of the
                                                     # compute dtype
    def lighter(dtype: str) -> Sequence[str]         # may be absent: see below
    DTYPE: Dtype                                     # may be absent: the compute dtype where none is named, if not that
                                                     # of the default backend

No other module knows their names. A backend's module is loaded only when the backend is created or described. This
module loads none when it is imported, because `salon --help` lists the backends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ...plugins import Plugins
from ...values import shown

if TYPE_CHECKING:
    from ..ops import Dtype, Ops

DEFAULT = "cpu"
Provider = str | tuple[str, Mapping[str, Any]]  # an execution provider's name, or its name and its options


@dataclass(frozen=True)
class Options:
    """The options of a backend. None leaves the choice to the backend.

    Attributes:
        isa: name of an instruction set.
        dtype: compute dtype.
        threads: number of threads.
        device: name of a device ("cuda:0"), for backends that have several.
        providers: execution providers, best first, for backends that have them.
    """

    isa: str | None = None
    dtype: Dtype | None = None
    threads: int | None = None
    device: str | None = None
    providers: tuple[Provider, ...] | None = None


class Backend(Protocol):
    """The names that a module of this folder defines."""

    HELP: str

    def create(self, options: Options) -> Ops[Any, Any]:
        """Make the op table. Raise ValueError for an option that the backend does not have."""


PLUGINS: Plugins[Backend] = Plugins("backend", __name__, __path__, DEFAULT)
names, backend = PLUGINS.names, PLUGINS.get


def create(
    name: str = DEFAULT,
    *,
    isa: str | None = None,
    dtype: Dtype | None = None,
    threads: int | None = None,
    device: str | None = None,
    providers: Sequence[Provider] | None = None,
) -> Ops[Any, Any]:
    """Make the op table of the backend called `name`. `Options` describes the other arguments.

    Raises:
        ValueError: the name is unknown, or the backend does not have an option.
    """
    if providers is not None and (isinstance(providers, str | bytes) or not isinstance(providers, Sequence)):
        raise ValueError(f"providers: got {shown(providers)}, allowed a list of names, or of (name, options)")
    if providers is not None and not getattr(backend(name), "PROVIDERS", False):
        raise ValueError(f"providers: got {shown(providers)}, want none for the {name} backend, which has no providers")
    return backend(name).create(Options(isa, dtype, threads, device, None if providers is None else tuple(providers)))


def uses_cores(name: str) -> bool:
    """Return whether a backend computes on the machine's cores, which workers then share. Unknown ones do."""
    return name not in names() or bool(getattr(backend(name), "CORES", True))


def linear_bytes(name: str) -> int | None:
    """Return the bytes of a number of a linear layer on a backend; None: those of the compute dtype."""
    return getattr(backend(name), "LINEAR_BYTES", None) if name in names() else None


def lighter(name: str, dtype: str) -> tuple[str, ...]:
    """Return how the same model takes less memory than on a backend with a compute dtype, as flags of the command line,
    best first; none: it does not on this machine."""
    ways = getattr(backend(name), "lighter", None) if name in names() else None
    return () if ways is None else tuple(ways(dtype))


def usual_dtype(name: str) -> Dtype | None:
    """Return the compute dtype of a backend where none is named; None: that of the default backend."""
    return getattr(backend(name), "DTYPE", None) if name in names() else None


def remedy(name: str) -> str:
    """Return how to get the packages that a backend computes with."""
    try:
        return f"install them: pip install 'salon[{PLUGINS.constant(name, 'EXTRA')}]'"
    except ValueError:
        return "install them"
