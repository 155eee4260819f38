"""Receive files that come in parts, bounded in number, size and time. Used on the event loop's thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ...errors import complaint
from .errors import TooMany, WrongValue

PATIENCE_S: Final = 60.0  # the longest wait for the next part
OPEN: Final = 8  # files that an account may be bringing at a time
TOTAL: Final = 256 * 2**20  # bytes of all files that are not whole


@dataclass
class _Part:
    size: int
    at: float
    data: bytearray = field(default_factory=bytearray)


class Uploads:
    """Files that are not whole yet.

    Args:
        clock: returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._parts: dict[tuple[str, str], _Part] = {}

    def add(self, account: str, digest: str, size: int, offset: int, data: bytes) -> bytes | int:
        """Take a part. Return the file if it is whole now (and forget it), else how many bytes are there.

        A part that does not follow on changes nothing.

        Raises:
            WrongValue: there are more bytes than the file has.
            TooMany: the account, or all accounts together, bring too much at a time.
        """
        now = self._clock()
        for key in [key for key, part in self._parts.items() if now - part.at > PATIENCE_S]:
            del self._parts[key]
        key = account, digest
        part = self._parts.get(key)
        if part is not None and part.size != size:
            del self._parts[key]
            part = None
        there = 0 if part is None else len(part.data)
        if not data or offset != there:
            return there
        if there + len(data) > size:
            got = f"{there + len(data):,} bytes"
            raise WrongValue(complaint("upload", got, f"{size:,}, as was said", "say the size of the file"))
        if part is None:
            self._check_bounds(account, size)
            part = self._parts[key] = _Part(size, now)
        part.data += data
        part.at = now
        if len(part.data) < size:
            return len(part.data)
        del self._parts[key]
        return bytes(part.data)

    def _check_bounds(self, account: str, size: int) -> None:
        """Raise TooMany if a further file of the account would be beyond the bounds."""
        mine = sum(owner == account for owner, _ in self._parts)
        if mine >= OPEN:
            raise TooMany(complaint("upload", f"{mine + 1} files at a time", f"{OPEN}", "finish one first"))
        if sum(part.size for part in self._parts.values()) + size > TOTAL:
            got = "more than everybody together may be bringing"
            raise TooMany(complaint("upload", got, f"{TOTAL:,} bytes", "try again in a minute"))
