"""Run a worker in this process: a thread that drives an engine. There is no socket, and nothing is copied."""

from __future__ import annotations

import logging
import queue
import threading

from ...engine.engine import Engine
from ..threads import start_thread
from .client import Notice
from .idle import Idle
from .messages import Command, Failure, Frames, Lost, Ready, Stop, Unfit
from .worker import Worker, info_of

LOG = logging.getLogger("salon.studio")


class ThreadWorker:
    """An engine on a thread of its own.

    A thread cannot be killed, so an engine that hangs stays so. `process.ProcessWorker` has deadlines.

    Args:
        engine: the engine; no other thread drives it until `close`.
        name: name of the worker, unique among the clients of a loop.
        unload_after: seconds without a command after which weights leave the device; None: never.
    """

    def __init__(self, engine: Engine, name: str = "local", unload_after: float | None = None) -> None:
        self._name = name
        self._worker = Worker(engine)
        self._commands: queue.SimpleQueue[tuple[Command, Frames]] = queue.SimpleQueue()
        self._idle = Idle(self._commands, unload_after)
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        return self._name

    def start(self, notice: Notice) -> None:
        """See `WorkerClient`."""
        self._thread = start_thread(self._work, notice, name=f"salon-{self._name}")

    def send(self, command: Command, frames: Frames = (), *, life: int) -> None:
        """See `WorkerClient`."""
        self._commands.put((command, frames))

    def close(self, timeout_s: float) -> None:
        """See `WorkerClient`. The thread ends after its present plan."""
        self._closed.set()
        self._commands.put((Stop(), ()))
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _work(self, notice: Notice) -> None:
        try:
            info = info_of(self._worker.engine)
        except Exception as error:
            notice(self._name, Unfit(Failure.of(error)), ())
            return
        notice(self._name, Ready(info, 1), ())
        try:
            while not self._closed.is_set():
                command, frames = self._idle.next(self._worker)
                if isinstance(command, Stop):
                    break
                answer, parts = self._worker.handle(command, frames)
                if not self._closed.is_set():
                    notice(self._name, answer, parts)
            self._worker.close()
        except Exception as error:  # a bug; the engine cannot be trusted with anything more
            LOG.exception("worker %r ends", self._name)
            if not self._closed.is_set():
                reason = f"worker {self._name!r}: {Failure.of(error)}"
                notice(self._name, Lost(reason, again=False), ())
