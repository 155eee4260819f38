"""Carry out changes of many jobs at once: publish, hide, delete, put into folders.

Used on the event loop's thread. A change is on disk when its request is answered, and says of each job for which it was
refused why; the others are changed all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from ...bounds import MAX_BULK
from ...errors import SalonError, complaint
from ...scheduler.errors import Refused
from ...values import shown
from ..errors import StoreRefused
from ..store.domains.organize import HiddenRow, InFolderRow
from ..store.rows import JobRow
from ..store.writes import DeleteJob, Put, Remove, SetJob, Write
from .errors import NotEnded, WrongValue, no_such_job
from .lookups import may_see
from .organized import ACTS, ADD, DELETE, HIDE, PUBLISH, REMOVE, UNHIDE, UNPUBLISH, Changed, NotChanged

if TYPE_CHECKING:
    from .folders import FolderKeeper
    from .service import Service

OF_OWNER: Final = (PUBLISH, UNPUBLISH, DELETE)  # what only the owner of a job may do
OF_FOLDER: Final = (ADD, REMOVE)
PART: Final = 200  # jobs whose pictures are looked up at a time


class BulkChanges:
    """The changes of many jobs.

    Args:
        service: has store and jobs.
        folders: of the accounts.
    """

    def __init__(self, service: Service, folders: FolderKeeper) -> None:
        self._service, self._context, self._waits = service, service.context, service.waits
        self._folders = folders

    async def change(self, account: str, act: str, jobs: Sequence[str], folder: str = "") -> Changed:
        """Do one of `ACTS` to many jobs, and say what became of it. "add" and "remove" are about a folder, by id or
        name; "hide" and "unhide" about what the account itself sees.

        Raises:
            WrongValue: there is no such act or folder, or there are too many jobs.
            Refused: the account's plan has no private pictures, and these are to become private.
            TooSlow, StoreError: it may not be on disk; the same request again does the rest.
        """
        if act not in ACTS:
            raise WrongValue(complaint("act", shown(act)[:40], ", ".join(ACTS), "choose one of these"))
        if not 1 <= len(jobs) <= MAX_BULK:
            raise WrongValue(complaint("jobs", f"{len(jobs):,}", f"1 to {MAX_BULK:,} at a time", "do them in parts"))
        if bool(folder) != (act in OF_FOLDER):
            allowed = "its id or name" if act in OF_FOLDER else "none, of an act that is about no folder"
            raise WrongValue(complaint("folder", shown(folder)[:40], allowed, "correct it"))
        if act == UNPUBLISH:
            self._want_stealth(account)
        place = (await self._folders.want(account, folder)).folder if folder else ""
        wanted = list(dict.fromkeys(jobs))
        return await self._waits.outlast(self._waits.begin(self._change(account, act, wanted, place)))

    async def _change(self, account: str, act: str, jobs: list[str], folder: str) -> Changed:
        rows, marked = await self._waits.read(lambda: self._looked(account, act, jobs, folder))
        writes: dict[str, Write] = {}
        refused: list[NotChanged] = []
        now = self._context.now_ms()
        for job in jobs:
            try:
                write = self._write_of(account, act, job, rows.get(job), marked, folder, now)
            except SalonError as error:
                refused.append(_refusal(job, error))
            else:
                if write is not None:
                    writes[job] = write
        digests = await self._waits.read(lambda: self._digests(list(writes))) if act == DELETE else {}
        done, failed = await self._store(writes)
        if act in (PUBLISH, UNPUBLISH):
            self._seen_as(done, private=act == UNPUBLISH)
            for tell in self._service.jobs.hidden if act == UNPUBLISH else ():
                tell(account, frozenset(done))
        elif act == DELETE and done:
            for job in done:
                self._service.jobs.drop(job)
            for job in done:  # before the files, which the disk may not let go; then the next sweep takes them
                for call in self._service.jobs.deleted:
                    call(account, job)
            loose = [digest for job in done for digest in digests.get(job, ())]
            await self._waits.read(lambda: self._service.jobs.remove(loose))
        return Changed(changed=len(done), refused=(*refused, *failed))

    def _looked(self, account: str, act: str, jobs: Sequence[str], folder: str) -> tuple[dict[str, JobRow], set[str]]:
        """Return the rows of jobs, and which of them are hidden, or in the folder. Called on a thread for reads."""
        store = self._context.store
        rows, marked = store.jobs_by_id(jobs), set[str]()
        if act in (HIDE, UNHIDE):
            marked = {row.job for row in store.rows_with(HiddenRow, "job", jobs, account=account)}
        elif act in OF_FOLDER:
            inside = store.rows_with(InFolderRow, "job", jobs, account=account, folder=folder)
            marked = {row.job for row in inside}
        return rows, marked

    def _digests(self, jobs: Sequence[str]) -> dict[str, list[str]]:
        """Return the digests of the pictures of jobs. Called on a thread for reads."""
        found: dict[str, list[str]] = {}
        for start in range(0, len(jobs), PART):
            pictures = self._context.store.pictures_of(jobs[start : start + PART])
            found |= {job: [one.digest for one in each] for job, each in pictures.items()}
        return found

    def _write_of(
        self, account: str, act: str, job: str, row: JobRow | None, marked: set[str], folder: str, now_ms: int
    ) -> Write | None:
        """Return what changes a job so; None: it is so already. UnknownJob, NotEnded."""
        if act == UNHIDE:  # what is marked may have become another's private one meanwhile
            return Remove(HiddenRow, (account, job)) if job in marked else None
        if act == REMOVE:
            return Remove(InFolderRow, (account, folder, job)) if job in marked else None
        if row is None or not may_see(self._service.jobs.fresh(row), account, owner=act in OF_OWNER):
            raise no_such_job(job)
        if act == HIDE:
            return None if job in marked else Put(HiddenRow(account=account, job=job))
        if act == ADD:
            inside = InFolderRow(account=account, folder=folder, job=job, added_ms=now_ms)
            return None if job in marked else Put(inside)
        if act == DELETE:
            if job in self._service.jobs.live:
                text = complaint("job", f"one that is {row.state}", "one that has ended", "cancel it first")
                raise NotEnded(text)
            return DeleteJob(job)
        private = act == UNPUBLISH
        return None if self._service.jobs.fresh(row).private == private else SetJob(job, {"private": private})

    async def _store(self, writes: dict[str, Write]) -> tuple[list[str], list[NotChanged]]:
        """Store the writes of jobs in one transaction; where the store refuses it, since a job was deleted meanwhile,
        one by one. Return the jobs that are changed, and the others."""
        if not writes:
            return [], []
        try:
            await self._waits.stored(list(writes.values()))
            return list(writes), []
        except StoreRefused:
            done, refused = list[str](), list[NotChanged]()
        for job, write in writes.items():
            try:
                await self._waits.stored([write])
                done.append(job)
            except StoreRefused:
                refused.append(_refusal(job, no_such_job(job)))
        return done, refused

    def _seen_as(self, jobs: Sequence[str], *, private: bool) -> None:
        """Take note that jobs are private now, or no longer."""
        for job in jobs:
            if job in self._service.retried:
                self._service.retried[job] = private
            live = self._service.jobs.live.get(job)
            if live is None:
                self._service.jobs.drop(job)  # it is read anew
            else:
                live.row = msgspec.structs.replace(live.row, private=private)

    def _want_stealth(self, account: str) -> None:
        """Raise Refused unless the plan of the account has private pictures."""
        book, row = self._context.books.book, self._context.accounts.rows[account]
        plan = book.plans.get(row.plan or book.default_plan)
        if plan is not None and not plan.stealth:
            words = f"Stealth mode is only available for users with a {book.least('stealth')}"
            raise Refused(complaint("unpublish", f"it on the {plan.name} plan", "public images", words))


def _refusal(job: str, error: SalonError) -> NotChanged:
    return NotChanged(job=job, kind=type(error).__name__, text=str(error))
