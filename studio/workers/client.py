"""The loop's side of a worker: where commands go in and notices come out, whether or not a process lies between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from .messages import Answer, Command, Frames

ALIVE: Final = "alive"  # a file beside a worker's socket, locked by the process that started the worker
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
        """The client's name, unique in a loop."""
        ...

    def start(self, notice: Notice) -> None:
        """Start the worker. The first notice is Ready, Unfit or Lost. ThreadUnavailable: there is no thread for it."""
        ...

    def send(self, command: Command, frames: Frames = (), *, life: int) -> None:
        """Send a command, without waiting. The command is dropped unless the worker is in this life (`Ready.life`)."""
        ...

    def close(self, timeout_s: float) -> None:
        """End the worker, whatever it is doing, and wait for its end at most `timeout_s` seconds (on the client's own
        thread: not at all). No notice comes afterwards. A second call changes nothing."""
        ...
