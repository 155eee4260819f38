"""Answer requests about accounts, and change accounts: for their owners, and for operators."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from ...bounds import LOCAL, ROLES
from ...errors import complaint
from ...scheduler.accounts import Accounts
from ...scheduler.admission import Info
from ...scheduler.entries import LedgerEntry, Source
from ..store.rows import AccountRow
from ..store.writes import SetMeta
from .context import ServiceContext
from .errors import KeyReused, LastOperator, NoSuchAccount, WrongValue
from .moderation import Moderator
from .waits import Waits

MAX_GRANTS: Final = 10_000  # grants that are remembered beside the store: many more than one question to it lasts
GRANTS: Final = (Source.BOUGHT, Source.BONUS, Source.OPERATOR)


class AccountRecord(NamedTuple):
    """An account.

    Attributes:
        row: its row.
        info: its plan and GPU time.
        stored_bytes: bytes of pictures that it stores.
        quota_bytes: bytes that it may store; 0: no limit.
        timeout_ms: until then (UTC ms) it has to wait, since policies blocked too much; 0: it need not.
    """

    row: AccountRow
    info: Info
    stored_bytes: int
    quota_bytes: int
    timeout_ms: int = 0


class EntryPage(NamedTuple):
    """A page of the ledger.

    Attributes:
        entries: the entries, by number; or the newest first.
        balance_ms: balance of the account that was asked for; 0 without one.
        more: whether further entries follow.
    """

    entries: tuple[LedgerEntry, ...]
    balance_ms: int
    more: bool


class AccountService:
    """The requests about accounts. Used on the service's thread.

    Args:
        context: store, accounts and studio of the service.
        waits: waits for reads and writes.
        moderator: knows whom policies have blocked too often.
    """

    def __init__(self, context: ServiceContext, waits: Waits, moderator: Moderator) -> None:
        self._context, self._waits, self._moderator = context, waits, moderator
        self._grants: OrderedDict[str, str] = OrderedDict()  # the latest marks of this start; older ones are stored

    async def show(self, account: str) -> AccountRecord:
        """Return an account as its owner and operators see it. Raise NoSuchAccount if it does not exist."""
        context = self._context
        row = context.accounts.rows.get(account)
        if row is None:
            raise _missing(account)
        stored = await self._waits.read(lambda: context.store.usage(account))
        info, until = context.studio.loop.info(account), self._moderator.timeout_of(account)
        return AccountRecord(row, info, stored, context.accounts.quota(row), until)

    async def page(self, after: str = "", limit: int = 50) -> tuple[tuple[AccountRecord, ...], bool]:
        """Return a page of accounts in the order of their names, from behind `after`, and whether more follow."""
        names = sorted(name for name in self._context.accounts.rows if name > after)
        return tuple([await self.show(name) for name in names[:limit]]), len(names) > limit

    async def set(
        self,
        account: str,
        caller: str,
        *,
        keyed: bool,
        changed: Callable[[AccountRow], object] = lambda row: None,
        name: str | None = None,
        plan: str | None = None,
        role: str | None = None,
        blocked: bool | None = None,
        quota_bytes: int | None = None,
    ) -> AccountRecord:
        """Open an account, or change one. Return when that is on disk.

        Args:
            account: the account.
            caller: the operator who asks for it.
            keyed: whether keys tell accounts apart; without keys, only `local` can connect.
            changed: called with the new row before any wait.
            name, plan, role, blocked, quota_bytes: new values; None: as before.

        Raises:
            WrongValue: there is no such role.
            Refused: there is no such plan.
            LastOperator: no operator could undo the change.
            TooSlow, StoreError: the change may not be on disk.
        """
        context = self._context
        if role is not None and role not in ROLES:
            raise WrongValue(complaint("role", repr(role), " or ".join(ROLES), "choose one"))
        plan = None if plan is None else context.books.book.plan(plan).name
        row = context.accounts.rows.get(account)
        if row is not None and row.role == "operator" and (blocked or role == "user"):
            self.want_another_operator(row, caller, "blocked" if blocked else "made a user", keyed=keyed)
        if row is None:
            row = context.accounts.open(AccountRow(account=account, plan=plan))
        elif plan is not None and plan != row.plan:
            context.studio.loop.accounts(lambda books, now: books.change_plan(account, plan, now))
        given = {"name": name, "role": role, "blocked": blocked, "quota_bytes": quota_bytes, "plan": plan}
        row = msgspec.structs.replace(row, **{key: value for key, value in given.items() if value is not None})
        context.accounts.put(row)
        changed(row)  # before any wait: two operators must not lock each other out at once
        await self._waits.write([SetMeta("accounts", str(len(context.accounts.rows)))])  # waits for the disk
        return await self.show(account)

    def want_another_operator(self, row: AccountRow, caller: str, what: str, *, keyed: bool) -> None:
        """Raise LastOperator if the callers would lock themselves out, or if no operator were left who can connect.

        With keys an operator needs a key to connect; without keys it is `local`.
        """
        others = [
            other
            for other in self._context.accounts.rows.values()
            if other.role == "operator" and not other.blocked and (other.account != LOCAL) == keyed
        ]
        if row.account == caller:
            text = complaint("account", f"the caller's own, to be {what}", "others", "have another operator do it")
        elif all(other.account == row.account for other in others):
            text = complaint("account", f"the last operator, to be {what}", "others", "make another operator first")
        else:
            return
        raise LastOperator(text)

    async def grant(
        self, account: str, amount_ms: int, key: str, *, source: str = Source.BOUGHT, expires_ms: int = 0
    ) -> AccountRecord:
        """Grant GPU time, once for each key, however often and whenever it is asked for. Return when it is on disk.

        Args:
            account: the account that gets it.
            amount_ms: milliseconds of GPU time.
            key: the caller's own name for this grant.
            source: one of `GRANTS`.
            expires_ms: UTC ms; needed for `Source.OPERATOR`, and used only for that.

        Raises:
            NoSuchAccount: the account does not exist.
            WrongValue: a value is out of range.
            KeyReused: another amount was granted under the key.
            TooSlow, StoreError: it may not be on disk; the same key finds it if it is.
        """
        context = self._context
        if account not in context.accounts.rows:
            raise _missing(account)
        if source not in GRANTS:
            raise WrongValue(complaint("source", repr(source), ", ".join(GRANTS), "choose one of these"))
        if source == Source.OPERATOR and not expires_ms:
            raise WrongValue(complaint("expires_ms", "none", "a time (UTC ms) with source operator", "say until when"))
        mark, amount = f"grant.{account}.{key}", str(amount_ms)
        stored = await self._waits.read(lambda: context.store.meta(mark))

        def give(books: Accounts, now: int) -> tuple[LedgerEntry, ...]:
            if source == Source.BOUGHT:
                return books.buy(account, amount_ms, now)
            if source == Source.BONUS:
                return books.award(account, now, amount_ms)
            return books.credit(account, amount_ms, now, expires_ms)

        before = stored or self._grants.get(mark)  # read after the wait: another request may have granted it
        if before is None:
            context.grant(SetMeta(mark, amount), give)
            self._grants[mark] = amount
            while len(self._grants) > MAX_GRANTS:
                self._grants.popitem(last=False)
        elif before != amount:
            raise KeyReused(complaint("key", f"{key!r} again, after {before} ms", "a key for each grant", "make one"))
        await self._waits.write(())  # waits for the disk, also if another request made the grant
        return await self.show(account)

    async def lift(self, account: str) -> bool:
        """End the timeout of an account that policies have blocked too often, and forget these blocks.

        Return whether it had to wait. NoSuchAccount: it does not exist.
        """
        if account not in self._context.accounts.rows:
            raise _missing(account)
        return await self._moderator.lift(account)

    async def entries(self, account: str = "", after: int = 0, limit: int = 100, *, newest: bool = False) -> EntryPage:
        """Return a page of the ledger as it is on disk, of one account or, with "", of all: from behind entry `after`
        on; or with `newest` from before it back, and from the end where it is 0."""
        store, context = self._context.store, self._context
        found = await self._waits.read(lambda: store.entries(account or None, after, limit + 1, newest=newest))
        balance = context.ledger.balance(account) if account else 0
        return EntryPage(tuple(found[:limit]), balance, len(found) > limit)


def _missing(account: str) -> NoSuchAccount:
    return NoSuchAccount(complaint("account", repr(account), "one that is open", "see `ops accounts`"))
