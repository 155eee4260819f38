"""Salon: a text-to-image inference engine with taste.

The repository root is this package: `engine/`, `kernels/`, ... are its subpackages. Names are imported when first
used (PEP 562), so that `import salon` costs nothing and a thin client never loads the engine.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engine.engine import Engine
    from .engine.errors import SalonError
    from .engine.spec import GenerationSpec

try:
    __version__ = version("salon")
except PackageNotFoundError:  # a bare checkout, not installed
    __version__ = "0+checkout"

__all__ = ["Engine", "GenerationSpec", "SalonError", "__version__"]

_HOME = {"Engine": ".engine.engine", "GenerationSpec": ".engine.spec", "SalonError": ".engine.errors"}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
