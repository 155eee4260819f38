"""Run operations for the blocking client: for any number of threads that ask, with one thread that listens.

The listening thread keeps heartbeats going and reads events while the user's threads do something else, so a connection
lives as long as the client. Requests do not pass through it. The calling thread sends by itself, under the lock, and is
woken when the answer comes. So an idle thread costs nothing, and a busy one adds a single switch.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import threading
from collections import deque
from collections.abc import Generator, Iterator
from typing import Any, TypeVar

from .core import Core
from .errors import ClientClosed, ClientError, fresh
from .link import Link, closed, shut, threadless, unforeseen
from .lookout import Lookout, OnContact
from .steps import Item, Steps, Stream, Wait, Work

T = TypeVar("T")
LONGEST_S = 3600.0  # the longest single poll
JOIN_S = 2.0  # how long `close` waits for the thread, which waits nowhere but in `poll`


class Wakeup:
    """Wakes a thread that polls. Any thread may use it at any time, so its pipe stays open as long as it lives."""

    def __init__(self) -> None:
        self.fd = self._end = -1
        try:
            self.fd, self._end = os.pipe()
        except OSError as error:
            remedy = "close some files or raise the limit (ulimit -n), and make it again"
            raise ClientError(f"client: there is no pipe to be had here ({error.strerror}); {remedy}") from error
        os.set_blocking(self.fd, False)
        os.set_blocking(self._end, False)

    def wake(self) -> None:
        """Wake the thread, now or when it polls next."""
        with contextlib.suppress(BlockingIOError):  # a full pipe wakes the thread as well
            os.write(self._end, b"!")

    def clear(self) -> None:
        """Take note that the thread is awake."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 4096)

    def __del__(self) -> None:
        for fd in (self.fd, self._end):
            if fd >= 0:
                os.close(fd)


class Threaded:
    """Runs steps for several threads. Its own thread starts with the first request, and is a daemon.

    Args:
        on_contact: see `client.Client`.
    """

    def __init__(self, core: Core, link: Link, on_contact: OnContact | None = None) -> None:
        self._core, self._link = core, link
        self._on_contact = on_contact
        self._lookout = None if on_contact is None else Lookout(core)
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._wakeup = Wakeup()
        self._thread: threading.Thread | None = None
        self._alarm = -math.inf  # when the thread will wake by itself; -inf: it is awake
        self._left: deque[Generator[Any, Any, Any]] = deque()  # unfinished steps that their callers gave up
        self._doomed = False
        self._over: ClientClosed | None = None  # why this engine has ended

    def run(self, steps: Steps[T]) -> T:
        """Run the steps of an operation, and return its result.

        Raises:
            ClientClosed: the client was closed, in this process or before a fork, or an unforeseen error ended it.
            ClientError: its thread does not start. Nothing was asked then.
        """
        value: Any = None
        try:
            while True:
                step, woken = self._step(steps, value)
                value = self._do(step, woken)
        except _Ended as end:
            result: T = end.value
            return result
        except BaseException:  # raised while it waited or worked
            self._leave(steps)
            raise

    def iterate(self, stream: Stream[T]) -> Iterator[T]:
        """Yield the items of a stream, each when the caller asks for it."""
        value: Any = None
        try:
            while True:
                step, woken = self._step(stream, value)
                if isinstance(step, Item):
                    value = yield step.value
                else:
                    value = self._do(step, woken)
        except _Ended:
            return
        except BaseException:
            self._leave(stream)
            raise

    def close(self) -> None:
        """End the connection and the thread. A second call changes nothing."""
        if os.getpid() != self._pid:
            return  # this is a copy after a fork: thread and sockets belong to the other process
        with self._lock:
            self._shut(closed())
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(JOIN_S)

    def abandon(self) -> None:
        """Close soon, without waiting for anything, since a garbage collection may call this in any place."""
        if os.getpid() == self._pid:
            self._doomed = True
            self._wakeup.wake()

    def _step(self, steps: Generator[Any, Any, Any], value: Any) -> tuple[Any, threading.Event | None]:
        """Run steps up to the next one. Return it, and the event that is set when its wait is over."""
        if os.getpid() != self._pid:
            raise closed("it was made before a fork")
        with self._lock:
            if self._over is not None:
                raise fresh(self._over)
            self._begin()
            woken = None
            try:
                step = steps.send(value)
                if isinstance(step, Wait):
                    woken = threading.Event()
                    step.exchange.wake = woken.set
            except StopIteration as end:
                raise _Ended(end.value) from None
            finally:
                self._pump()
                self._attend()
            if woken is not None and step.exchange.ready:
                woken.set()
            return step, woken

    def _do(self, step: Wait | Work, woken: threading.Event | None) -> Any:
        """Do what a step asks for, outside of the lock."""
        if isinstance(step, Work):
            return step.call()
        assert woken is not None
        woken.wait(min(max(0.0, step.until - self._core.clock()), LONGEST_S))
        return None

    def _leave(self, steps: Generator[Any, Any, Any]) -> None:
        """Have the thread end steps in the middle.

        This method does not end them itself: a garbage collection may call it inside of any step, under the lock.
        """
        self._left.append(steps)
        self._wakeup.wake()

    def _shut(self, why: ClientClosed) -> None:
        if self._over is None:
            self._over = why
            shut(self._core, self._link, why)
            self._wakeup.wake()

    def _pump(self, *, mend: bool = False) -> None:
        if self._over is not None:
            return
        try:
            if mend:
                self._link.mend()
            self._link.pump()
            if self._lookout is not None and self._lookout.look():
                self._link.pump()
            if mend:
                self._link.release()
        except Exception as error:
            self._shut(unforeseen(error))

    # ---- the thread ------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Start the thread, if it does not run yet, before any request that would wait for it."""
        if self._thread is None:
            thread = threading.Thread(target=self._listen, name="salon-client", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                raise threadless(error) from error
            self._thread = thread

    @property
    def _due(self) -> float:
        return self._core.due if self._lookout is None else min(self._core.due, self._lookout.due)

    def _attend(self) -> None:
        """Make the thread wake when the core needs it."""
        if self._over is not None:
            return
        told = self._lookout is None or not self._lookout.news
        if self._due < self._alarm or not told or (self._link.fds and not self._core.has_socket):
            self._alarm = -math.inf
            self._wakeup.wake()

    def _listen(self) -> None:
        try:
            self._carry()
        except BaseException as error:  # of any kind, since without this thread no caller would ever wake
            with self._lock:
                self._shut(unforeseen(error))

    def _carry(self) -> None:
        poll = select.poll()
        poll.register(self._wakeup.fd, select.POLLIN)
        watched: tuple[int, ...] = ()
        while True:
            with self._lock:
                if self._doomed:
                    self._shut(closed())
                while self._left:
                    self._left.popleft().close()
                self._pump(mend=True)
                if self._over is not None:
                    return
                for fd in set(watched) - set(self._link.fds):
                    poll.unregister(fd)
                watched = self._link.fds
                for fd in watched:
                    poll.register(fd, select.POLLIN)
                self._alarm = self._due
                pause = min(max(0.0, self._alarm - self._core.clock()), LONGEST_S)
                news = [] if self._lookout is None else self._lookout.take()
            if news and self._on_contact is not None:  # outside of the lock: it may be slow
                for seconds in news:
                    self._on_contact(seconds)
            poll.poll(math.ceil(pause * 1000))
            self._wakeup.clear()


class _Ended(Exception):
    """The end of steps, since StopIteration must not leave a generator."""

    def __init__(self, value: Any) -> None:
        self.value = value
