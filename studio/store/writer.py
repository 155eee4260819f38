"""Write on one thread: all waiting writes become one transaction, so that many share one flush of the disk."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ...errors import complaint
from ..errors import StoreBroken, StoreBusy, StoreClosed, StoreError, StoreLocked, StoreLost
from ..threads import start_thread
from .writes import Write

LOG: Final = logging.getLogger("salon.store")
Done = Callable[[StoreError | None], object]


class Target(Protocol):
    """The part of a `Store` that the writer needs."""

    def write(self, writes: Sequence[Write]) -> tuple[str, ...]:
        """See `Store.write`."""


@dataclass(frozen=True, slots=True)
class _Put:
    writes: Sequence[Write]
    done: Done


class Writer:
    """Stores puts in their order. Each is stored whole or not at all, and its `done` is called exactly once.

    If a group of puts fails, each of them is tried alone, so that a bad one fails alone. After an error that the next
    one would meet as well (`StoreLocked`, `StoreLost`, `StoreBroken`, each after its own time), all of them fail.

    Args:
        store: the store; other writers should use it only rarely.
        before: called in the writer's thread at the start of every transaction. It returns writes that go first. They
            belong to no put, and their result is told to `after` alone.
        after: called once after each call of `before`, with whether that transaction was stored. If it was not,
            `before` must return the same writes again.
        freed: called with the digests that no job has any more, after the transaction that freed them.
        max_waiting: number of puts that may wait.
        max_group: number of puts in one transaction.
    """

    def __init__(
        self,
        store: Target,
        before: Callable[[], Sequence[Write]] = tuple,
        after: Callable[[bool], object] = lambda ok: None,
        *,
        freed: Callable[[tuple[str, ...]], object] = lambda digests: None,
        max_waiting: int = 4096,
        max_group: int = 256,
    ) -> None:
        self._store, self._before, self._after, self._freed = store, before, after, freed
        self._max_waiting, self._max_group = max_waiting, max_group
        self._waiting: deque[_Put] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = start_thread(self._run, name="salon-store")

    def put(self, writes: Sequence[Write], done: Done = lambda error: None) -> None:
        """Store writes soon. This never waits.

        A put without writes is done when all before it are, and takes along the writes of `before`.

        Args:
            writes: the writes, applied in order.
            done: called in the writer's thread, once, with None (they are on disk) or the error. It should be quick.

        Raises:
            StoreBusy: too many wait; `done` is not called.
            StoreClosed: the writer is closed; `done` is not called.
        """
        with self._changed:
            if self._closed:
                raise StoreClosed(
                    complaint("put", "a writer that is closed", "one that is open", "open the store anew")
                )
            if len(self._waiting) >= self._max_waiting:
                allowed = f"at most {self._max_waiting} at a time"
                raise StoreBusy(complaint("put", f"{len(self._waiting)} puts that wait", allowed, "try again later"))
            self._waiting.append(_Put(tuple(writes), done))
            self._changed.notify()

    @property
    def num_waiting(self) -> int:
        """Number of puts that are in no transaction yet."""
        return len(self._waiting)

    def close(self, timeout_s: float) -> bool:
        """Accept no more puts, store the waiting ones and the writes of `before`, and end.

        Return whether all was done in time.

        Puts that still wait after the time get `StoreClosed`. A second call changes nothing.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(max(0.0, deadline - time.monotonic()))
        with self._changed:
            late = list(self._waiting)
            self._waiting.clear()
        text = complaint(
            "put", f"no turn within {timeout_s:g} s of the end", "a database that keeps up", "put it again"
        )
        for put in late:
            self._tell(put, StoreClosed(text))
        return not late and not self._thread.is_alive()

    # ---- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()  # `put` or `close` ends the wait
                closing = self._closed and len(self._waiting) <= self._max_group
                group = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._max_group))]
            self._store_group(group)
            if closing:
                return

    def _store_group(self, group: list[_Put]) -> None:
        error = self._commit(group)
        if error is None or len(group) < 2 or isinstance(error, StoreLocked | StoreLost | StoreBroken):
            for put in group:
                self._tell(put, error)
            return
        for put in group:
            self._tell(put, self._commit([put]))

    def _commit(self, group: list[_Put]) -> StoreError | None:
        """Run one transaction, and return its error or None. No function that it calls may end this thread."""
        writes: list[Write] = []
        error: StoreError | None = None
        try:
            writes += self._before()
            for put in group:
                writes += put.writes
            freed = self._store.write(writes)
        except StoreError as fault:
            error = fault
        except Exception as bug:
            LOG.exception("writes failed in an unforeseen way")
            error = StoreError(f"store: {type(bug).__name__}: {bug}")
        self._call("after", lambda: self._after(error is None))
        if error is None and freed:
            self._call("freed", lambda: self._freed(freed))
        return error

    def _tell(self, put: _Put, error: StoreError | None) -> None:
        self._call("done", lambda: put.done(error))

    @staticmethod
    def _call(name: str, function: Callable[[], object]) -> None:
        try:
            function()
        except Exception:
            LOG.exception("the callback %r of the writer failed", name)
