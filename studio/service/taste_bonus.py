"""Give the accounts that ranked most on a day bonus time, once for each day. Used on the loop's thread."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Final

from ...errors import SalonError
from ...scheduler.accounts import Accounts
from ...scheduler.entries import LedgerEntry
from ..store.domains.taste import TasteEventRow
from ..store.writes import SetMeta
from ..taste.types import GRID, PAIR
from .context import ServiceContext
from .taste_logs import DAY_MS
from .waits import Waits

LOG = logging.getLogger("salon.service")
PAGE: Final = 5_000


class TasteBonus:
    """The daily bonus of the most active rankers (`bonus` in the plans file).

    Args:
        context: of the service.
        waits: for the store.
    """

    def __init__(self, context: ServiceContext, waits: Waits) -> None:
        self._context, self._waits = context, waits
        self._given = -1  # the last day that was looked at, counted from 1970 in UTC

    async def give(self) -> int:
        """Give the bonus for the day before (UTC), unless that was done, and return how many accounts got it.

        Only accounts whose time is counted get it. Pairs that were not skipped and picks of grids count, each once,
        whether they are on or off now.

        Raises:
            StoreError, TooSlow: as any read; the next call goes on.
        """
        day = self._context.now_ms() // DAY_MS - 1
        if day <= self._given:
            return 0
        winners = await self._waits.read(lambda: self._winners(day))
        given = 0
        for account in winners:
            mark = f"taste.bonus.{day}.{account}"
            if await self._waits.read(lambda mark=mark: self._context.store.meta(mark)) is None:  # type: ignore[misc]
                self._award(account, mark)
                given += 1
        await self._waits.write(())  # waits for the disk
        self._given = day
        return given

    def _award(self, account: str, mark: str) -> None:
        def award(books: Accounts, now: int) -> tuple[LedgerEntry, ...]:
            return books.award(account, now)

        try:
            self._context.grant(SetMeta(mark, "1"), award)
        except SalonError:
            LOG.exception("no bonus for account %s", account)
        else:
            LOG.info("bonus for ranking", extra={"account": account})

    def _winners(self, day: int) -> list[str]:
        """Return the accounts that ranked most on a day, the most active first. Called on a thread."""
        store, options, book = self._context.store, self._context.options, self._context.books.book
        counts: Counter[str] = Counter()
        after: tuple[str, int] | tuple[()] = ()
        while rows := store.rows(TasteEventRow, after=after, day=day, limit=PAGE):
            counts.update(row.account for row in rows if row.kind in (PAIR, GRID) and row.teaches)
            after = rows[-1].account, rows[-1].event
        most = book.winners if options.bonus_rankers is None else options.bonus_rankers
        ranked = sorted(counts, key=lambda account: (-counts[account], account))
        counted = [a for a in ranked if counts[a] >= options.bonus_events and self._is_counted(a)]
        return counted[:most]

    def _is_counted(self, account: str) -> bool:
        row = self._context.accounts.rows.get(account)
        plan = None if row is None else self._context.books.book.plans.get(row.plan or "")
        return plan is not None and plan.monthly_ms is not None
