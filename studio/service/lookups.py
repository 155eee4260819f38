"""Looking at jobs: one, its events, and pages of them, each as far as the one who asks may see it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from ...engine.words import WordList
from ..store.rows import FINAL, OPEN, JobRow, PictureRow
from .context import ServiceContext
from .errors import no_such_job
from .events import JobLog, log_of_ended
from .job_record import JobRecord, StoredPicture, redacted, stored_pictures
from .jobs import JobManager
from .pictures import MakeFiles
from .waits import Waits

MAX_PAGE_BYTES: Final = 1 << 17  # of a list; who does not read has hundreds of them waiting
Found = tuple[JobRow, tuple[StoredPicture, ...]]


class JobPage(NamedTuple):
    """A page of jobs, newest first; `next`: what to give as `before` for the one after it, 0 where there is none."""

    jobs: tuple[JobRecord, ...]
    next: int = 0


class Lookups:
    """What may be asked about jobs. On the service's thread.

    Attributes:
        context: what the service stands on.
        waits: for what takes long.
        jobs: those that have not ended, and what is remembered of others.
    """

    def __init__(self, context: ServiceContext, make_files: MakeFiles | None = None) -> None:
        self.context = context
        self.waits = Waits(context.writer)
        self.jobs = JobManager(context, self.waits, make_files)

    async def words(self, like: str = "") -> WordList:
        """Return what the model draws; see `Studio.words`. Its text encoder may have to be loaded for `like`."""
        return await asyncio.to_thread(self.context.studio.words, like)

    async def find(self, job: str, account: str) -> JobRecord:
        """Return a job for somebody who may see it. UnknownJob: there is none for this account."""
        return self.jobs.record_of(*await self._find(job, account))

    def find_at_hand(self, job: str, account: str) -> JobRecord | None:
        """`find` of an account's own job without waiting; None: it has to be looked up first."""
        found = self.jobs.cached(job)
        return None if found is None or found[0].account != account else self.jobs.record_of(*found)

    async def _find(self, job: str, account: str) -> Found:
        found = await self._look(job)
        if not may_see(found[0], account):
            raise no_such_job(job)
        return found

    async def _own(self, job: str, account: str, *, operator: bool, deleted: bool = False) -> Found:
        """A job and its pictures, for its owner or an operator; with `deleted`, also one that was. UnknownJob."""
        found = await self._look(job, deleted=deleted)
        if not (operator or may_see(found[0], account, owner=True)):
            raise no_such_job(job)
        return found

    async def _look(self, job: str, *, deleted: bool = False) -> Found:
        """Return a job and its pictures, for the caller to check with `may_see`. UnknownJob: there is no such job."""
        found = self.jobs.cached(job)
        if found is not None:
            return found
        store = self.context.store

        def look() -> tuple[JobRow | None, tuple[PictureRow, ...]]:
            row = store.job(job)
            return row, store.pictures(job) if row is not None else ()

        row, pictures = await self.waits.read(look)
        if row is None or (row.deleted and not deleted):
            raise no_such_job(job)
        found = row, stored_pictures(pictures)
        if row.state in FINAL and not row.deleted:
            self.jobs.remember(*found)
        return found

    async def show(self, job: str, account: str, *, operator: bool = False) -> JobRecord:
        """Return a job as this account may see it. UnknownJob: there is none for it."""
        found = await self._look(job)
        if may_see(found[0], account):
            return self.jobs.record_of(*found)
        if not operator:
            raise no_such_job(job)
        return redacted(self.jobs.record_of(*found))

    async def log(self, job: str, account: str) -> JobLog:
        """Return the events of a job that this account may see. UnknownJob: there is none for it."""
        return self._log_of(*await self._find(job, account))

    def log_at_hand(self, job: str, account: str) -> JobLog | None:
        """`log` without waiting; None: the job has to be looked up first."""
        found = self.jobs.cached(job)
        if found is None:
            return None
        if not may_see(found[0], account):
            raise no_such_job(job)
        return self._log_of(*found)

    def _log_of(self, row: JobRow, pictures: tuple[StoredPicture, ...]) -> JobLog:
        log = self.jobs.logs.get(row.job)
        if log is None:
            log = log_of_ended(row.job, row.state, row.ended_ms, row.reason, pictures, row.last_event)
        return log

    async def page(
        self,
        account: str | None,
        *,
        viewer: str | None = None,
        before: int = 0,
        limit: int = 20,
        states: Iterable[str] = (),
    ) -> JobPage:
        """Return a page of jobs, newest first; it may be shorter than `limit` where the jobs have many words.

        Args:
            account: whose; None: everybody's.
            viewer: an operator's account, who may not see what others' private jobs show; None: the owner looks.
            before: `next` of the page before; 0: the first page.
            limit: jobs at most.
            states: only these; none: any.
        """
        store, wanted = self.context.store, set(states)
        stored = tuple(wanted & set(FINAL)) + (OPEN if wanted - set(FINAL) else ())  # how open jobs stand, memory knows
        jobs: list[JobRecord] = []
        room = MAX_PAGE_BYTES
        while True:

            def look(before: int = before) -> tuple[Sequence[JobRow], Mapping[str, tuple[PictureRow, ...]]]:
                rows = store.jobs(account, before, limit + 1, stored)
                return rows, store.pictures_of([row.job for row in rows if row.state == "done"])

            rows, pictures = await self.waits.read(look)
            for row in rows:
                live = self.jobs.live.get(row.job)
                fresh = row if live is None else msgspec.structs.replace(live.row, seq=row.seq)
                record = self.jobs.record_of(fresh, stored_pictures(pictures.get(row.job, ())))
                words = len(record.prompt) + len(record.negative_prompt) + len(record.reason)
                words += sum(map(len, record.notes))
                room -= 600 + 4 * words + 200 * len(record.pictures)
                if len(jobs) == limit or (jobs and room < 0):
                    return JobPage(tuple(jobs), before)
                before = row.seq
                if not wanted or record.state in wanted:
                    jobs.append(record if viewer in (None, record.account) else redacted(record))
            if len(rows) <= limit:
                return JobPage(tuple(jobs))


def may_see(row: JobRow, account: str, *, owner: bool = False) -> bool:
    """Whether an account may see a job: its own, and others' that are not private."""
    return row.account == account or not (owner or row.private)
