"""Signals that must not cut a piece of work in two: they are remembered, and act when it is whole."""

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
    """Let Ctrl-C and SIGTERM act only at the end of the block, and wherever it calls what it is given.

    Outside of the main thread, where Python runs no handlers, nothing has to be done.
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
            if callable(handler := signal.getsignal(one)):  # neither ignored, nor the system's own way
                before[one] = handler
                signal.signal(one, lambda number, frame: came.append((number, frame)))
        yield act
    finally:
        for number, handler in reversed(before.items()):  # Ctrl-C last: from then on it may cut this loop, too
            signal.signal(number, handler)
    act()
