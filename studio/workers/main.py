"""Run one worker in a process of its own: `python -m salon.studio.workers.main ENDPOINT PARENT`.

`process.ProcessWorker`, which is in process PARENT, starts it. The main thread drives the engine. Another thread owns
the socket and sends heartbeats, also during a long step.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any, cast

import zmq

from ...engine.engine import Engine
from ...engine.errors import DeviceLost
from .client import ALIVE
from .idle import Idle
from .messages import Answer, Beat, Broken, Command, Failure, Ready, Setup, Stop, Unfit, pack, read_command
from .wakeup import Wakeup
from .worker import Worker, info_of

BEAT_S = 0.2


class WorkerChannel(threading.Thread):
    """The thread that owns the socket. It ends the process when the parent is gone.

    The parent's id comes from outside, since the parent may be gone before this process can look.
    """

    def __init__(self, endpoint: str, parent: int) -> None:
        super().__init__(name="salon-channel", daemon=True)
        self.commands: queue.SimpleQueue[tuple[Command, list[Any]]] = queue.SimpleQueue()
        self._endpoint = endpoint
        self._answers: deque[list[Any]] = deque()
        self._wakeup = Wakeup()
        self._ending = False
        self._parent = parent

    def say(self, answer: Answer, frames: list[Any]) -> None:
        """Send an answer. Any thread may call this."""
        self._answers.append([pack(answer), *frames])
        self._wakeup.set()

    def end(self, timeout_s: float) -> None:
        """Send the answers that wait, and stop."""
        self._ending = True
        self._wakeup.set()
        self.join(timeout_s)

    def run(self) -> None:
        context = zmq.Context()
        socket = context.socket(zmq.PAIR)
        socket.set(zmq.LINGER, 500)
        socket.connect(self._endpoint)
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(self._wakeup.reader, zmq.POLLIN)
        next_beat = 0.0
        while True:
            ready = dict(poller.poll(max(0, round(1e3 * (next_beat - time.monotonic())))))
            if self._wakeup.reader in ready:
                self._wakeup.clear()
            while self._answers and socket.poll(0, zmq.POLLOUT):  # a parent that reads nothing now gets them later
                socket.send_multipart(self._answers.popleft(), zmq.NOBLOCK)
            if self._ending and not self._answers:
                break
            if socket in ready:
                head, *frames = socket.recv_multipart()
                self.commands.put((read_command(head), list(frames)))
            if time.monotonic() >= next_beat:
                if os.getppid() != self._parent:  # no process is left to work for, or to clean up
                    path = self._endpoint.removeprefix("ipc://")
                    folder = os.path.dirname(path)
                    for name in (path, os.path.join(folder, ALIVE)):
                        with suppress(OSError):
                            os.unlink(name)
                    with suppress(OSError):
                        os.rmdir(folder)  # fails unless the folder is empty
                    os._exit(1)
                with suppress(zmq.Again):  # the queue is full already
                    socket.send(pack(Beat()), zmq.NOBLOCK)
                next_beat = time.monotonic() + BEAT_S
        socket.close()
        context.term()


def load(setup: Setup) -> Engine:
    """Return the engine that a setup asks for. Raises as `Engine.load`."""
    return Engine.load(
        None if setup.model is None else os.fsdecode(setup.model),
        text_encoder=tuple(map(os.fsdecode, setup.text_encoder)),
        vae=None if setup.vae is None else os.fsdecode(setup.vae),
        ip_adapter=None if setup.ip_adapter is None else os.fsdecode(setup.ip_adapter),
        image_encoder=None if setup.image_encoder is None else os.fsdecode(setup.image_encoder),
        backend=setup.backend,
        isa=setup.isa,
        dtype=cast(Any, setup.dtype),
        threads=setup.threads,
        limits=setup.limits,
        device=setup.device,
        require_text=True,
    )


def main(endpoint: str, parent: int) -> None:
    """Work until the parent says stop, or is gone."""
    channel = WorkerChannel(endpoint, parent)
    channel.start()
    worker: Worker | None = None
    idle = Idle(channel.commands)
    while True:
        command, frames = idle.next(worker)
        if isinstance(command, Stop):
            break
        if isinstance(command, Setup):
            try:
                engine = load(command)
                worker, idle.after = Worker(engine), command.unload_after
                channel.say(Ready(info_of(engine)), [])
            except Exception as error:
                channel.say(Unfit(Failure.of(error)), [])
        elif worker is not None:
            try:
                channel.say(*worker.handle(command, frames))
            except DeviceLost as error:  # a driver forgets such a fault only with the process, which the parent ends
                worker = None
                channel.say(Broken(Failure.of(error)), [])
    channel.end(2.0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
