"""Define the loop's side of a worker, which may be in a process of its own: it takes commands and brings notices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from .messages import Answer, Command, Frames

ALIVE: Final = "alive"  # a file beside a worker's socket, locked by the process that started the worker
Notice = Callable[
    [str, Answer, Frames], None
]  # called with (name of the client, notice, frames) on the client's thread


class WorkerClient(Protocol):
    """A worker as the loop drives it.

    One thread brings all notices, in one order: Ready, answers, Lost, Ready again. Answers to commands of an earlier
    life never come after Lost, and commands to it are dropped.
    """

    @property
    def name(self) -> str:
        """The client's name, unique in a loop."""
        ...

    def start(self, notice: Notice) -> None:
        """Start the worker.

        The first notice is Ready, Unfit or Lost. Raise ThreadUnavailable if the system gives no thread.
        """
        ...

    def send(self, command: Command, frames: Frames = (), *, life: int) -> None:
        """Send a command, without waiting. The command is dropped unless the worker is in this life (`Ready.life`)."""
        ...

    def close(self, timeout_s: float) -> None:
        """End the worker, also in the middle of work, and wait for its end at most `timeout_s` seconds.

        On the client's own thread this does not wait. No notice comes afterwards. A second call changes nothing.
        """
        ...
