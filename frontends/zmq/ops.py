"""Answer the requests of operators."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import msgspec

from ... import __version__
from ...studio.service.job_record import redacted
from ...studio.store.rows import AccountRow
from ..wire import messages as m
from . import views

if TYPE_CHECKING:
    from .server import Server


class Ops:
    """The operators' requests, each a method that returns the answer. Used on the event loop's thread."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._service = server.service
        self._accounts = server.service.accounts
        self._studio = server.context.studio.loop
        self._start = time.monotonic()

    async def status(self, request: m.OpsStatus) -> m.Status:
        """Return an overview of the server."""
        context, service, server = self._server.context, self._service, self._server
        stored = await service.waits.read(context.store.stored_bytes)
        view = self._studio.snapshot()
        info = self._studio.model
        queued, running = service.jobs.counts()
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
            ended=dict(service.jobs.ended),
            steps=view.steps,
            batch_jobs=view.batch_jobs,
            stored_bytes=stored,
            free_bytes=shutil.disk_usage(context.options.data).free,
            workers=tuple(map(views.worker_info, view.workers)),
            http_clients=server.http_clients(),
            http_streams=server.http_streams(),
        )

    async def workers(self, request: m.OpsWorkers) -> m.WorkerList:
        """Return all workers."""
        return m.WorkerList(workers=tuple(map(views.worker_info, self._studio.snapshot().workers)))

    async def pause(self, request: m.OpsPause) -> m.Done:
        """Start no further step."""
        held = self._studio.snapshot().held
        self._studio.hold()
        return m.Done(changed=not held)

    async def resume(self, request: m.OpsResume) -> m.Done:
        """End a pause or a drain."""
        changed = self._studio.snapshot().held or self._service.draining
        self._service.draining = self._server.stop_asked = False
        self._studio.release()
        return m.Done(changed=changed)

    async def drain(self, request: m.OpsDrain) -> m.Done:
        """Accept nothing more. With `stop`, end the server when the last job has ended."""
        changed = not self._service.draining
        self._service.draining = True
        if request.stop:
            self._server.stop_when_idle()
        return m.Done(changed=changed)

    async def accounts(self, request: m.OpsAccounts) -> m.AccountList:
        """Return a page of accounts."""
        found, more = await self._accounts.page(request.after, request.limit)
        return m.AccountList(accounts=tuple(map(views.account_info, found)), more=more)

    async def set_account(self, request: m.OpsSetAccount, caller: str) -> m.AccountInfo:
        """Open an account, or change one."""

        def changed(row: AccountRow) -> None:
            self._server.refresh_roles()
            if request.blocked:
                self._server.router.drop(row.account)

        record = await self._accounts.set(
            request.account,
            caller,
            keyed=self._server.router.encrypted,
            changed=changed,
            name=request.name,
            plan=request.plan,
            role=request.role,
            blocked=request.blocked,
            quota_bytes=request.quota_bytes,
        )
        return views.account_info(record)

    async def grant(self, request: m.OpsGrant) -> m.AccountInfo:
        """Grant GPU time, once for each key."""
        record = await self._accounts.grant(
            request.account, request.amount_ms, request.key, source=request.source, expires_ms=request.expires_ms
        )
        return views.account_info(record)

    async def ledger(self, request: m.OpsLedger) -> m.LedgerPage:
        """Return a page of the ledger, as it is on disk."""
        page = await self._accounts.entries(request.account, request.after, request.limit, newest=request.newest)
        entries = tuple(map(views.ledger_entry, page.entries))
        return m.LedgerPage(entries=entries, balance_ms=page.balance_ms, more=page.more)

    async def retry(self, request: m.OpsRetry) -> m.JobInfo:
        """Run a failed job again."""
        return views.job_info(redacted(await self._service.retry(request.job)))

    async def blocks(self, request: m.OpsBlocks) -> m.BlockList:
        """Return a page of what policies have blocked."""
        page = await self._service.jobs.moderator.page(request.account, request.before, request.limit)
        return msgspec.convert(page._asdict(), m.BlockList, from_attributes=True)

    async def lift(self, request: m.OpsLift) -> m.Done:
        """End the timeout of an account."""
        return m.Done(changed=await self._accounts.lift(request.account))

    async def account(self, account: str) -> m.AccountInfo:
        """Return an account as its owner and operators see it."""
        return views.account_info(await self._accounts.show(account))
