"""Keep the logs of taste: read an account's from the store when it is needed, and add to it on disk first.

Used on the loop's thread.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

from ..errors import StoreError
from ..store.domains.taste import TasteEventRow
from ..store.store import Store
from ..store.writes import Put, Write
from ..taste.log import AccountLog
from .context import ServiceContext
from .waits import Waits

T = TypeVar("T")
DAY_MS: Final = 86_400_000
KEPT: Final = 64  # logs in memory; the least recently used are read anew when they are needed
PAGE: Final = 5_000


class TasteLogs:
    """The logs of all accounts.

    Args:
        context: of the service.
        waits: for the store.
    """

    def __init__(self, context: ServiceContext, waits: Waits) -> None:
        self._context, self._waits = context, waits
        self._kept: OrderedDict[str, asyncio.Task[AccountLog]] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}

    def lock(self, account: str) -> asyncio.Lock:
        """Return what is held while something is decided by an account's log and then added to it."""
        return self._locks.setdefault(account, asyncio.Lock())

    async def within(self, account: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do work with the account's lock held, which goes on to its end also when its request gives up.

        Raises:
            TooSlow: it takes too long.
            As the work.
        """

        async def locked() -> T:
            async with self.lock(account):
                return await work()

        return await self._waits.outlast(self._waits.begin(locked()))

    async def of(self, account: str) -> AccountLog:
        """Return the log of an account. Raises StoreError and TooSlow as any read."""
        task = self._kept.get(account)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._kept[account] = asyncio.ensure_future(self._load(account))
        self._kept.move_to_end(account)
        for other in list(self._kept)[: max(0, len(self._kept) - KEPT)]:
            if self._kept[other].done() and not self.lock(other).locked():
                del self._kept[other]
                self._locks.pop(other, None)
        return await asyncio.shield(task)

    async def add(self, account: str, rows: Sequence[TasteEventRow], besides: Sequence[Write] = ()) -> None:
        """Add entries to the log, numbered from its last one on, and store other writes in the same transaction. They
        are on disk when this returns. Called `within` the account's lock.

        Raises:
            StoreError: nothing was added, as far as is known.
        """
        log = await self.of(account)
        try:
            await self._waits.stored([*map(Put, rows), *besides])
        except StoreError:
            self._kept.pop(account, None)  # whether they are there is read anew
            raise
        for row in rows:
            log.add(row)

    def entry(self, account: str, log: AccountLog, kind: str, profile: str, **fields: Any) -> TasteEventRow:
        """Return the next entry of a log, dated now."""
        now = self._context.now_ms()
        return TasteEventRow(
            account=account, event=log.last + 1, kind=kind, profile=profile, day=now // DAY_MS, at_ms=now, **fields
        )

    async def _load(self, account: str) -> AccountLog:
        return await self._waits.read(lambda: read_log(self._context.store, account))


def read_log(store: Store, account: str) -> AccountLog:
    """Read an account's log from the store."""
    log = AccountLog()
    while rows := store.rows(TasteEventRow, after=(account, log.last), limit=PAGE, account=account):
        for row in rows:
            log.add(row)
    return log
