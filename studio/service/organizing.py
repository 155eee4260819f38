"""Carry out users' requests about many jobs at once: find them, publish, hide, delete, and order them in folders.

Used on the event loop's thread. A change is on disk when its request is answered, and says of each job for which it was
refused why; the others are changed all the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from ...bounds import FINAL, MAX_BULK, MAX_NAMES, OPEN
from ...errors import SalonError, complaint
from ...scheduler.errors import Refused
from ...values import shown
from ..errors import StoreRefused
from ..store.domains.organize import HiddenRow, InFolderRow
from ..store.names import WHOSE, Wanted
from ..store.rows import JobRow
from ..store.writes import DeleteJob, Describe, Put, Remove, SetJob, Write
from .errors import NotEnded, TooSlow, WrongValue, no_such_job
from .folders import FolderKeeper
from .job_record import JobRecord, stored_pictures
from .lookups import MAX_PAGE_BYTES, may_see, size_of
from .organized import (
    ACTS,
    ADD,
    DELETE,
    HIDE,
    PUBLISH,
    REMOVE,
    UNHIDE,
    UNPUBLISH,
    Changed,
    Marks,
    NameList,
    NamesQuery,
    NotChanged,
)
from .packing import spec_of
from .searching import searched, words_of
from .taste_account import ACCOUNT
from .waits import READ_S

if TYPE_CHECKING:
    from .service import Service

_Row = TypeVar("_Row", HiddenRow, InFolderRow)
LOG = logging.getLogger("salon.service")
OF_OWNER: Final = (PUBLISH, UNPUBLISH, DELETE)  # what only the owner of a job may do
OF_FOLDER: Final = (ADD, REMOVE)
MARKED: Final = 64  # folders of a job that are told
SEARCHES: Final = 2  # at a time, one of an account: some threads for reads are left to what is quick
PAGE: Final = 500  # rows that are looked at, and forgotten, at a time
OLD: Final = 200  # jobs from before there were searches that are described at a time


class OrganizeService:
    """The requests about many jobs at once.

    Args:
        service: has store and jobs.

    Attributes:
        folders: of the accounts.
        presets: parameters that the accounts keep under names.
    """

    def __init__(self, service: Service) -> None:
        self._service, self._context, self._waits = service, service.context, service.waits
        self.folders = FolderKeeper(self._context, self._waits)
        self.presets = service.prompts.presets
        self._searches = asyncio.Semaphore(SEARCHES)
        self._searching: dict[str, asyncio.Lock] = {}  # by account

    # ---- find ------------------------------------------------------------------------------------------------------

    async def names(self, account: str, query: NamesQuery) -> NameList:
        """Return the names of jobs that fit, a page at a time.

        Raises:
            WrongValue: a value is none that is allowed, or there is no such folder.
            TooSlow: other searches take too long; ask again.
        """
        if query.whose not in WHOSE:
            allowed = ", ".join(WHOSE)
            raise WrongValue(complaint("whose", shown(query.whose)[:40], allowed, "choose one of these"))
        if not 1 <= query.limit <= MAX_NAMES:
            raise WrongValue(complaint("limit", shown(query.limit)[:40], f"1 to {MAX_NAMES:,}", "ask page by page"))
        among: frozenset[str] | None = None
        for asked, liked in ((query.liked, True), (query.rated, False)):
            if asked:
                found = frozenset(await self._service.taste.marked(account, liked=liked))
                among = found if among is None else among & found
        folder = (await self.folders.want(account, query.folder)).folder if query.folder else ""
        states = set(query.states)
        stored = (*sorted(states & set(FINAL)), *(OPEN if states - set(FINAL) else ()))
        wanted = Wanted(
            account=account, whose=query.whose, without=ACCOUNT, owner=query.owner, words=searched(query.search),
            kinds=query.kinds, lanes=query.lanes, states=stored, model=query.model, from_ms=query.from_ms,
            until_ms=query.until_ms, hidden=query.hidden, private=query.private, folder=folder, among=among,
            oldest=query.oldest, after=query.after, limit=query.limit,
        )  # fmt: skip
        try:
            async with asyncio.timeout(READ_S), self._searching.setdefault(account, asyncio.Lock()), self._searches:
                names = await self._waits.read(lambda: self._context.store.names(wanted))
        except TimeoutError as error:
            raise TooSlow(f"search: others took more than {READ_S:g} s; try again") from error
        return NameList(**names._asdict())

    async def show(self, account: str, jobs: Sequence[str]) -> tuple[tuple[JobRecord, ...], int]:
        """Return the records of those of these jobs that the account may see, in their order, and how many of the ids
        were looked at: fewer than all, where the records have many words."""
        store, wanted = self._context.store, list(dict.fromkeys(jobs))
        rows, pictures = await self._waits.read(
            lambda: (store.jobs_by_id(wanted), store.pictures_of(wanted) if wanted else {})
        )
        records: list[JobRecord] = []
        room = MAX_PAGE_BYTES
        for looked, job in enumerate(jobs):
            row = rows.get(job)
            if row is None or not may_see(self._fresh(row), account):
                continue
            record = self._service.jobs.record_of(self._fresh(row), stored_pictures(pictures.get(job, ())))
            room -= size_of(record, row)
            if records and room < 0:
                return tuple(records), looked
            records.append(record)
        return tuple(records), len(jobs)

    async def marks(self, account: str, jobs: Sequence[str]) -> Marks:
        """Return what an account thinks of jobs; of jobs that it may not see that is nothing, as of any other."""
        store, wanted = self._context.store, set(jobs)
        hidden, inside = await self._waits.read(
            lambda: (
                store.rows_with(HiddenRow, "job", wanted, account=account),
                store.rows_with(InFolderRow, "job", wanted, account=account),
            )
        )
        liked = await self._service.taste.marked(account, liked=True)
        folders: dict[str, tuple[str, ...]] = {}
        for row in inside:
            folders[row.job] = (*folders.get(row.job, ()), row.folder)[:MARKED]
        return Marks(
            liked={job: tuple(sorted(liked[job])) for job in jobs if job in liked},
            hidden=tuple(sorted(row.job for row in hidden)),
            folders=folders,
        )

    async def describe_old(self) -> None:
        """Have searches find the jobs from before there were searches. It goes on after the next start, if it ends."""
        store = self._context.store
        try:
            while rows := await self._waits.read(lambda: store.without_words(OLD)):
                await self._waits.stored([Describe(row.job, _words_of(row)) for row in rows])
        except SalonError as error:
            LOG.warning("old jobs are not found by searches yet: %s", error)

    def sweep(self) -> None:
        """Forget what accounts think of jobs that were deleted. On a thread. StoreError: a step failed; the next sweep
        goes on."""
        self._forget(HiddenRow, lambda row: (row.account, row.job))
        self._forget(InFolderRow, lambda row: (row.account, row.folder, row.job))

    def _forget(self, kind: type[_Row], key_of: Callable[[_Row], tuple[str, ...]]) -> None:
        store, last = self._context.store, tuple[str, ...]()
        while rows := store.rows(kind, after=last, limit=PAGE):
            last, there = key_of(rows[-1]), store.jobs_by_id([row.job for row in rows])
            gone = [key_of(row) for row in rows if row.job not in there]
            if gone:
                store.write([Remove(kind, key) for key in gone])

    # ---- change ----------------------------------------------------------------------------------------------------

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
        place = (await self.folders.want(account, folder)).folder if folder else ""
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
        for start in range(0, len(jobs), OLD):
            pictures = self._context.store.pictures_of(jobs[start : start + OLD])
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
        if row is None or not may_see(self._fresh(row), account, owner=act in OF_OWNER):
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
        return None if self._fresh(row).private == private else SetJob(job, {"private": private})

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

    def _fresh(self, row: JobRow) -> JobRow:
        """Return the row of a job, of one that goes on as it is in memory."""
        live = self._service.jobs.live.get(row.job)
        return row if live is None else msgspec.structs.replace(live.row, seq=row.seq)

    def _want_stealth(self, account: str) -> None:
        """Raise Refused unless the plan of the account has private pictures."""
        book, row = self._context.books.book, self._context.accounts.rows[account]
        plan = book.plans.get(row.plan or book.default_plan)
        if plan is not None and not plan.stealth:
            words = f"Stealth mode is only available for users with a {book.least('stealth')}"
            raise Refused(complaint("unpublish", f"it on the {plan.name} plan", "public images", words))


def _refusal(job: str, error: SalonError) -> NotChanged:
    return NotChanged(job=job, kind=type(error).__name__, text=str(error))


def _words_of(row: JobRow) -> str:
    try:
        return words_of(row, spec_of(row))
    except (SalonError, msgspec.MsgspecError):  # of a version whose specs are no longer allowed
        return words_of(row, None)
