"""Let other threads wake one that polls sockets."""

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
        self._lock = threading.Lock()  # so that no byte goes into a descriptor that was closed and reused
        os.set_blocking(self.reader, False)
        os.set_blocking(self._writer, False)

    def set(self) -> None:
        """Wake the poller, on any thread. This is cheap, never blocks, and does nothing after `close`."""
        with self._lock, suppress(BlockingIOError):
            if self._writer >= 0:
                os.write(self._writer, b"!")

    def clear(self) -> None:
        """Take note of having been woken. The poller calls this."""
        with suppress(BlockingIOError):
            while len(os.read(self.reader, 4096)) == 4096:
                pass

    def close(self) -> None:
        """Free the descriptors, when no thread polls any more."""
        with self._lock:
            for descriptor in (self.reader, self._writer):
                if descriptor >= 0:
                    os.close(descriptor)
            self.reader = self._writer = -1
