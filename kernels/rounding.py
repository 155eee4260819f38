"""Say in how many bytes a backend keeps the weights of linear layers. This imports no backend."""

from __future__ import annotations

from typing import Any, Final

LEAST: Final = 256  # rows and columns of a weight that is worth fewer bits


def linear_bytes(ops: Any) -> int | None:
    """Return the bytes of a number of a linear layer that is not `exact`; None: those of the compute dtype."""
    found: int | None = getattr(ops, "linear_bytes", None)
    return found
