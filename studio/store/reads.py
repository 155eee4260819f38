"""Read from the store. Each question sees one state of the database, and any thread may ask it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

import msgspec

from ...errors import complaint
from ...scheduler.entries import LedgerEntry, parsed
from ..errors import StoreBroken, StoreError, StoreRefused
from .database import Database
from .domains import Table
from .faults import FAULTS, passes, translate
from .names import PART, Names, Wanted, folder_sizes, names_of
from .registered import table_of
from .rows import FINAL, OPEN, AccountRow, JobRow, PictureRow
from .sql import sa
from .tables import ACCOUNTS, ENTRIES, JOBS, LISTED, LIVE, META, PICTURES, USAGE
from .transaction import check_texts, referenced, same_key

T = TypeVar("T")
R = TypeVar("R", bound=msgspec.Struct)
PAGE: Final = 2000  # entries that are read at a time
PAUSE_S: Final = 0.05  # pause between tries


class Reads:
    """The questions to a store.

    Every method may raise StoreLocked or StoreBusy (it took too long), StoreLost and StoreBroken.

    Args:
        database: a database that has the tables.
        busy_s: how long a question may wait for a lock, or for a database that is away, in seconds.
    """

    def __init__(self, database: Database, busy_s: float) -> None:
        self._database, self._busy_s = database, busy_s

    # ---- jobs ------------------------------------------------------------------------------------------------------

    def job(self, job: str) -> JobRow | None:
        """Return a job, also a tombstone, or None."""
        return next(iter(self._jobs(sa.select(JOBS).where(JOBS.c.job == job))), None)

    def job_by_key(self, account: str, key: str) -> JobRow | None:
        """Return the job that an account has under a key, also a tombstone, or None."""
        return next(iter(self._jobs(sa.select(JOBS).where(JOBS.c.account == account, JOBS.c.key == key))), None)

    def jobs(
        self,
        account: str | None,
        before_seq: int = 0,
        limit: int = 20,
        states: Sequence[str] = (),
        *,
        public: bool = False,
        without: str = "",
    ) -> tuple[JobRow, ...]:
        """Return a page of jobs, newest first, without tombstones.

        Args:
            account: the owner; None: all accounts.
            before_seq: the smallest `seq` of the page before; 0: the first page.
            limit: number of rows, at most.
            states: only jobs in these states; (): in any.
            public: only jobs that are not private.
            without: an account whose jobs are left out; "": none.
        """
        query = sa.select(JOBS).where(LIVE).order_by(JOBS.c.seq.desc()).limit(limit)
        if public:
            query = query.where(JOBS.c.private.is_(False))
        if without:
            query = query.where(JOBS.c.account != without)
        if account is not None:
            query = query.where(JOBS.c.account == account)
        if before_seq:
            query = query.where(JOBS.c.seq < before_seq)
        if not states:
            return self._jobs(query)
        # One walk along the index for each state: together they would sort all of their jobs.
        pages = self._ask(
            lambda connection: [
                row
                for state in dict.fromkeys(states)
                for row in connection.execute(query.where(JOBS.c.state == state)).mappings()
            ]
        )
        pages.sort(key=lambda row: -row["seq"])
        return tuple(JobRow(**row) for row in pages[:limit])

    def open_jobs(self) -> tuple[JobRow, ...]:
        """Return all jobs that have not ended, in the order of their acceptance."""
        return self._jobs(sa.select(JOBS).where(LIVE, JOBS.c.state.in_(OPEN)).order_by(JOBS.c.seq))

    def old_jobs(self, before_ms: int, limit: int) -> tuple[JobRow, ...]:
        """Return jobs that ended before a time, oldest first, without tombstones."""
        ended = JOBS.c.ended_ms.between(1, before_ms - 1)
        final = JOBS.c.state.not_in(OPEN)  # not "in FINAL", for which SQLite would choose another index
        order = JOBS.c.ended_ms, JOBS.c.seq
        return self._jobs(sa.select(JOBS).where(LIVE, ended, final).order_by(*order).limit(limit))

    def _jobs(self, query: sa.Select[Any]) -> tuple[JobRow, ...]:
        rows = self._ask(lambda connection: connection.execute(query).mappings().all())
        return tuple(JobRow(**row) for row in rows)

    def jobs_by_id(self, jobs: Sequence[str]) -> dict[str, JobRow]:
        """Return those of these jobs that are there, by id, without tombstones."""
        found: dict[str, JobRow] = {}
        for start in range(0, len(jobs), PART):
            query = sa.select(JOBS).where(LIVE, JOBS.c.job.in_(jobs[start : start + PART]))
            found |= {row.job: row for row in self._jobs(query)}
        return found

    def names(self, wanted: Wanted) -> Names:
        """Return a page of the names of jobs that fit; see `names.py`."""
        return self._ask(lambda connection: names_of(connection, wanted))

    def folder_sizes(self, account: str) -> dict[str, int]:
        """Return how many jobs that an account may see its folders have, by id; empty ones are left out."""
        return self._ask(lambda connection: folder_sizes(connection, account))

    def without_words(self, limit: int) -> tuple[JobRow, ...]:
        """Return jobs that no search finds yet, newest first: those from before there were searches."""
        unknown = sa.select(LISTED.c.job).where(LISTED.c.words.is_(None))
        return self._jobs(sa.select(JOBS).where(JOBS.c.job.in_(unknown)).order_by(JOBS.c.seq.desc()).limit(limit))

    # ---- pictures --------------------------------------------------------------------------------------------------

    def pictures(self, job: str) -> tuple[PictureRow, ...]:
        """Return a job's pictures, the grid first."""
        query = sa.select(PICTURES).where(PICTURES.c.job == job).order_by(PICTURES.c.index)
        rows = self._ask(lambda connection: connection.execute(query).mappings().all())
        return tuple(PictureRow(**row) for row in rows)

    def pictures_of(self, jobs: Sequence[str]) -> dict[str, tuple[PictureRow, ...]]:
        """Return the pictures of each of these jobs that has any, ordered as by `pictures`."""
        if not jobs:
            return {}
        query = sa.select(PICTURES).where(PICTURES.c.job.in_(jobs)).order_by(PICTURES.c.job, PICTURES.c.index)
        rows = self._ask(lambda connection: connection.execute(query).mappings().all())
        found: dict[str, list[PictureRow]] = {}
        for row in rows:
            found.setdefault(row["job"], []).append(PictureRow(**row))
        return {job: tuple(pictures) for job, pictures in found.items()}

    def shows(self, account: str, digest: str) -> bool:
        """Return whether a job that an account may see has this picture: its own, or one that is not private."""
        own = sa.or_(JOBS.c.account == account, JOBS.c.private.is_(False))
        query = sa.select(PICTURES.c.job).join(JOBS).where(PICTURES.c.digest == digest, LIVE, own).limit(1)
        return self._ask(lambda connection: connection.execute(query).first()) is not None

    def usage(self, account: str) -> int:
        """Return the bytes of an account's pictures."""
        query = sa.select(USAGE.c.bytes).where(USAGE.c.account == account)
        return self._ask(lambda connection: connection.execute(query).scalar()) or 0

    def stored_bytes(self) -> int:
        """Return the bytes of all pictures, each counted for every job that has it."""
        query = sa.select(sa.func.coalesce(sa.func.sum(USAGE.c.bytes), 0))
        return int(self._ask(lambda connection: connection.execute(query).scalar_one()))

    def referenced(self, digests: Iterable[str]) -> set[str]:
        """Return those of these digests that a picture has."""
        return self._ask(lambda connection: referenced(connection, digests))

    # ---- accounts, entries, meta -----------------------------------------------------------------------------------

    def account(self, account: str) -> AccountRow | None:
        """Return an account, or None."""
        return next(iter(self._accounts(sa.select(ACCOUNTS).where(ACCOUNTS.c.account == account))), None)

    def accounts(self, after: str = "", limit: int = 50) -> tuple[AccountRow, ...]:
        """Return a page of accounts in the order of their ids, from behind `after`."""
        return self._accounts(
            sa.select(ACCOUNTS).where(ACCOUNTS.c.account > after).order_by(ACCOUNTS.c.account).limit(limit)
        )

    def _accounts(self, query: sa.Select[Any]) -> tuple[AccountRow, ...]:
        rows = self._ask(lambda connection: connection.execute(query).mappings().all())
        return tuple(AccountRow(**row) for row in rows)

    def entries(
        self, account: str | None, after: int = 0, limit: int = 100, *, newest: bool = False
    ) -> tuple[LedgerEntry, ...]:
        """Return a page of ledger entries of an account or (None) of all: by number, from behind `after`; or with
        `newest` back from before `after`, and from the end where it is 0."""
        query = sa.select(ENTRIES).order_by(ENTRIES.c.seq.desc() if newest else ENTRIES.c.seq).limit(limit)
        if after or not newest:
            query = query.where(ENTRIES.c.seq < after if newest else ENTRIES.c.seq > after)
        if account is not None:
            query = query.where(ENTRIES.c.account == account)
        rows = self._ask(lambda connection: connection.execute(query).all())
        return tuple(parsed(LedgerEntry(*row)) for row in rows)

    def all_entries(self) -> Iterator[LedgerEntry]:
        """Yield every ledger entry by number, for `Ledger.replay`. Not all of them are in memory at a time."""
        after = 0
        while page := self.entries(None, after, PAGE):
            yield from page
            after = page[-1].seq

    def meta(self, key: str) -> str | None:
        """Return the value of a key, or None."""
        query = sa.select(META.c.value).where(META.c.key == key)
        return self._ask(lambda connection: connection.execute(query).scalar())

    # ---- tables of the domains -------------------------------------------------------------------------------------

    def row(self, rows: type[R], *key: Any) -> R | None:
        """Return the row with this key of a domain's table, or None.

        Raises:
            StoreRefused: no domain has such rows, or the key has another length.
        """
        table, columns = table_of(rows)
        query = sa.select(columns).where(same_key(table, columns, key))
        return next(iter(self._rows(rows, query)), None)

    def rows(
        self, rows: type[R], *, after: Sequence[Any] = (), newest: bool = False, limit: int = 100, **equal: Any
    ) -> tuple[R, ...]:
        """Return a page of rows of a domain's table, in the order of their keys.

        Args:
            after: the key behind which the page begins, or the first columns of it; (): at the beginning.
            newest: whether to read from the largest key down.
            limit: number of rows, at most.
            equal: only rows whose columns have these values.

        Raises:
            StoreRefused: as `row`, or a column does not exist.
        """
        table, columns = table_of(rows)
        self._want_columns(table, columns, set(equal))
        check_texts(equal | dict(zip(table.key, after, strict=False)))
        key = [columns.c[name] for name in table.key]
        query = sa.select(columns).where(*(columns.c[name] == value for name, value in equal.items()))
        if after:
            part = key[: len(after)]
            at, bound = sa.tuple_(*part), sa.tuple_(*after, types=[column.type for column in part])
            query = query.where(at < bound if newest else at > bound)
        order = [column.desc() if newest else column.asc() for column in key]
        return self._rows(rows, query.order_by(*order).limit(limit))

    def rows_with(self, rows: type[R], column: str, values: Iterable[Any], **equal: Any) -> tuple[R, ...]:
        """Return the rows of a domain's table of which a column has one of some values, in no order.

        Args:
            equal: only rows whose columns have these values.

        Raises:
            StoreRefused: as `row`.
        """
        table, columns = table_of(rows)
        self._want_columns(table, columns, {column, *equal})
        wanted, found = list(dict.fromkeys(values)), list[R]()
        check_texts(equal)
        for start in range(0, len(wanted), PART):
            part = columns.c[column].in_(wanted[start : start + PART])
            found += self._rows(rows, sa.select(columns).where(part, *(columns.c[n] == v for n, v in equal.items())))
        return tuple(found)

    @staticmethod
    def _want_columns(table: Table, columns: sa.Table, names: set[str]) -> None:
        if unknown := names - set(columns.c.keys()):
            allowed = ", ".join(columns.c.keys())
            raise StoreRefused(complaint(f"column of {table.name}", min(unknown), allowed, "name one of these"))

    def _rows(self, rows: type[R], query: sa.Select[Any]) -> tuple[R, ...]:
        names = tuple(query.selected_columns.keys())
        found = self._ask(lambda connection: connection.execute(query).all())
        return tuple([rows(**dict(zip(names, row, strict=True))) for row in found])

    # ---- integrity -------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Read everything and compare what must agree. This is slow if much is stored.

        Raises:
            StoreBroken: something disagrees; the message names it.
        """
        if wrong := self._ask(self._wrong):
            got = "; ".join(wrong[:5])
            remedy = "restore the last good copy"
            raise StoreBroken(complaint(f"store {self._database.name}", got, "sound data", remedy))

    def _wrong(self, connection: sa.Connection) -> list[str]:
        wrong = []
        if self._database.is_sqlite:
            wrong += [row[0] for row in connection.exec_driver_sql("PRAGMA integrity_check(5)") if row[0] != "ok"]
            for row in connection.exec_driver_sql("PRAGMA foreign_key_check"):
                wrong.append(f"row {row[1]} of {row[0]} refers to nothing in {row[2]}")
        sums = sa.select(JOBS.c.account, sa.func.sum(PICTURES.c.size)).join(PICTURES).group_by(JOBS.c.account)
        real = {account: int(size) for account, size in connection.execute(sums)}
        kept = {account: size for account, size in connection.execute(sa.select(USAGE)) if size}
        for account in sorted(real.keys() | kept.keys()):
            if real.get(account, 0) != kept.get(account, 0):
                wrong.append(f"account {account!r} has {real.get(account, 0)} bytes, not {kept.get(account, 0)}")
        stray = sa.select(JOBS.c.job).join(PICTURES).where(sa.or_(JOBS.c.deleted, JOBS.c.state.not_in(FINAL))).limit(1)
        wrong += [f"job {job!r} has pictures, deleted or not at its end" for job in connection.execute(stray).scalars()]
        count, last = connection.execute(
            sa.select(sa.func.count(), sa.func.max(ENTRIES.c.seq)).select_from(ENTRIES)
        ).one()
        if count != (last or 0):
            wrong.append(f"{count} ledger entries up to number {last}")
        unlike = [LISTED.c[name] != JOBS.c[name] for name in ("account", "seq", "state", "private")]
        joined = sa.select(JOBS.c.job).outerjoin(LISTED, LISTED.c.job == JOBS.c.job).where(LIVE)
        lost = joined.where(sa.or_(LISTED.c.job.is_(None), *unlike)).limit(1)
        wrong += [f"job {job!r} is not listed as it is" for job in connection.execute(lost).scalars()]
        live = sa.select(JOBS.c.job).where(LIVE)
        stray = sa.select(LISTED.c.job).where(LISTED.c.job.not_in(live)).limit(1)
        wrong += [f"job {job!r} is listed, and deleted" for job in connection.execute(stray).scalars()]
        return wrong

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _ask(self, question: Callable[[sa.Connection], T]) -> T:
        def attempt() -> T:
            with self._database.reader.connect() as connection:
                return question(connection)

        return self._try(attempt)

    def _try(self, attempt: Callable[[], T]) -> T:
        """Try a question again while its error may pass, until `busy_s` seconds are over."""
        deadline = time.monotonic() + self._busy_s
        while True:
            try:
                return attempt()
            except (*FAULTS, StoreError) as error:
                fault = translate(error, self._database.name)
                if not passes(error) or time.monotonic() + PAUSE_S > deadline:
                    raise fault from (None if fault is error else error)
            time.sleep(PAUSE_S)
