"""Read files that a client brings to a server."""

from __future__ import annotations

import os

from ...bounds import MAX_REFERENCE_BYTES
from ...errors import complaint
from ...system import explain
from .errors import invalid


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of a picture's file, at most one more than it may have. Raise Invalid if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(MAX_REFERENCE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: the name has a NUL
        if isinstance(error, OSError):
            told = explain(error)
            raise invalid(f"picture {str(path)!r}: {told.got}; {told.remedy}") from error
        raise invalid(complaint("picture", repr(path)[:80], "the name of a file", "correct it")) from error
