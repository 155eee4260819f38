"""Keep files in memory that were made or sent recently, so that they need not be read from disk again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

MAX_BYTES: Final = 64 << 20  # bytes of all kept files together
LARGEST: Final = MAX_BYTES // 2  # bytes of one kept file; larger files are read part by part


class RecentFiles:
    """The bytes of files by digest. Files that were unused longest are dropped first. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: OrderedDict[str, bytes] = OrderedDict()
        self._gone: set[str] = set()  # digests that were removed while they were being read
        self._reading: dict[str, int] = {}
        self.num_bytes = 0

    def get(self, digest: str) -> bytes | None:
        """Return the bytes of a file, or None if it is not kept here."""
        with self._lock:
            data = self._files.get(digest)
            if data is not None:
                self._files.move_to_end(digest)
            return data

    def read(self, digest: str, read: Callable[[], bytes]) -> bytes:
        """Return the bytes of a file, by `read` if it is not kept here. It is kept unless it is removed meanwhile.

        Raises as `read`.
        """
        with self._lock:
            self._reading[digest] = self._reading.get(digest, 0) + 1
        try:
            data = read()
            with self._lock:
                if digest not in self._gone:
                    self._keep(digest, data)
            return data
        finally:
            with self._lock:
                self._reading[digest] -= 1
                if not self._reading[digest]:
                    del self._reading[digest]
                    self._gone.discard(digest)

    def remove(self, digest: str) -> None:
        """Forget a file, which was deleted."""
        with self._lock:
            if digest in self._reading:
                self._gone.add(digest)
            if (data := self._files.pop(digest, None)) is not None:
                self.num_bytes -= len(data)

    def _keep(self, digest: str, data: bytes) -> None:
        if len(data) > LARGEST or digest in self._files:
            return
        self._files[digest] = data
        self.num_bytes += len(data)
        while self.num_bytes > MAX_BYTES:
            _, oldest = self._files.popitem(last=False)
            self.num_bytes -= len(oldest)
