"""Send each page one stream of server-sent events, with the news of all of its account's jobs."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from ...errors import complaint
from .errors import HttpRefused
from .following import QUIET_S, Ending
from .news import Journal, Journals

RETRY_MS: Final = 1000  # after which a browser comes back
AT_ONCE: Final = 50  # records that are made before other tasks get a turn
STREAMS: Final = 32  # of one account, where keys tell accounts apart
ALL: Final = 256  # of all accounts
Still = Callable[[], Awaitable[bool]]


class Streams:
    """The streams of all pages. Used on the event loop's thread.

    Args:
        journals: have the news.
        ending: tells of the server's end.
        life: number of this start of the server, from which numbers of news count.
        most: streams of one account.
        quiet_s: seconds without news after which a stream says that it is there.
    """

    def __init__(self, journals: Journals, ending: Ending, life: int, most: int, quiet_s: float = QUIET_S) -> None:
        self._journals, self._ending, self._life, self._most = journals, ending, life, most
        self._quiet_s = quiet_s
        self._open: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """The number of streams that are open."""
        return self._open.total()

    def latest(self, account: str) -> str:
        """Return the id of an account's latest news: a stream that begins after it misses nothing from now on."""
        return f"{self._life}.{self._journals.of(account).number}"

    def open(self, account: str, last: str | None, still: Still) -> AsyncIterator[bytes]:
        """Return the lines of a stream, until its reader leaves, the server ends, or the account may not read any more.

        Args:
            account: whose jobs it tells of.
            last: id of the last event that its reader has seen; None: it begins.
            still: returns whether the reader may go on.

        Raises:
            HttpRefused: there are too many already.
        """
        if self._open[account] >= self._most or self._open.total() >= ALL:
            text = complaint("streams", "one more", f"{self._most} of an account, {ALL} in all", "close a page")
            raise HttpRefused(text, status=429, code="busy", type="rate_limit_error", retry_ms=5000)
        return self._lines(account, last, still)

    async def _lines(self, account: str, last: str | None, still: Still) -> AsyncIterator[bytes]:
        reader, journal = _Reader(), self._journals.of(account)
        self._open[account] += 1
        journal.readers.add(reader.touched)
        self._ending.followers.add(reader)
        try:
            yield f"retry: {RETRY_MS}\n\n".encode()
            told = self._number(last)
            if told is None:
                told = journal.number
                async for line in self._begin(journal, told):
                    yield line
            asked = time.monotonic()
            while not self._ending.come:
                if time.monotonic() - asked > self._quiet_s:
                    asked = time.monotonic()
                    if not await still():
                        return
                reader.news.clear()
                found = journal.since(told)
                if found is None:
                    told = journal.number
                    yield self._event("reset", b"{}", told)
                    async for line in self._begin(journal, told):
                        yield line
                    continue
                for news in found:
                    told = news.number
                    yield self._event(news.kind, news.data, told)
                if found:
                    continue
                try:
                    await asyncio.wait_for(reader.news.wait(), self._quiet_s)
                except TimeoutError:
                    yield b": keep-alive\n\n"
        finally:
            self._ending.followers.discard(reader)
            journal.readers.discard(reader.touched)
            self._open[account] -= 1
            self._open += Counter()  # drops what is 0

    async def _begin(self, journal: Journal, number: int) -> AsyncIterator[bytes]:
        """Yield where the reader is, then the jobs that go on."""
        yield f"id: {self._life}.{number}\n\n".encode()
        for count, record in enumerate(journal.live(), 1):
            yield self._event("job", record, number)
            if count % AT_ONCE == 0:
                await asyncio.sleep(0)

    def _number(self, last: str | None) -> int | None:
        """Return the number that an id says; None without one, -1 if it is of another start of the server, or none."""
        if not last:
            return None
        life, _, number = last.partition(".")
        known = life == str(self._life) and number.isascii() and number.isdigit() and len(number) < 19
        return int(number) if known else -1

    def _event(self, kind: str, data: bytes, number: int) -> bytes:
        return f"id: {self._life}.{number}\nevent: {kind}\ndata: ".encode() + data + b"\n\n"


class _Reader:
    """A reader's place: told of news, and of the server's end."""

    def __init__(self) -> None:
        self.news = asyncio.Event()

    def touched(self) -> None:
        """Take note that there is something new."""
        self.news.set()
