"""The rows of new jobs on their way to the store: a job is there when its row is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from ..errors import StoreError, StoreLost, StoreRefused
from ..job import JobState
from ..store.writes import AddJob, Write
from .context import ServiceContext
from .searching import words_of
from .storing import ActiveJob
from .waits import Waits, settle

LOG = logging.getLogger("salon.service")
FULL_S: Final = 2.0  # between attempts to store the row of a job that is done, or the end of a job


class NewRows:
    """Stores rows of new jobs. On the service's thread.

    Args:
        context: open.
        waits: brings answers of the writer back to the service's thread.
        forget: drops a job whose row is not stored after all.
        closing: says whether the service ends.
    """

    def __init__(
        self,
        context: ServiceContext,
        waits: Waits,
        forget: Callable[[ActiveJob], object],
        closing: Callable[[], bool],
    ) -> None:
        self._context, self._waits, self._forget, self._closing = context, waits, forget, closing
        self._loop = asyncio.get_running_loop()

    def add(self, live: ActiveJob, *besides: Write) -> asyncio.Future[None]:
        """Have the row of a new job stored, in one transaction with other writes. The future ends when it is; or with
        the StoreError for which it is not, and then there is no such job."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._put(live, besides, future)
        return future

    def add_all(self, lives: Sequence[ActiveJob], *besides: Write) -> asyncio.Future[None]:
        """Have the rows of one submit's jobs stored in one transaction, with other writes: all of them, or none. The
        future ends as that of `add`."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._put_all(lives, besides, future)
        return future

    def _row_of(self, live: ActiveJob) -> AddJob:
        words = words_of(live.row, None if live.handle is None else live.handle.spec)
        return AddJob(live.row, str(self._context.studio.loop.model.identity), words)

    def _put_all(
        self, lives: Sequence[ActiveJob], besides: Sequence[Write], future: asyncio.Future[None], lost: bool = False
    ) -> None:
        def stored(error: StoreError | None) -> None:
            refused = isinstance(error, StoreRefused)
            if error is None or (lost and refused):
                settle(future, None)
                return
            done = any(live.handle is not None and live.handle.state is JobState.DONE for live in lives)
            if done and not (refused or self._closing()):
                LOG.error("jobs of which one is done wait for the store: %s", error)
                again = lost or isinstance(error, StoreLost)
                self._loop.call_later(FULL_S, self._put_all, lives, besides, future, again)
                return
            for live in lives:
                if live.handle is not None:
                    live.handle.cancel()
                self._forget(live)
            settle(future, error)

        try:
            writes = [*(self._row_of(live) for live in lives), *besides]
            self._context.writer.put(writes, lambda error: self._waits.post(stored, error))
        except StoreError as error:  # it is busy, or closed
            stored(error)

    def _put(self, live: ActiveJob, besides: Sequence[Write], future: asyncio.Future[None], lost: bool = False) -> None:
        try:
            self._context.writer.put(
                [self._row_of(live), *besides],
                lambda error: self._waits.post(self._stored, live, besides, future, lost, error),
            )
        except StoreError as error:  # it is busy, or closed
            self._stored(live, besides, future, lost, error)

    def _stored(
        self,
        live: ActiveJob,
        besides: Sequence[Write],
        future: asyncio.Future[None],
        lost: bool,
        error: StoreError | None,
    ) -> None:
        """Take the writer's answer. `lost`: an earlier attempt may have been stored without an answer, and then the row
        is refused as one that is there."""
        refused = isinstance(error, StoreRefused)
        if error is None or (lost and refused):
            settle(future, None)
            return
        handle = live.handle
        ended = handle is not None and not handle.cancel()
        if ended and handle is not None and handle.state is JobState.DONE and not (refused or self._closing()):
            LOG.error("a job that is done waits for the store: %s", error, extra={"job": live.row.job})
            lost = lost or isinstance(error, StoreLost)  # made and paid for, like its pictures: it can be put right
            self._loop.call_later(FULL_S, self._put, live, besides, future, lost)
            return
        self._forget(live)
        settle(future, error)
