"""Define the root of Salon's errors, and the one wording of refusals. Every floor's own tree hangs from here.

SalonError ├── engine/errors.py      models, requests, numbers ├── scheduler/errors.py   lanes, plans, GPU time └──
studio/errors.py      jobs, workers, the store
"""

from __future__ import annotations

from typing import Any


class SalonError(Exception):
    """Base of all errors that a user can cause."""


class OutputError(SalonError):
    """A picture, a graph or a zip cannot be written."""


def complaint(what: str, got: Any, allowed: str, remedy: str) -> str:
    """Return `what: got X, allowed Y; do Z`, in one line."""
    return f"{what}: got {got}, allowed {allowed}; {remedy}"


def is_text(value: str) -> bool:
    """Return whether a text can be sent and stored.

    Half of a surrogate pair, which badly decoded bytes leave, cannot.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
