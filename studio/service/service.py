"""What users may ask of their jobs: submit, show, list, cancel, delete. On the loop's thread."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from ...errors import SalonError, complaint
from ...scheduler.admission import Work
from ...scheduler.plans import Kind, lane_of
from ..resources import digests_of
from ..store.retention import check_quota, collect, sweep
from ..store.rows import JobRow, PictureRow
from ..store.writes import DeleteJob, SetJob
from .account_service import AccountService
from .context import ServiceContext
from .errors import Draining, KeyReused, NotEnded, NotFailed, no_such_job
from .job_record import JobRecord, record_of, stored_pictures
from .lookups import Found, Lookups
from .packing import pack
from .pictures import MakeFiles
from .request import Request, fingerprint, spec_of
from .waits import settle

LOG = logging.getLogger("salon.service")
DAY_MS: Final = 86_400_000
CANCEL_S: Final = 120.0  # a step of a large model, and the write


class Submitted(NamedTuple):
    """The job of a request; `existing`: it was there already, under the same key."""

    job: JobRecord
    existing: bool


class Service(Lookups):
    """The users' requests; those that only look are in `Lookups`. Made and used on the thread of a running event loop.

    Args:
        context: open; its studio is on hold until `context.studio.loop.release`.
        new_id: makes the id of a new job.
        make_files: pixels to files; None: `pictures.files_of`.

    Attributes:
        accounts: what is asked about accounts.
        draining: nothing is accepted any more.
        accepted: jobs since the start.
    """

    def __init__(
        self,
        context: ServiceContext,
        new_id: Callable[[], str] = lambda: secrets.token_hex(12),
        make_files: MakeFiles | None = None,
    ) -> None:
        super().__init__(context, make_files)
        self.accounts = AccountService(context, self.waits)
        self.draining = False
        self.accepted = 0
        self._new_id = new_id
        self._keys: dict[tuple[str, str], asyncio.Task[tuple[Found, bool]]] = {}  # submits that are not stored yet
        self._retried: set[str] = set()  # jobs that are just being taken back

    # ---- the beginning and the end ---------------------------------------------------------------------------------

    def restore(self) -> int:
        """Take back the jobs that were accepted before a restart; how many."""
        context = self.context
        rows = context.store.open_jobs()
        known = {row.job for row in rows}
        for job in context.ledger.open_jobs():
            if job not in known:  # set aside for a job that was never acknowledged
                context.release(job)
        for row in rows:
            self.jobs.take_back(row)
        if rows:
            LOG.info("taken back after a restart", extra={"jobs": len(rows)})
        return len(rows)

    async def leave(self, grace_s: float, hurry: asyncio.Event | None = None) -> None:
        """Accept nothing more, let running jobs finish for `grace_s` or until `hurry`, then leave the rest for the next
        start. `close` comes next."""
        self.draining = True
        loop, studio = asyncio.get_running_loop(), self.context.studio.loop
        if grace_s > 0 and not studio.snapshot().held:
            end = loop.time() + grace_s
            while self.jobs.working and loop.time() < end and not (hurry is not None and hurry.is_set()):
                await asyncio.sleep(0.05)
        self.jobs.closing = True
        studio.hold()

    async def close(self) -> None:
        """Store what was made, and close the context. Requests that still wait end as cancelled."""
        await self.waits.close()
        await asyncio.to_thread(self.jobs.close)
        await asyncio.to_thread(self.context.close)

    async def clean_up(self) -> None:
        """Delete what is old enough, and files that no job has. What goes wrong is logged."""
        context, files = self.context, self.jobs.files
        days = context.options.keep_days
        keep_ms = None if days is None else round(days * DAY_MS)
        now = context.now_ms()
        try:
            swept = await asyncio.to_thread(sweep, context.store, files, now, keep_ms)
            if keep_ms is not None:
                self.jobs.forget_before(now - keep_ms)
            left = await asyncio.to_thread(collect, context.store, files)
            specs = [live.handle.spec for live in self.jobs.live.values() if live.handle is not None]
            in_use = {digest for spec in specs for digest in digests_of(spec)}
            await asyncio.to_thread(self.jobs.references.sweep, in_use)
            await asyncio.to_thread(context.store.tidy)
        except SalonError:
            LOG.exception("cleaning up; it is tried again")
        else:
            counts = {"jobs": swept.jobs, "files": swept.blobs + left.blobs, "bytes": swept.bytes + left.bytes}
            LOG.info("cleaned up", extra=counts)

    # ---- submit ----------------------------------------------------------------------------------------------------

    async def submit(self, account: str, request: Request) -> Submitted:
        """Accept a job, once for each key; it is on disk when this returns.

        Whatever this raises, there is no job; but after TooSlow there may be one, and the same key finds it.

        Raises:
            KeyReused: another request had the key.
            Draining: nothing is accepted any more.
            UnknownLane, SpecError, LimitError, Refused, QuotaExceeded, StoreError, StudioClosed, WorkerLost: see there.
        """
        key, print_ = (account, request.key), fingerprint(request)
        task = self._keys.get(key)
        pending = task is not None
        if task is None:
            task = self._keys[key] = self.waits.begin(self._submit(account, request, print_))
            task.add_done_callback(lambda _: self._keys.pop(key))
        found, existing = await self.waits.outlast(task)
        existing = existing or pending
        row, pictures = self.jobs.cached(found[0].job) or found  # it may have gone on meanwhile
        if row.request != print_:
            text = complaint(
                "key", f"{request.key!r} again, with another request", "a key for each job", "make a new one"
            )
            raise KeyReused(text)
        return Submitted(self.jobs.record_of(row, pictures), existing)

    async def _submit(self, account: str, request: Request, print_: bytes) -> tuple[Found, bool]:
        """(the job, whether it was there already)."""
        context = self.context
        owner = context.accounts.rows[account]

        def look() -> tuple[JobRow, tuple[PictureRow, ...]] | None:
            row = context.store.job_by_key(account, request.key)
            if row is not None:
                return row, context.store.pictures(row.job)
            if context.accounts.quota(owner):
                check_quota(context.store, owner, 0, context.options.quota_bytes)
            return None

        stored = await self.waits.read(look)
        if stored is not None:
            return (stored[0], stored_pictures(stored[1])), True
        if self.draining:
            raise Draining("server: it is draining and accepts nothing; try again later")
        if self.jobs.stuck and (trouble := self.jobs.trouble) is not None:
            raise type(trouble)(f"disk: finished pictures wait until it takes them; try again later ({trouble})")
        lane = lane_of(request.lane)
        spec = spec_of(context.studio, request, lane)
        references = await self.jobs.references.needed(account, spec)
        work = Work(kind=Kind.GRID, images=spec.images, stealth=request.private)
        job = self._new_id()
        live = self.jobs.start(JobRow(
            job=job,
            account=account,
            key=request.key,
            request=print_,
            spec=pack(spec),
            work=pack(work),
            prompt=request.prompt,
            asked_lane=str(lane),
            private=request.private,
            preview_every=request.preview_every,
            made_ms=context.now_ms(),
            steps=spec.steps,
            notes="\n".join(context.studio.notes_of(spec)),
        ), spec, work, lane, references)  # fmt: skip
        await self.jobs.add(live)
        self.accepted += 1
        LOG.info("accepted", extra={"job": job, "account": account, "lane": live.row.lane, "images": spec.images})
        return (live.row, ()), False

    async def retry(self, job: str) -> JobRecord:
        """Run a failed job again, for nothing: once, however many ask at the same time. UnknownJob, NotFailed."""
        return record_of(await self.waits.outlast(self.waits.begin(self._retry(job))))

    async def _retry(self, job: str) -> JobRow:
        if job in self._retried:
            raise _not_failed("being tried again already")
        self._retried.add(job)  # before anything is waited for: two would each take it back, and the job be lost
        try:
            store = self.context.store
            row = await self.waits.read(lambda: store.job(job))
            if row is None:
                raise no_such_job(job)
            if job in self.jobs.live or row.state != "failed" or row.deleted:
                raise _not_failed(row.state)
            fresh = {"state": "queued", "reason": "", "failure": "", "started_ms": 0, "ended_ms": 0}
            await self.waits.stored([SetJob(job, fresh)])
            self.jobs.drop(job)
            row = msgspec.structs.replace(row, **fresh)
            self.jobs.take_back(row)
            live = self.jobs.live.get(job)
            return row if live is None else live.row  # without a studio it waits for the next start
        finally:
            self._retried.discard(job)

    # ---- cancel, delete --------------------------------------------------------------------------------------------

    async def cancel(self, job: str, account: str, *, operator: bool = False) -> bool:
        """End exactly this job: one's own or, as an operator, anybody's. Return, when it is on disk, whether it did.

        UnknownJob; TimeoutError: its step takes too long."""
        await self._own(job, account, operator=operator)
        live = self.jobs.live.get(job)
        paid = job in self.context.charged  # before a restart; it is finished, and only its pictures are missing
        if paid or live is None or live.handle is None or not live.handle.cancel():
            return False
        ended = asyncio.get_running_loop().create_future()
        live.log.waiting.append(lambda: settle(ended, None))
        await asyncio.wait_for(ended, CANCEL_S)
        return live.log.events[-1].kind == "cancelled"

    async def delete(self, job: str, account: str, *, operator: bool = False) -> bool:
        """Remove an ended job's pictures and words: one's own or, as an operator, anybody's. Whether it had any:
        another time changes nothing. UnknownJob, NotEnded."""
        row, pictures = await self._own(job, account, operator=operator, deleted=True)
        if row.deleted:
            return False
        if job in self.jobs.live:
            text = complaint("job", f"one that is {row.state}", "one that has ended", "cancel it first")
            raise NotEnded(text)
        await self.waits.outlast(self.waits.begin(self._delete(job, [picture.digest for picture in pictures])))
        return True

    async def _delete(self, job: str, digests: list[str]) -> None:
        await self.waits.stored([DeleteJob(job)])
        self.jobs.drop(job)
        await self.waits.read(lambda: self.jobs.remove(digests))


def _not_failed(state: str) -> NotFailed:
    return NotFailed(complaint("job", f"one that is {state}", "a failed one", "see `jobs`"))
