"""Refuse Git LFS pointers: the few lines that a clone without Git LFS has in place of a large file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from .errors import MalformedFile

POINTER: Final = b"version https://git-lfs.github.com/spec/v1"  # the first bytes of every pointer


def refuse_pointer(path: Path, head: bytes) -> None:
    """Raise MalformedFile if a file begins as a pointer.

    `head` holds at least as many of its first bytes as `POINTER`.
    """
    if head.startswith(POINTER):
        raise MalformedFile(
            "a Git LFS pointer in place of the file",
            path=path,
            expected="the file itself",
            remedy="fetch it: run git lfs pull where the repository was cloned, or download the file",
        )
