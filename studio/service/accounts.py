"""Keep the rows of all accounts in memory, and change them. The ledger has their time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from ...bounds import LOCAL
from ...errors import complaint
from ...scheduler.accounts import Accounts
from ...scheduler.entries import LedgerEntry
from ...scheduler.errors import UnknownAccount
from ..store.rows import AccountRow
from ..store.writer import Writer
from ..store.writes import PutAccount
from .options import ServiceOptions

if TYPE_CHECKING:
    from ..store.store import Store

LOG = logging.getLogger("salon.service")
PAGE = 500  # rows that are read at a time
Act = Callable[[Accounts, int], tuple[LedgerEntry, ...]]


class AccountRegister:
    """Every account's row. Any thread may read them, one changes them.

    Args:
        options: which accounts may connect, and how many.
        plan: the plan of accounts that are opened when they first connect.
        books: time and plans of the accounts.
        writer: stores changed rows.
        change: calls a function with the books, alone, and keeps the entries that it returns.
        now_ms: returns UTC ms that never go back.

    Attributes:
        rows: the rows by account, for reading only.
    """

    def __init__(
        self,
        options: ServiceOptions,
        plan: str,
        books: Accounts,
        writer: Writer,
        change: Callable[[Act], None],
        now_ms: Callable[[], int],
    ) -> None:
        self.rows: dict[str, AccountRow] = {}
        self._options, self._plan, self._books = options, plan, books
        self._writer, self._change, self._now_ms = writer, change, now_ms

    def load(self, store: Store) -> int:
        """Read all rows. Return the latest UTC ms at which one of their billing periods began; 0 if there are none."""
        after = ""
        while page := store.accounts(after, PAGE):
            self.rows |= {row.account: row for row in page}
            after = page[-1].account
        return max((row.anchor_ms for row in self.rows.values()), default=0)

    def open_all(self) -> None:
        """Open the books of all accounts, and make operators of those that the options name."""
        for row in self.rows.values():
            self._open_books(row)
        for account in dict.fromkeys((LOCAL, *self._options.operators)):
            row = self.rows.get(account) or self.open(AccountRow(account=account, role="operator"))
            if row.role != "operator" or row.blocked:  # the owner of the data folder can always get back in
                LOG.warning("an operator again, since the server was started so", extra={"account": account})
                self.put(msgspec.structs.replace(row, role="operator", blocked=False))

    def admits(self, account: str) -> bool:
        """Return whether an account may connect. Thread-safe."""
        row = self.rows.get(account)
        return self._may_add() if row is None else not row.blocked

    def enter(self, account: str) -> AccountRow:
        """Return the row of an account that connects.

        With the option `open`, a new account is made if there are not too many.

        Raises:
            UnknownAccount: the account is unknown or blocked.
        """
        row = self.rows.get(account)
        if row is None and self._may_add():
            row = self.open(AccountRow(account=account, plan=self._plan))
        if row is None or row.blocked:
            allowed = "one that the operator has opened"
            raise UnknownAccount(complaint("account", account, allowed, "ask the operator for it"))
        return row

    def open(self, row: AccountRow) -> AccountRow:
        """Open an account, and return its row. Raise Refused if its plan does not exist."""
        now = self._now_ms()
        row = msgspec.structs.replace(
            row, plan=row.plan or self._books.book.default_plan, anchor_ms=row.anchor_ms or now, made_ms=now
        )
        self._open_books(row)
        self.put(row)
        return row

    def put(self, row: AccountRow) -> None:
        """Give an account new values. They are stored soon."""
        self.rows[row.account] = row
        self._writer.put([PutAccount(row)], _logged)

    def quota(self, row: AccountRow) -> int:
        """Return the bytes of pictures that an account may store; 0: no limit."""
        return row.quota_bytes or self._options.quota_bytes

    def _may_add(self) -> bool:
        """Return whether an unknown client gets an account. Each account is kept for good, and has time of its own."""
        return self._options.open and len(self.rows) < self._options.open_accounts

    def _open_books(self, row: AccountRow) -> None:
        self._change(lambda books, at: books.open(row.account, at, plan=row.plan, anchor_ms=row.anchor_ms))


def _logged(error: Any) -> None:
    if error is not None:
        LOG.error("could not be stored: %s", error)
