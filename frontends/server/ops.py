"""What operators may ask for."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Any

import msgspec

from ... import __version__
from ...bounds import LOCAL, ROLES
from ...errors import complaint
from ...scheduler.accounts import Accounts
from ...scheduler.entries import Entry, Source
from ...studio.store.rows import AccountRow
from ...studio.store.writes import SetMeta
from ..wire import messages as m
from . import views
from .failures import RequestRefused

if TYPE_CHECKING:
    from .server import Server

MAX_GRANTS = 10_000  # that are remembered beside the store: many more than are made while it is asked
GRANTS = (Source.BOUGHT, Source.BONUS, Source.OPERATOR)


class Ops:
    """The operators' requests, each a method that returns the answer. On the loop's thread."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._house = server.house
        self._service = server.service
        self._keeper = server.keeper
        self._waits = server.keeper.waits
        self._start = time.monotonic()

    async def status(self, request: m.OpsStatus) -> m.Status:
        """The server at a glance."""
        house, service, server = self._house, self._service, self._server
        stored = await self._waits.read(house.store.stored_bytes)
        view = house.studio.loop.snapshot()
        info = house.studio.loop.model
        queued, running = self._keeper.counts()
        state = "draining" if service.draining else "paused" if view.held else "running"
        return m.Status(
            state=state,
            server=__version__,
            model=str(info.identity),
            backend=str(info.backend),
            up_ms=round(1e3 * (time.monotonic() - self._start)),
            queued=queued,
            running=running,
            clients=len(server.router.sessions),
            accepted=service.accepted,
            ended=dict(self._keeper.ended),
            steps=view.steps,
            batch_jobs=view.batch_jobs,
            stored_bytes=stored,
            free_bytes=shutil.disk_usage(house.options.data).free,
            workers=tuple(map(views.worker_info, view.workers)),
        )

    async def workers(self, request: m.OpsWorkers) -> m.WorkerList:
        """All workers."""
        return m.WorkerList(workers=tuple(map(views.worker_info, self._house.studio.loop.snapshot().workers)))

    async def pause(self, request: m.OpsPause) -> m.Done:
        """Start no further step."""
        held = self._house.studio.loop.snapshot().held
        self._house.studio.loop.hold()
        return m.Done(changed=not held)

    async def resume(self, request: m.OpsResume) -> m.Done:
        """End a pause or a drain."""
        changed = self._house.studio.loop.snapshot().held or self._service.draining
        self._service.draining = self._server.stop_asked = False
        self._house.studio.loop.release()
        return m.Done(changed=changed)

    async def drain(self, request: m.OpsDrain) -> m.Done:
        """Accept nothing more; with `stop`, end the server when the last job has ended."""
        changed = not self._service.draining
        self._service.draining = True
        if request.stop:
            self._server.stop_when_idle()
        return m.Done(changed=changed)

    async def accounts(self, request: m.OpsAccounts) -> m.AccountList:
        """A page of accounts."""
        names = sorted(name for name in self._house.accounts if name > request.after)
        shown = [await self.account(name) for name in names[: request.limit]]
        return m.AccountList(accounts=tuple(shown), more=len(names) > request.limit)

    async def set_account(self, request: m.OpsSetAccount, caller: str) -> m.AccountInfo:
        """Open an account, or change one. RequestRefused: nobody could undo it."""
        house = self._house
        if request.role is not None and request.role not in ROLES:
            raise RequestRefused("invalid", complaint("role", repr(request.role), " or ".join(ROLES), "choose one"))
        plan = None if request.plan is None else house.books.book.plan(request.plan).name
        row = house.accounts.get(request.account)
        if row is not None and row.role == "operator" and (request.blocked or request.role == "user"):
            self._want_another_operator(row, caller, "blocked" if request.blocked else "made a user")
        if row is None:
            row = house.new_account(AccountRow(account=request.account, plan=plan))
        elif plan is not None and plan != row.plan:
            house.studio.loop.accounts(lambda books, now: books.change_plan(request.account, plan, now))
        given = {name: getattr(request, name) for name in ("name", "role", "blocked", "quota_bytes")} | {"plan": plan}
        house.put_account(msgspec.structs.replace(row, **{k: v for k, v in given.items() if v is not None}))
        self._server.refresh_roles()  # before anything is waited for: two must not lock each other out at once
        if request.blocked:
            self._server.router.drop(request.account)
        await self._waits.write([SetMeta("accounts", str(len(house.accounts)))])  # answered when it is on disk
        return await self.account(request.account)

    def _want_another_operator(self, row: AccountRow, caller: str, what: str) -> None:
        """Nobody locks himself out, and somebody stays who can come in: with keys, not `local`; without, only that."""
        house = self._house
        keyed = self._server.router.encrypted
        others = [
            other
            for other in house.accounts.values()
            if other.role == "operator" and not other.blocked and (other.account != LOCAL) == keyed
        ]
        if row.account == caller:
            text = complaint("account", f"the caller's own, to be {what}", "others", "have another operator do it")
        elif all(other.account == row.account for other in others):
            text = complaint("account", f"the last operator, to be {what}", "others", "make another operator first")
        else:
            return
        raise RequestRefused("invalid", text, kind="LastOperator")

    async def grant(self, request: m.OpsGrant) -> m.AccountInfo:
        """Give GPU time, once for each key, however often and whenever it is asked for."""
        house, source = self._house, request.source
        if request.account not in house.accounts:
            raise _unknown(request.account)
        if source not in GRANTS:
            raise RequestRefused("invalid", complaint("source", repr(source), ", ".join(GRANTS), "choose one of these"))
        if source == Source.OPERATOR and not request.expires_ms:
            text = complaint("expires_ms", "none", "a time (UTC ms) with source operator", "say until when")
            raise RequestRefused("invalid", text)
        mark, amount = f"grant.{request.account}.{request.key}", str(request.amount_ms)
        stored = await self._waits.read(lambda: house.store.meta(mark))

        def give(books: Accounts, now: int) -> tuple[Entry, ...]:
            if source == Source.BOUGHT:
                return books.buy(request.account, request.amount_ms, now)
            if source == Source.BONUS:
                return books.award(request.account, now, request.amount_ms)
            return books.credit(request.account, request.amount_ms, now, request.expires_ms)

        before = stored or self._server.grants.get(mark)  # looked at after the wait: another may have given it
        if before is None:
            house.grant(SetMeta(mark, amount), give)
            self._server.grants[mark] = amount
            while len(self._server.grants) > MAX_GRANTS:
                self._server.grants.popitem(last=False)
        elif before != amount:
            text = complaint("key", f"{request.key!r} again, after {before} ms", "a key for each grant", "make one")
            raise RequestRefused("invalid", text, kind="KeyReused")
        await self._waits.write(())  # whoever gave it: answered when it is on disk
        return await self.account(request.account)

    async def ledger(self, request: m.OpsLedger) -> m.LedgerPage:
        """A page of the books, as they are on disk."""
        store, account = self._house.store, request.account or None
        found = await self._waits.read(lambda: store.entries(account, request.after, request.limit + 1))
        balance = self._house.ledger.balance(request.account) if request.account else 0
        entries = tuple(map(views.ledger_entry, found[: request.limit]))
        return m.LedgerPage(entries=entries, balance_ms=balance, more=len(found) > request.limit)

    async def retry(self, request: m.OpsRetry) -> m.JobInfo:
        """Run a failed job again."""
        return views.redacted(views.job_info(await self._service.retry(request.job)))

    async def account(self, account: str) -> m.AccountInfo:
        """An account as its owner and operators see it."""
        house = self._house
        row = house.accounts.get(account)
        if row is None:
            raise _unknown(account)
        stored: Any = await self._waits.read(lambda: house.store.usage(account))
        return views.account_info(row, house.studio.loop.info(account), stored, house.quota(row))


def _unknown(account: str) -> RequestRefused:
    return RequestRefused("not_found", complaint("account", repr(account), "one that is open", "see `ops accounts`"))
