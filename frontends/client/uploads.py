"""Read files that a client brings to a server."""

from __future__ import annotations

import hashlib
import os

from ...bounds import MAX_LORA_BYTES, MAX_REFERENCE_BYTES
from ...errors import complaint
from ...system import explain
from ...values import path_of, shown
from .errors import invalid


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of a picture's file, at most one more than it may have. Raise Invalid if it cannot be read."""
    where = name_of_file(path, "picture")
    try:
        with open(where, "rb") as file:
            return file.read(MAX_REFERENCE_BYTES + 1)
    except OSError as error:
        told = explain(error)
        raise invalid(f"picture {where!r}: {told.got}; {told.remedy}") from error


def name_of_file(path: object, what: str) -> str:
    """Return the name of a file. Raise Invalid for what can be none."""
    if (where := path_of(path)) is None:
        raise invalid(complaint(what, shown(path), "the name of a file", "correct it"))
    return where


class LoraFile:
    """A LoRA's file on its way to a server.

    Attributes:
        digest: its SHA-256 (hex).
        size: its bytes.

    Raises:
        Invalid: the file cannot be read, or is too large.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = name_of_file(path, "LoRA")
        try:
            with open(self._path, "rb") as file:
                self.size = file.seek(0, os.SEEK_END)
                file.seek(0)
                small = 1 <= self.size <= MAX_LORA_BYTES
                self.digest = hashlib.file_digest(file, "sha256").hexdigest() if small else ""
        except OSError as error:
            raise self._unreadable(error) from error
        if not small:
            got, allowed = f"{self.size:,} bytes", f"1 to {MAX_LORA_BYTES:,}"
            raise invalid(complaint(f"LoRA {self._path!r}", got, allowed, "take one of lower rank"))

    def part(self, start: int, count: int) -> bytes:
        """Return bytes of the file."""
        try:
            with open(self._path, "rb") as file:
                file.seek(start)
                return file.read(count)
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> Exception:
        told = explain(error)
        return invalid(f"LoRA {self._path!r}: {told.got}; {told.remedy}")
