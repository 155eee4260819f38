"""Carry out users' requests about many jobs at once: find them, show them, say what is thought of them.

Used on the event loop's thread. `changing.py` changes them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from ...bounds import FINAL, MAX_NAMES, OPEN
from ...errors import SalonError, complaint
from ...values import shown
from ..store.domains.organize import HiddenRow, InFolderRow
from ..store.names import WHOSE, Wanted
from ..store.rows import JobRow
from ..store.writes import Describe
from .changing import BulkChanges
from .errors import TooSlow, WrongValue
from .folders import FolderKeeper
from .job_record import JobRecord, stored_pictures
from .lookups import MAX_PAGE_BYTES, may_see, size_of
from .organized import Changed, Marks, NameList, NamesQuery
from .packing import spec_of
from .searching import searched, words_of
from .taste_account import ACCOUNT
from .waits import READ_S

if TYPE_CHECKING:
    from .service import Service

LOG = logging.getLogger("salon.service")
MARKED: Final = 64  # folders of a job that are told
SEARCHES: Final = 2  # at a time, one of an account: some threads for reads are left to what is quick
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
        self._changes = BulkChanges(service, self.folders)
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
            if row is None or not may_see(self._service.jobs.fresh(row), account):
                continue
            record = self._service.jobs.record_of(self._service.jobs.fresh(row), stored_pictures(pictures.get(job, ())))
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

    # ---- change ----------------------------------------------------------------------------------------------------

    async def change(self, account: str, act: str, jobs: Sequence[str], folder: str = "") -> Changed:
        """Do one of `ACTS` to many jobs, and say what became of it; see `BulkChanges.change`."""
        return await self._changes.change(account, act, jobs, folder)


def _words_of(row: JobRow) -> str:
    try:
        return words_of(row, spec_of(row))
    except (SalonError, msgspec.MsgspecError):  # of a version whose specs are no longer allowed
        return words_of(row, None)
