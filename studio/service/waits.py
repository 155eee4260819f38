"""What a request waits for, with a bound: reads on threads of their own, and writes, which go on when it gives up.

On the thread of the event loop; `post` may be called from any.
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
WRITE_S: Final = 30.0  # who waits longer for a write is answered "busy"; the write goes on, and so does what follows it
READ_S: Final = 10.0


class Waits:
    """Reads, writes, and work that lasts.

    Args:
        writer: of the store.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._reads = thread_pool(4, "salon-read")
        self._late: set[str] = set()  # kinds of calls after the end that were told
        self._lasting: set[asyncio.Task[Any]] = set()
        self._left: set[asyncio.Task[Any]] = set()  # of these, those for which nobody waits any more

    def post(self, call: Callable[..., object], *arguments: Any) -> None:
        """Have it called on the loop's thread; after its end, never."""
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            kind = getattr(call, "__qualname__", repr(call))
            if kind not in self._late:
                self._late.add(kind)
                LOG.warning("%s was called after the end; more of these are not told", kind)

    async def read(self, look: Callable[[], _T]) -> _T:
        """Do something slow on a thread for reads. TooSlow: it takes too long."""
        try:
            return await asyncio.wait_for(self._loop.run_in_executor(self._reads, look), READ_S)
        except TimeoutError as error:
            raise TooSlow(f"store: no answer within {READ_S:g} s; try again") from error

    async def stored(self, writes: Sequence[Write]) -> None:
        """Have it stored, however long that takes: for work that lasts. StoreError: it was not."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._writer.put(writes, lambda error: self.post(settle, future, error))
        await future

    async def write(self, writes: Sequence[Write]) -> None:
        """`stored` for who does nothing more. TooSlow: it takes too long, and may still happen."""
        await self.outlast(self.begin(self.stored(writes)))

    def begin(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Work that goes on to its end, whoever gives up waiting for it."""
        task = self._loop.create_task(work)
        self._lasting.add(task)
        task.add_done_callback(self._ended)
        return task

    async def outlast(self, task: asyncio.Task[_T]) -> _T:
        """The result of what was begun. TooSlow: it takes too long, and goes on."""
        if not (await asyncio.wait({task}, timeout=WRITE_S))[0]:
            self._left.add(task)
            raise TooSlow(f"store: no answer within {WRITE_S:g} s; ask again, just the same")
        return task.result()

    async def close(self) -> None:
        """End what lasts."""
        for task in list(self._lasting):
            task.cancel()
        await asyncio.gather(*self._lasting, return_exceptions=True)
        self._reads.shutdown(wait=False, cancel_futures=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._lasting.discard(task)
        error = None if task.cancelled() else task.exception()
        if task in self._left:
            self._left.discard(task)
            if error is not None:
                LOG.warning("a write failed after its requester had been told to ask again: %s", error)


def settle(future: asyncio.Future[None], error: StoreError | None) -> None:
    """End a future, once."""
    if not future.done():
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
