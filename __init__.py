"""Salon: a text-to-image inference engine with taste.

The repository root is this package: `engine/`, `kernels/`, ... are its subpackages. Names are imported when first
used (PEP 562), so that `import salon` costs nothing and a thin client never loads the engine.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engine.engine import Engine
    from .engine.spec import GenerationSpec
    from .errors import SalonError
    from .frontends.client.aio import AsyncClient
    from .frontends.client.client import Client
    from .studio.service.embedded import DurableStudio
    from .studio.studio import Studio

    __version__: str

__all__ = ["AsyncClient", "Client", "DurableStudio", "Engine", "GenerationSpec", "SalonError", "Studio", "__version__"]

_HOME = {
    "AsyncClient": ".frontends.client.aio",
    "Client": ".frontends.client.client",
    "DurableStudio": ".studio.service.embedded",
    "Engine": ".engine.engine",
    "GenerationSpec": ".engine.spec",
    "SalonError": ".errors",
    "Studio": ".studio.studio",
}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name in _HOME:
        return getattr(import_module(_HOME[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _version() -> str:
    """Return the version of the installed distribution.

    It is looked up when it is used, since importlib.metadata costs more than the rest of Salon.
    """
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("salon")
    except PackageNotFoundError:  # a bare checkout
        return "0+checkout"
