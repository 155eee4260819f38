"""Look up jobs: one, its events, and pages of them, each as far as the asking account may see it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from ...engine.words import WordList
from ..errors import BlobMissing
from ..store.rows import FINAL, OPEN, JobRow, PictureRow
from .context import ServiceContext
from .errors import no_such_job
from .events import JobLog, log_of_ended
from .job_record import JobRecord, StoredPicture, redacted, stored_pictures
from .jobs import JobManager
from .pictures import MakeFiles
from .taste_account import ACCOUNT
from .waits import Waits

MAX_PAGE_BYTES: Final = 1 << 17  # bytes of a list; for a client that does not read, hundreds of lists may wait
Found = tuple[JobRow, tuple[StoredPicture, ...]]


class JobPage(NamedTuple):
    """A page of jobs, newest first. `next` is the `before` of the next page; 0: there is none."""

    jobs: tuple[JobRecord, ...]
    next: int = 0


class Lookups:
    """The requests that read jobs. Used on the service's thread.

    Attributes:
        context: store, ledger, accounts and studio.
        waits: waits for reads and writes.
        jobs: the jobs that have not ended, and the memory of others.
    """

    def __init__(self, context: ServiceContext, make_files: MakeFiles | None = None) -> None:
        self.context = context
        self.waits = Waits(context.writer)
        self.jobs = JobManager(context, self.waits, make_files)

    async def words(self, like: str = "") -> WordList:
        """Return what the model draws; see `Studio.words`. Its text encoder may have to be loaded for `like`."""
        return await asyncio.to_thread(self.context.studio.words, like)

    async def find(self, job: str, account: str) -> JobRecord:
        """Return a job that an account may see. Raise UnknownJob if there is none."""
        return self.jobs.record_of(*await self._find(job, account))

    async def of_batch(self, job: str) -> JobRecord:
        """Return one's own job, also one that was deleted since. UnknownJob: it is gone."""
        return self.jobs.record_of(*await self._look(job, deleted=True))

    def find_cached(self, job: str, account: str) -> JobRecord | None:
        """Return an account's own job without waiting; None if it has to be looked up first."""
        found = self.jobs.cached(job)
        return None if found is None or found[0].account != account else self.jobs.record_of(*found)

    async def found(self, job: str, account: str) -> Found:
        """Return the row and the pictures of a job that an account may see. Raise UnknownJob if there is none."""
        return await self._find(job, account)

    async def _find(self, job: str, account: str) -> Found:
        found = await self._look(job)
        if not may_see(found[0], account):
            raise no_such_job(job)
        return found

    async def _own(self, job: str, account: str, *, operator: bool, deleted: bool = False) -> Found:
        """Return a job and its pictures, for its owner or an operator. Raise UnknownJob if there is none.

        Args:
            deleted: whether a deleted job counts, too.
        """
        found = await self._look(job, deleted=deleted)
        if not (operator or may_see(found[0], account, owner=True)):
            raise no_such_job(job)
        return found

    async def _look(self, job: str, *, deleted: bool = False) -> Found:
        """Return a job and its pictures, for the caller to check with `may_see`. Raise UnknownJob if there is none."""
        found = self.jobs.cached(job)
        if found is not None:
            return found
        store, drops = self.context.store, self.jobs.drops

        def look() -> tuple[JobRow | None, tuple[PictureRow, ...]]:
            row = store.job(job) if "\0" not in job else None  # which PostgreSQL does not compare
            return row, store.pictures(job) if row is not None else ()

        row, pictures = await self.waits.read(look)
        if row is None or (row.deleted and not deleted):
            raise no_such_job(job)
        found = row, stored_pictures(pictures)
        if row.state in FINAL and not row.deleted and drops == self.jobs.drops:  # else it may be private now
            self.jobs.remember(*found)
        return found

    async def show(self, job: str, account: str, *, operator: bool = False) -> JobRecord:
        """Return a job as this account may see it. Raise UnknownJob if there is none."""
        found = await self._look(job)
        if may_see(found[0], account):
            return self.jobs.record_of(*found)
        if not operator:
            raise no_such_job(job)
        return redacted(self.jobs.record_of(*found))

    async def log(self, job: str, account: str) -> JobLog:
        """Return the events of a job that this account may see. Raise UnknownJob if there is none."""
        return self._log_of(*await self._find(job, account))

    async def file(self, job: str, picture: StoredPicture) -> bytes:
        """Return the file of a picture of a job that the asking account may see. UnknownJob: it was deleted."""
        recent, blobs, digest = self.jobs.recent_files, self.context.blobs, picture.digest
        data = recent.get(digest)
        if data is not None:
            return data
        try:
            return await self.waits.read(lambda: recent.read(digest, lambda: blobs.get(digest)))
        except BlobMissing:
            raise no_such_job(job) from None

    async def thumbnail(self, job: str, picture: StoredPicture, side: int) -> bytes:
        """Return a small WebP file of a picture of a job that the asking account may see; see `Thumbnails`.

        Raises:
            UnknownJob: it was deleted.
            WrongValue: there is none of that side.
        """
        thumbnails, digest = self.jobs.storing.thumbnails, picture.digest
        if (kept := await self.waits.read(lambda: thumbnails.kept(digest, side))) is not None:
            return kept
        try:
            return await asyncio.to_thread(thumbnails.make, digest, side)
        except BlobMissing:
            raise no_such_job(job) from None

    def log_cached(self, job: str, account: str) -> JobLog | None:
        """Return the events of a job without waiting; None if the job has to be looked up first."""
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
        public: bool = False,
    ) -> JobPage:
        """Return a page of jobs, newest first. It may be shorter than `limit` if the jobs have many words.

        Args:
            account: the owner of the jobs; None: all accounts.
            viewer: an operator's account, from which the words of others' private jobs are hidden; None: the owner
                looks.
            before: `next` of the page before; 0: the first page.
            limit: number of jobs, at most.
            states: only jobs in these states; (): in any.
            public: only jobs that are not private, and none of those that the server draws to be ranked.
        """
        store, wanted = self.context.store, set(states)
        stored = tuple(wanted & set(FINAL)) + (OPEN if wanted - set(FINAL) else ())  # memory knows the states
        jobs: list[JobRecord] = []
        room = MAX_PAGE_BYTES
        while True:

            def look(before: int = before) -> tuple[Sequence[JobRow], Mapping[str, tuple[PictureRow, ...]]]:
                rows = store.jobs(account, before, limit + 1, stored, public=public, without=ACCOUNT if public else "")
                return rows, store.pictures_of([row.job for row in rows if row.state == "done"])

            rows, pictures = await self.waits.read(look)
            for row in rows:
                live = self.jobs.live.get(row.job)
                fresh = row if live is None else msgspec.structs.replace(live.row, seq=row.seq)
                record = self.jobs.record_of(fresh, stored_pictures(pictures.get(row.job, ())))
                room -= size_of(record, fresh)
                if len(jobs) == limit or (jobs and room < 0):
                    return JobPage(tuple(jobs), before)
                before = row.seq
                if not wanted or record.state in wanted:
                    jobs.append(record if viewer in (None, record.account) else redacted(record))
            if len(rows) <= limit:
                return JobPage(tuple(jobs))


def size_of(record: JobRecord, row: JobRow) -> int:
    """Return about how many bytes a job takes in a list, at most."""
    words = len(record.prompt) + len(record.negative_prompt) + len(record.reason)
    words += sum(map(len, record.notes)) + len(row.texts)
    return 600 + 4 * words + 200 * len(record.pictures)


def may_see(row: JobRow, account: str, *, owner: bool = False) -> bool:
    """Return whether an account may see a job: its own, or another's that is not private."""
    return row.account == account or not (owner or row.private)
