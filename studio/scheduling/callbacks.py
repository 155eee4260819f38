"""Call users' callbacks on a thread of their own: a slow or raising one holds up no device, and fills no memory."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from ..threads import start_thread

LOG = logging.getLogger("salon.studio")
MANY = 256  # calls that wait; beyond, of what is out of date soon only the newest of each sort
FEW = 16  # the same for calls with pictures in them


@dataclass(eq=False, slots=True)
class _Call:
    hook: Callable[..., object]
    arguments: tuple[Any, ...]
    newest: Hashable


class Callbacks:
    """Calls callbacks one after another, in the order in which things happened.

    What waits is bounded by the jobs: a few calls of each (it began, it ended, it was paused), and beyond `MANY` one
    for each `newest`.
    """

    def __init__(self) -> None:
        self._calls: deque[_Call] = deque()
        self._last: dict[Hashable, _Call] = {}  # the latest one that waits, by `newest`
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def __len__(self) -> int:
        """Return how many calls wait."""
        return len(self._calls)

    def start(self) -> None:
        """Start the thread that calls. Raise ThreadUnavailable if the system gives none."""
        self._thread = start_thread(self._work, name="salon-callbacks")

    def call(
        self, hook: Callable[..., object] | None, *arguments: Any, newest: Hashable = None, many: int = MANY
    ) -> None:
        """Queue a call of a hook.

        Args:
            newest: marks a call that is out of date as soon as there is another one with the same mark: when many wait,
                that one takes its place.
        """
        if hook is None:
            return
        with self._changed:
            last = None if newest is None else self._last.get(newest)
            if last is not None and len(self._calls) > many:
                last.hook, last.arguments = hook, arguments
                return
            call = _Call(hook, arguments, newest)
            if newest is not None:
                self._last[newest] = call
            self._calls.append(call)
            self._changed.notify()

    def close(self, timeout_s: float) -> None:
        """Make the calls that wait, for at most `timeout_s` seconds."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None and threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._calls and not self._closed:
                    self._changed.wait()  # `call` or `close` ends the wait
                if not self._calls:
                    return
                call = self._calls.popleft()
                if self._last.get(call.newest) is call:
                    del self._last[call.newest]
                hook, arguments = call.hook, call.arguments
            try:
                hook(*arguments)
            except Exception:
                LOG.exception("a hook raised: %r", hook)
            del call, hook, arguments  # else they would be kept until the next call
