"""The callbacks of users, on a thread of their own: a slow or raising one holds up no device."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

from .threads import start_thread

LOG = logging.getLogger("salon.studio")
MANY = 256  # calls that wait; beyond, optional ones are left out


class Hooks:
    """Calls hooks one after another, in the order in which things happened."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to call. ThreadUnavailable if there is no thread for it."""
        self._thread = start_thread(self._work, name="salon-hooks")

    def call(self, hook: Callable[..., object] | None, *arguments: Any, optional: bool = False) -> None:
        """Call a hook soon; at once nothing happens. An optional call is left out when too many wait."""
        if hook is not None and not (optional and self._calls.qsize() > MANY):
            self._calls.put((hook, arguments))

    def close(self, timeout_s: float) -> None:
        """Make the calls that wait, at most so long."""
        self._calls.put(None)
        if self._thread is not None and threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            hook, arguments = call
            try:
                hook(*arguments)
            except Exception:
                LOG.exception("a hook raised: %r", hook)
