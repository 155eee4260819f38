"""Wait for reads and writes with a bound. A write goes on when its request gives up.

Reads have threads of their own. All is used on the event loop's thread, except `post`, which any thread may call.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

from ..errors import StoreError
from ..store.writer import Writer
from ..store.writes import Write
from ..threads import thread_pool
from .errors import TooSlow

LOG = logging.getLogger("salon.service")
_T = TypeVar("_T")
WRITE_S: Final = 30.0  # after this wait for a write a request is answered "busy"; the write and its consequences go on
READ_S: Final = 10.0
AGAIN_S: Final = 0.2  # between two cancellations of work that did not heed the first


class Waits:
    """Reads, writes, and work that outlasts its request.

    Args:
        writer: the writer of the store.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._reads = thread_pool(4, "salon-read")
        self._late: set[str] = set()  # kinds of calls after the end that were logged
        self._lasting: set[asyncio.Task[Any]] = set()
        self._left: set[asyncio.Task[Any]] = set()  # of these, those whose requests have given up
        self._closing = False

    def post(self, call: Callable[..., object], *arguments: Any) -> None:
        """Call a function on the loop's thread. After the loop's end it is never called."""
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            kind = getattr(call, "__qualname__", repr(call))
            if kind not in self._late:
                self._late.add(kind)
                LOG.warning("%s was called after the end; more of these are not told", kind)

    async def read(self, look: Callable[[], _T]) -> _T:
        """Do something slow on a thread for reads. Raise TooSlow if it takes too long."""
        try:
            return await asyncio.wait_for(self._loop.run_in_executor(self._reads, look), READ_S)
        except TimeoutError as error:
            raise TooSlow(f"store: no answer within {READ_S:g} s; try again") from error

    async def stored(self, writes: Sequence[Write]) -> None:
        """Store writes, for work that outlasts its request, however long that takes. Raise StoreError if it fails."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._writer.put(writes, lambda error: self.post(settle, future, error))
        await future

    async def write(self, writes: Sequence[Write]) -> None:
        """Store writes, as the last thing that a request does.

        Raise TooSlow if it takes too long; it may still happen.
        """
        await self.outlast(self.begin(self.stored(writes)))

    def begin(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Begin work that goes on to its end, also when its request gives up. At the end nothing begins any more."""
        task = self._loop.create_task(work)
        if self._closing:  # what ends now may ask for more
            task.cancel()
        self._lasting.add(task)
        task.add_done_callback(self._ended)
        return task

    async def outlast(self, task: asyncio.Task[_T]) -> _T:
        """Return the result of work that was begun. Raise TooSlow if it takes too long; the work goes on."""
        if not (await asyncio.wait({task}, timeout=WRITE_S))[0]:
            self._left.add(task)
            raise TooSlow(f"store: no answer within {WRITE_S:g} s; ask again, just the same")
        return task.result()

    async def close(self) -> None:
        """End the work that goes on."""
        self._closing = True
        while self._lasting:
            for task in self._lasting:
                task.cancel()  # `wait_for` of Python 3.11 forgets a cancellation that comes just with its result
            await asyncio.wait(set(self._lasting), timeout=AGAIN_S)
        self._reads.shutdown(wait=False, cancel_futures=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._lasting.discard(task)
        error = None if task.cancelled() else task.exception()
        if task in self._left:
            self._left.discard(task)
            if error is not None:
                LOG.warning("a write failed after its requester had been told to ask again: %s", error)


def settle(future: asyncio.Future[None], error: StoreError | None) -> None:
    """End a future, unless it has ended."""
    if not future.done():
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
