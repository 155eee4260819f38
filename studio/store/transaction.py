"""Apply a batch of writes to a connection, in order. The caller commits, or rolls back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import msgspec

from ...errors import complaint
from ...scheduler.entries import LedgerEntry
from ..errors import StoreRefused
from .domains import Table
from .registered import of_jobs, table_of
from .rows import FINAL, PictureRow
from .sql import postgresql, sa, sqlite
from .tables import ACCOUNTS, ENTRIES, JOBS, LISTED, META, PICTURES, USAGE
from .writes import AddEntries, AddJob, DeleteJob, Describe, EndJob, Put, PutAccount, Remove, SetJob, SetMeta, Write

_GONE: Mapping[str, Any] = {
    "deleted": True, "prompt": "", "spec": b"", "sources": "", "notes": "", "texts": "", "reason": "",
}  # fmt: skip
_COPIED = ("account", "seq", "job", "made_ms", "kind", "lane", "state", "private")  # from a job's row to what is listed


@dataclass
class Ends:
    """The last numbers that are stored, of jobs and of ledger entries."""

    job: int
    entry: int

    @classmethod
    def read(cls, connection: sa.Connection) -> Ends:
        """Read the numbers from the database."""
        row = connection.execute(sa.select(_last(JOBS), _last(ENTRIES))).one()
        return cls(row[0], row[1])


class Transaction:
    """Applies writes to a connection.

    Args:
        connection: a connection within a transaction of its own.
        ends: the last numbers stored before; the transaction updates them, and after an error they are worthless.

    Every method raises StoreRefused if a write contradicts what is stored, and the database's own errors.
    """

    def __init__(self, connection: sa.Connection, ends: Ends) -> None:
        self._connection, self._ends = connection, ends
        self._loose: dict[str, None] = {}  # digests that lost a reference

    def apply(self, writes: Sequence[Write]) -> tuple[str, ...]:
        """Apply all writes. Return the digests to which no row refers any more."""
        for kind, group in groupby(writes, type):
            if kind is AddJob:  # one statement for many of them
                self._add_jobs([write for write in group if isinstance(write, AddJob)])
            else:
                for write in group:
                    self._apply(write)
        kept = referenced(self._connection, self._loose)
        return tuple(digest for digest in self._loose if digest not in kept)

    def put_meta(self, key: str, value: str) -> None:
        """Store a value under a key, new or not."""
        self._upsert(META, {"key": key, "value": value}, "key")

    def _apply(self, write: Write) -> None:
        if isinstance(write, SetJob):
            self._set_job(write.job, write.changes)
        elif isinstance(write, EndJob):
            account, _ = self._set_job(write.job, write.changes)
            self._put_pictures(write.job, account, write.pictures)
            self._list(write.job, {"pictures": sum(picture.index >= 0 for picture in write.pictures)})
        elif isinstance(write, DeleteJob):
            self._delete_job(write.job)
        elif isinstance(write, Describe):
            check_texts({"words": write.words})
            self._list(write.job, {"words": write.words})
        elif isinstance(write, AddEntries):
            self._add_entries(write.entries)
        elif isinstance(write, PutAccount):
            check_texts(row := msgspec.structs.asdict(write.row))
            self._upsert(ACCOUNTS, row, "account")
        elif isinstance(write, SetMeta):
            check_texts({"key": write.key, "value": write.value})
            self.put_meta(write.key, write.value)
        elif isinstance(write, Put):
            table, columns = table_of(type(write.row))
            check_texts(row := msgspec.structs.asdict(write.row))
            self._upsert(columns, row, *table.key)
        elif isinstance(write, Remove):
            table, columns = table_of(write.rows)
            self._connection.execute(sa.delete(columns).where(same_key(table, columns, write.key)))
        else:
            raise AssertionError(write)

    # ---- jobs ------------------------------------------------------------------------------------------------------

    def _add_jobs(self, jobs: list[AddJob]) -> None:
        values, listed = [], []
        for job in jobs:
            self._ends.job += 1
            check_texts(fields := msgspec.structs.asdict(job.row) | {"seq": self._ends.job})
            check_texts(more := {"pictures": 0, "model": job.model, "words": job.words})
            values.append(fields)
            listed.append({name: fields[name] for name in _COPIED} | more)
        self._connection.execute(sa.insert(JOBS), values)
        self._connection.execute(sa.insert(LISTED), listed)

    def _list(self, job: str, changes: Mapping[str, Any]) -> None:
        """Change what lists show of a job, if they show it."""
        self._connection.execute(
            sa.update(LISTED).where(LISTED.c.job == sa.bindparam("_job")), {"_job": job, **changes}
        )

    def _set_job(self, job: str, changes: Mapping[str, Any]) -> tuple[str, str]:
        """Change a job's row. Return the account and the state before. A tombstone is refused."""
        check_texts(changes)
        account, state, deleted = self._head(job)
        if deleted:
            raise _refusal(f"job {job!r}", "a change after it was deleted", "jobs that are there")
        self._connection.execute(sa.update(JOBS).where(JOBS.c.job == sa.bindparam("_job")), {"_job": job, **changes})
        if listed := {name: changes[name] for name in _COPIED if name in changes}:
            self._list(job, listed)
        return account, state

    def _delete_job(self, job: str) -> None:
        account, state, deleted = self._head(job)
        if state not in FINAL:
            raise _refusal(f"job {job!r}", f"deleted while {state}", "jobs that have ended")
        if not deleted:
            self._connection.execute(sa.update(JOBS).where(JOBS.c.job == sa.bindparam("_job")), {"_job": job, **_GONE})
            self._connection.execute(sa.delete(LISTED).where(LISTED.c.job == job))
            self._put_pictures(job, account, ())
            for columns in of_jobs():
                self._connection.execute(sa.delete(columns).where(columns.c.job == job))

    def _head(self, job: str) -> tuple[str, str, bool]:
        columns = JOBS.c.account, JOBS.c.state, JOBS.c.deleted
        row = self._connection.execute(sa.select(*columns).where(JOBS.c.job == job)).first()
        if row is None:
            raise _refusal(f"job {job!r}", "no such job", "jobs that were added")
        return row.account, row.state, row.deleted

    def _put_pictures(self, job: str, account: str, pictures: Sequence[PictureRow]) -> None:
        """Replace a job's pictures, and update the account's sum."""
        was = self._connection.execute(sa.select(PICTURES.c.digest, PICTURES.c.size).where(PICTURES.c.job == job)).all()
        if was:
            self._connection.execute(sa.delete(PICTURES).where(PICTURES.c.job == job))
            self._loose.update(dict.fromkeys(row.digest for row in was))
        if pictures:
            rows = [msgspec.structs.asdict(picture) for picture in pictures]
            for row in rows:
                check_texts(row)
            self._connection.execute(sa.insert(PICTURES), rows)
        more = sum(picture.size for picture in pictures) - sum(row.size for row in was)
        if more:
            self._upsert(USAGE, {"account": account, "bytes": more}, "account", add="bytes")

    # ---- the rest --------------------------------------------------------------------------------------------------

    def _add_entries(self, entries: Sequence[LedgerEntry]) -> None:
        """Add ledger entries.

        Those that are stored already are passed over: the writer offers them again if a commit's answer was lost.
        """
        again = [entry for entry in entries if entry.seq <= self._ends.entry]
        fresh = entries[len(again) :]
        if again:
            query = sa.select(ENTRIES).where(ENTRIES.c.seq.between(again[0].seq, again[-1].seq)).order_by(ENTRIES.c.seq)
            if [tuple(row) for row in self._connection.execute(query)] != [tuple(entry) for entry in again]:
                raise _refusal(
                    f"entries {again[0].seq} to {again[-1].seq}", "others than are stored", "the same, or new"
                )
        for entry in fresh:
            check_texts(entry._asdict())
            if entry.seq != self._ends.entry + 1:
                raise _refusal(f"entry {entry.seq}", f"it follows {self._ends.entry}", "every number once, in order")
            self._ends.entry += 1
        if fresh:
            if fresh[-1].last != fresh[-1].seq:
                raise _refusal(
                    f"entry {fresh[-1].seq}", f"an end amid an operation up to {fresh[-1].last}", "all of it"
                )
            self._connection.execute(sa.insert(ENTRIES), [_plain(entry) for entry in fresh])

    def _upsert(self, table: sa.Table, row: Mapping[str, Any], *key: str, add: str = "") -> None:
        """Insert a row, or change the row of its key. To column `add`, the value is added."""
        dialect = postgresql if self._connection.dialect.name == "postgresql" else sqlite
        insert = dialect.insert(table).values(**row)
        new = {name: insert.excluded[name] for name in row if name not in key}
        if add:
            new[add] = table.c[add] + insert.excluded[add]
        if new:
            self._connection.execute(insert.on_conflict_do_update(index_elements=key, set_=new))
        else:
            self._connection.execute(insert.on_conflict_do_nothing(index_elements=key))


def same_key(table: Table, columns: sa.Table, key: Sequence[Any]) -> sa.ColumnElement[bool]:
    """Return the condition that a row of a domain's table has this key.

    Raise StoreRefused for a key of another length.
    """
    if len(key) != len(table.key):
        raise StoreRefused(complaint(f"key of {table.name}", key, ", ".join(table.key), "give a value for each"))
    values = dict(zip(table.key, key, strict=True))
    check_texts(values)
    return sa.and_(*(columns.c[name] == value for name, value in values.items()))


def referenced(connection: sa.Connection, digests: Iterable[str]) -> set[str]:
    """Return those of these digests that a picture has."""
    found: set[str] = set()
    wanted = list(digests)
    for start in range(0, len(wanted), 500):  # SQLite takes a bounded number of parameters
        part = wanted[start : start + 500]
        query = sa.select(PICTURES.c.digest).where(PICTURES.c.digest.in_(part)).distinct()
        found.update(connection.execute(query).scalars())
    return found


def _plain(entry: LedgerEntry) -> dict[str, Any]:
    """Return values with enums as plain texts, since a driver might write an enum's name."""
    source = None if entry.source is None else str(entry.source)
    return entry._asdict() | {"kind": str(entry.kind), "source": source}


def _last(table: sa.Table) -> sa.ColumnElement[int]:
    return sa.select(sa.func.coalesce(sa.func.max(table.c.seq), 0)).scalar_subquery()


def check_texts(row: Mapping[str, Any]) -> None:
    """Raise StoreRefused for a NUL in a text: PostgreSQL does not keep it, so SQLite must not either."""
    for name, value in row.items():
        if isinstance(value, str) and "\0" in value:
            raise _refusal(name, "a text with a NUL character", "text without")


def _refusal(what: str, got: str, allowed: str) -> StoreRefused:
    return StoreRefused(complaint(what, got, allowed, "correct the write; nothing of its batch was written"))
