"""Wait for a worker's next command, and give its device's memory back if that takes long."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from .messages import Command
from .worker import Worker

F = TypeVar("F", bound=Sequence[Any])  # frames of a command


class Idle(Generic[F]):
    """The wait of a worker's thread for commands.

    Args:
        commands: what it waits for.
        after: seconds without a command after which the worker's weights leave the device; None: they stay.
    """

    def __init__(self, commands: queue.SimpleQueue[tuple[Command, F]], after: float | None = None) -> None:
        self._commands, self.after = commands, after

    def next(self, worker: Worker | None) -> tuple[Command, F]:
        """Return the next command, whenever it comes. `worker` rests once in between; None: there is none yet."""
        if worker is not None and self.after is not None:
            try:
                return self._commands.get(timeout=self.after)
            except queue.Empty:
                worker.rest()
        return self._commands.get()
