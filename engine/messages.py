"""The one wording of refusals."""

from __future__ import annotations

from typing import Any


def complaint(what: str, got: Any, allowed: str, remedy: str) -> str:
    """`what: got X, allowed Y; do Z`, in one line."""
    return f"{what}: got {got}, allowed {allowed}; {remedy}"
