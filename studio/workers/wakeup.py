"""How another thread wakes one that polls sockets."""

from __future__ import annotations

import os
import threading
from contextlib import suppress


class Wakeup:
    """A pipe that a poller watches.

    Attributes:
        reader: the file descriptor to poll for input.
    """

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()
        self._lock = threading.Lock()  # no byte into a descriptor that is somebody else's by now
        os.set_blocking(self.reader, False)
        os.set_blocking(self._writer, False)

    def set(self) -> None:
        """From any thread; cheap, never blocks, and harmless after `close`."""
        with self._lock, suppress(BlockingIOError):
            if self._writer >= 0:
                os.write(self._writer, b"!")

    def clear(self) -> None:
        """By the one that polls."""
        with suppress(BlockingIOError):
            while len(os.read(self.reader, 4096)) == 4096:
                pass

    def close(self) -> None:
        """Free the descriptors, when nobody polls any more."""
        with self._lock:
            for descriptor in (self.reader, self._writer):
                if descriptor >= 0:
                    os.close(descriptor)
            self.reader = self._writer = -1
