"""Follow jobs to their ends, on the event loop, for as long as a client reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

from ...studio.service.events import JobEvent, JobLog, Watcher
from .errors import HttpRefused

QUIET_S: Final = 15.0  # without news, after which a reader is told that there is none


class Ending:
    """The server's end, of which all who follow jobs are told at once."""

    def __init__(self) -> None:
        self.come = False
        self.followers: set[Watcher] = set()

    def tell(self) -> None:
        """Tell all of them."""
        self.come = True
        for follower in list(self.followers):
            follower.touched()


class Follower:
    """A watcher of the logs of some jobs. A context manager."""

    def __init__(self, logs: Sequence[JobLog], ending: Ending) -> None:
        self._logs, self._ending = logs, ending
        self._news = asyncio.Event()
        self._told = [0] * len(logs)

    def __enter__(self) -> Follower:
        self._ending.followers.add(self)
        for log in self._logs:
            log.watchers.add(self)
        return self

    def __exit__(self, *exception: object) -> None:
        self._ending.followers.discard(self)
        for log in self._logs:
            log.watchers.discard(self)

    def touched(self) -> None:
        """Take note that there is something new."""
        self._news.set()

    async def events(self, quiet_s: float = QUIET_S) -> AsyncIterator[tuple[JobLog, JobEvent] | None]:
        """Yield what happens to the jobs, until all have ended; None: nothing has happened for `quiet_s` seconds.

        Raises:
            HttpRefused: the server ends before they do.
        """
        while True:
            self._news.clear()
            for index, log in enumerate(self._logs):
                for event in list(log.since(self._told[index])):
                    self._told[index] = event.number
                    yield log, event
            if all(log.final for log in self._logs):
                return
            if self._ending.come:
                text = "the server ends; the jobs go on at its next start: ask again with the same Idempotency-Key"
                raise HttpRefused(text, status=503, code="draining", type="server_error", retry_ms=2000)
            try:
                await asyncio.wait_for(self._news.wait(), quiet_s)
            except TimeoutError:
                yield None

    async def to_the_end(self, gone: Callable[[], Awaitable[bool]]) -> bool:
        """Wait until all jobs have ended, or the reader is gone. Return whether they have ended."""
        async for news in self.events(quiet_s=1.0):
            if news is None and await gone():
                return False
        return True
