"""The loop's side of a worker: where commands go in and notices come out, whether or not a process lies between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from .messages import Answer, Command, Frames

Notice = Callable[
    [str, Answer, Frames], None
]  # (name of the client, what it says, frames); called on the client's thread


class WorkerClient(Protocol):
    """A worker as the loop drives it.

    Everything is said in one order by one thread: Ready, answers, Lost, Ready again. Answers to commands of an earlier
    life never come after Lost, and commands to it are dropped.
    """

    @property
    def name(self) -> str:
        """Unique among the clients of a loop."""
        ...

    def start(self, notice: Notice) -> None:
        """Begin. The first notice is Ready, Unfit or Lost. ThreadUnavailable if there is no thread for it."""
        ...

    def send(self, command: Command, frames: Frames = (), *, life: int) -> None:
        """Ask for something; returns at once. Dropped unless the worker is in this life (`Ready.life`)."""
        ...

    def close(self, timeout_s: float) -> None:
        """End the worker, whatever it is doing, and wait for that at most so long (on the client's own thread: not at
        all). No notice comes afterwards. A second call changes nothing."""
        ...
