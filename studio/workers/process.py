"""Run a worker in a process of its own: start it, watch it, kill it when it does not answer, start it again.

They talk msgpack over a ZeroMQ PAIR socket in a directory that only this user may enter; arrays travel as raw frames.
"""

from __future__ import annotations

import atexit
import errno
import fcntl
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import zmq

from ...errors import complaint
from ..errors import GreenThreads
from ..threads import green_threads, start_thread
from .client import ALIVE, Notice
from .messages import Beat, Broken, Command, Frames, Lost, Ready, Run, Setup, Stop, Unfit, pack, read_answer
from .wakeup import Wakeup

LOG = logging.getLogger("salon.studio")
TICK_MS = 50  # between looks at clocks and the process
GRACE_S = 1.0  # time that a worker gets to stop by itself
KILLED_S = 30.0  # the longest wait until a killed worker is gone
MAX_COMMANDS = 4096  # commands that may wait for a worker which does not take them
STABLE_S = 60.0  # a life longer than this clears the count of restarts


@dataclass(frozen=True)
class Deadlines:
    """The bounds of a worker: how long it may take, in seconds, and how often it is started again.

    Attributes:
        start_s: time until the model is loaded.
        beat_s: time between two heartbeats (a worker sends five a second).
        command_s: time for one command, above all a plan; a Run that has to replay jobs may take `replay_s` more.
        replay_s: see `command_s`.
        backoff_s: pause before the first restart; doubled each time, up to `max_backoff_s`.
        max_restarts: restarts in a row; after a life of a minute the count begins anew.
    """

    start_s: float = 300.0
    beat_s: float = 10.0
    command_s: float = 120.0
    replay_s: float = 600.0
    backoff_s: float = 0.2
    max_backoff_s: float = 10.0
    max_restarts: int = 8


class ProcessWorker:
    """See `client.WorkerClient`.

    Args:
        setup: what the worker loads.
        name: unique among the clients of a loop.
        deadlines: the bounds of the worker.
    """

    def __init__(self, setup: Setup, name: str = "process", deadlines: Deadlines | None = None) -> None:
        self._setup, self._name = setup, name
        self._deadlines = deadlines or Deadlines()
        self._lock = threading.Lock()
        self._outbox: deque[tuple[Command, Frames]] = deque()
        self._life = 0
        self._was_ready = False
        self._wakeup = Wakeup()
        self._closed = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._notice: Notice | None = None
        if (library := green_threads()) is not None:
            remedy = (
                f"leave threads out of what {library} replaces, or keep the engines in this process (process=False)"
            )
            raise GreenThreads(complaint("worker process", f"threads replaced by {library}", "Python's own", remedy))

    @property
    def name(self) -> str:
        return self._name

    @property
    def pid(self) -> int | None:
        """The id of the running worker process."""
        process = self._process
        return process.pid if process is not None else None

    def start(self, notice: Notice) -> None:
        """See `WorkerClient`."""
        self._notice = notice
        self._thread = start_thread(self._supervise, name=f"salon-{self._name}")

    def send(self, command: Command, frames: Frames = (), *, life: int) -> None:
        """See `WorkerClient`."""
        with self._lock:
            if life == self._life and len(self._outbox) <= MAX_COMMANDS:  # one more command marks the overflow
                self._outbox.append((command, frames))
        self._wakeup.set()

    def close(self, timeout_s: float) -> None:
        """See `WorkerClient`. A worker amid a plan gets a second; then it is killed."""
        self._closed.set()
        self._wakeup.set()
        if self._thread is None:
            self._wakeup.close()
            return
        if self._thread is threading.current_thread():
            return
        self._thread.join(timeout_s)
        process = self._process
        if self._thread.is_alive() and process is not None:
            process.kill()
            self._thread.join(1.0)

    # ---- the thread ------------------------------------------------------------------------------------------------

    def _supervise(self) -> None:
        restarts = 0
        deadlines = self._deadlines
        try:
            while not self._closed.is_set():
                started = time.monotonic()
                lasting = False
                try:
                    reason = self._live()
                except _Unstartable as error:
                    reason, lasting = str(error), not self._was_ready
                except Exception as error:  # of any kind, since callers wait for this worker
                    if not isinstance(error, OSError | zmq.ZMQError | msgspec.DecodeError):
                        LOG.exception("worker %r: a bug ends this life of it", self._name)
                    reason = f"{type(error).__name__}: {error}"
                if reason is None or self._closed.is_set():
                    return
                if time.monotonic() - started > STABLE_S:
                    restarts = 0
                again = restarts < deadlines.max_restarts and not lasting
                tries = "" if again or lasting else f"; it was started {restarts + 1} times, and is given up"
                self._say(Lost(f"worker {self._name!r}: {reason}{tries}", again), ())
                if not again:
                    return
                self._closed.wait(min(deadlines.max_backoff_s, deadlines.backoff_s * 2.0**restarts))
                restarts += 1
        finally:
            self._wakeup.close()

    def _live(self) -> str | None:
        """Carry one life of the worker. Return why it ended; None if it was closed, or is unfit for good."""
        with self._lock:
            self._life += 1
            self._outbox.clear()
        with self._connected() as (socket, process):
            watch = _Watch(self._deadlines)
            try:
                if self._converse(socket, process, watch):
                    return None
            except zmq.Again:  # the other end of the socket is closed
                with suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE_S)
            if not self._closed.is_set():
                code = process.poll()
                if code is not None and code >= 0 and not watch.greeted:
                    raise _Unstartable(
                        f"{sys.executable!r} ended with {code} before it said anything; sys.executable must be a "
                        "Python that has Salon"
                    )
                return watch.unfit or _ending(code) or watch.late() or "it closed its connection"
            with suppress(subprocess.TimeoutExpired, zmq.Again):
                socket.send(pack(Stop()), zmq.NOBLOCK)
                process.wait(GRACE_S)
        return None

    def _converse(self, socket: Any, process: subprocess.Popen[bytes], watch: _Watch) -> bool:
        """Carry messages until there is a reason to end this life. Return whether the worker is unfit for good."""
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(self._wakeup.reader, zmq.POLLIN)
        while not self._closed.is_set() and process.poll() is None and watch.late() is None:
            ready = dict(poller.poll(TICK_MS))
            if self._wakeup.reader in ready:
                self._wakeup.clear()
            if len(self._outbox) > MAX_COMMANDS:
                watch.unfit = f"{MAX_COMMANDS} commands wait, and it takes none"
                return False
            while socket.poll(0, zmq.POLLOUT) and (item := self._next()) is not None:
                command, frames = item
                watch.asked(command)
                socket.send_multipart([pack(command), *frames], zmq.NOBLOCK)
            while socket.poll(0):
                head, *parts = socket.recv_multipart()
                answer = read_answer(head)
                watch.heard(answer.number)
                if not watch.greeted:  # wait until the worker is there: sending without a peer would block
                    watch.greeted = True
                    socket.send(pack(self._setup), zmq.NOBLOCK)
                if isinstance(answer, Ready):
                    watch.ready = self._was_ready = True
                    answer = msgspec.structs.replace(answer, life=self._life)
                if isinstance(answer, Unfit) and self._was_ready:  # it was ready before: memory or files may come back
                    watch.unfit = f"its model was not loaded again: {answer.failure}"
                    return False
                if isinstance(answer, Broken):
                    watch.unfit = str(answer.failure)
                    return False
                if not isinstance(answer, Beat):
                    self._say(answer, parts)
                if isinstance(answer, Unfit):
                    return True
        return False

    @contextmanager
    def _connected(self) -> Iterator[tuple[Any, subprocess.Popen[bytes]]]:
        """Open a socket, and start the process at its other end. Nothing is left of either afterwards."""
        with _private_folder() as folder:
            endpoint = f"ipc://{folder}/w"
            context = zmq.Context()
            try:
                socket = context.socket(zmq.PAIR)
                socket.set(zmq.LINGER, 0)
                socket.bind(endpoint)
                self._process = process = _start(endpoint)
                try:
                    yield socket, process
                finally:
                    self._process = None
                    process.kill()
                    try:
                        process.wait(KILLED_S)
                    except subprocess.TimeoutExpired:  # it hangs in the kernel; the next worker need not wait for it
                        LOG.warning("worker %r: process %d was killed and is still there", self._name, process.pid)
            finally:
                context.destroy(linger=0)

    def _next(self) -> tuple[Command, Frames] | None:
        with self._lock:
            return self._outbox.popleft() if self._outbox else None

    def _say(self, answer: Any, frames: Frames) -> None:
        if self._notice is not None and not self._closed.is_set():
            self._notice(self._name, answer, frames)


class _Unstartable(Exception):
    """A worker cannot be started here, and trying again would not change that."""


@contextmanager
def _private_folder() -> Iterator[str]:
    """Make a directory for a socket that only this user may enter, and remove it afterwards or when Python ends.

    A fork's child, which has a copy of all this, leaves the directory alone.

    Raises _Unstartable if there is no place for one, or its name is too long for a socket.
    """
    try:
        _sweep(tempfile.gettempdir())
        folder = tempfile.mkdtemp(prefix=f"salon-{os.getpid()}-")  # mode 0700
    except OSError as error:
        raise _Unstartable(
            f"no temporary folder for its socket: {error}; set TMPDIR to one that can be written"
        ) from error
    remove = partial(_remove, folder, os.getpid())
    atexit.register(remove)
    alive = open(Path(folder) / f"{ALIVE}.new", "wb")  # noqa: SIM115 - locked for as long as the folder is wanted
    try:
        fcntl.flock(alive, fcntl.LOCK_EX)
        os.rename(alive.name, Path(folder) / ALIVE)  # only now, or a sweep could take the folder for a dead one's
        size = len(os.fsencode(f"{folder}/w"))
        if size > zmq.IPC_PATH_MAX_LEN:
            raise _Unstartable(
                f"its socket's path, in {folder!r}, has {size} bytes, and at most {zmq.IPC_PATH_MAX_LEN} are possible; "
                "set TMPDIR to a shorter folder"
            )
        yield folder
    finally:
        atexit.unregister(remove)
        remove()
        alive.close()


def _sweep(place: str) -> None:
    """Remove the folders of killed processes of this user, whose workers had not started and could not do it.

    A folder lives while its `alive` is locked: process ids say nothing between containers that share a folder."""
    with suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            if re.fullmatch(r"salon-[0-9]{1,10}-[a-z0-9_]{8}", entry.name) and entry.is_dir(follow_symlinks=False):
                with suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_uid == os.getuid():
                        _remove_dead(Path(entry.path))


def _remove_dead(folder: Path) -> None:
    """Remove a folder that no process holds. Raise OSError if one does (BlockingIOError), or if it was never locked."""
    with open(folder / ALIVE, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)


def _remove(folder: str, pid: int) -> None:
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)


def _start(endpoint: str) -> subprocess.Popen[bytes]:
    """Start a worker's process. Raises _Unstartable, or OSError for what may change, like too little memory.

    It has a process group of its own, since an interrupt at the terminal is for us to handle, and -P, since a file of
    the working folder that is named like a module of Python's is not that module."""
    if not sys.executable:
        raise _Unstartable("sys.executable is empty: it must be a Python that has Salon")
    command = [sys.executable, "-P", "-m", f"{__package__}.main", endpoint, str(os.getpid())]
    try:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE):
            raise
        reason = f"sys.executable, {sys.executable!r}, cannot be run: {error.strerror}"
        raise _Unstartable(f"{reason}; it must be a Python that has Salon") from error


def _ending(code: int | None) -> str | None:
    """Return an exit code in words; None while the process runs."""
    if code is None:
        return None
    return f"its process ended with {code}" if code >= 0 else f"its process was killed by signal {-code}"


class _Watch:
    """The state of a conversation: the commands that the worker has yet to answer, and since when.

    It also tells whether the worker has said anything yet, and whether its model is loaded, or why that cannot be just
    now.
    """

    def __init__(self, deadlines: Deadlines) -> None:
        self.ready = False
        self.greeted = False
        self.unfit = ""
        self._deadlines = deadlines
        self._start = self._beat = self._progress = self._look = time.monotonic()
        self._owed: dict[int, float] = {}  # number of a command -> seconds that it may take, once it is its turn

    def asked(self, command: Command) -> None:
        if not self._owed:
            self._progress = time.monotonic()
        replays = isinstance(command, Run) and any(arrival.position for arrival in command.arrivals)
        self._owed[command.number] = self._deadlines.command_s + (self._deadlines.replay_s if replays else 0.0)

    def heard(self, number: int) -> None:
        self._beat = time.monotonic()
        if self._owed.pop(number, None) is not None:
            self._progress = self._beat

    def late(self) -> str | None:
        """Return what the worker failed to do in time; None if nothing."""
        now = time.monotonic()
        if now - self._look > 1.0:  # this process stood still, so the worker gets time to be heard
            self._beat += now - self._look
            self._progress += now - self._look
        self._look = now
        limits = self._deadlines
        if not self.ready and now - self._start > limits.start_s:
            return f"its model was not loaded within {limits.start_s:g} s"
        if now - self._beat > (limits.beat_s if self.ready else max(limits.beat_s, limits.start_s)):
            return f"no sign of life for {limits.beat_s:g} s"
        if self._owed and now - self._progress > next(iter(self._owed.values())):
            return f"no answer to a command for {next(iter(self._owed.values())):g} s"
        return None
