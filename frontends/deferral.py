"""Defer signals that must not cut a piece of work in two: they are remembered, and act when it is whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def deferred() -> Iterator[Callable[[], None]]:
    """Let Ctrl-C and SIGTERM act only at the end of the block, and where it calls the function that it is given.

    Outside of the main thread, where Python runs no handlers, there is nothing to do.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    came: list[tuple[int, FrameType | None]] = []
    before: dict[int, Any] = {}

    def act() -> None:
        while came:
            number, frame = came.pop(0)
            handler = before[number]
            if callable(handler):
                handler(number, frame)

    try:
        for one in _SIGNALS:
            if callable(handler := signal.getsignal(one)):  # the signal is not ignored, nor left to the system
                before[one] = handler
                signal.signal(one, lambda number, frame: came.append((number, frame)))
        yield act
    finally:
        for number, handler in reversed(before.items()):  # Ctrl-C last: from then on it may end this loop, too
            signal.signal(number, handler)
    act()
