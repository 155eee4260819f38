"""Store jobs, pictures, accounts and ledger entries on disk, in SQLite or in PostgreSQL."""

from __future__ import annotations

import itertools
import secrets
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from ...system import flush_folder, make_folder
from .database import Database, check_alive, file_of, postgres_database, sqlite_database
from .files import translate_os
from .folder_lock import FolderLock
from .migrations import copy_sqlite, prepare
from .reads import Reads
from .scrub import Scrubber
from .sql import sa
from .tables import META
from .transaction import Ends, Transaction
from .writes import DeleteJob, Write

T = TypeVar("T")
FILE: Final = "salon.db"
LIFE: Final = "life"  # a key of meta
COMMIT: Final = "commit"  # a key of meta: the latest transaction, to tell whether it was stored if its answer was lost


class Store(Reads):
    """A store. Any thread may ask questions (see `Reads`), beside a write; writes wait for each other.

    One process at a time has a store open. `Store.open` makes one.
    """

    def __init__(self, database: Database, lock: FolderLock, busy_s: float) -> None:
        super().__init__(database, busy_s)
        self._lock = lock
        self._writing = threading.Lock()
        self._scrubber = Scrubber(database, busy_s)
        self._file: tuple[int, int] | None = None
        self._ends: Ends | None = None  # None: the database has to be asked
        self._names = (f"{secrets.token_hex(8)}.{i}" for i in itertools.count())

    @classmethod
    def open(cls, url: str | None, folder: Path, *, busy_s: float = 5.0) -> Store:
        """Open a store, or make one. An older one is brought up to date, after a copy of its file (of SQLite).

        Args:
            url: postgresql://...; None: SQLite in folder/salon.db.
            folder: the folder; it is made if it does not exist, and locked until `close`.
            busy_s: how long to wait for a lock, or for a database that is away, in seconds.

        Raises:
            StoreInUse: another server has the folder or the database.
            StoreMismatch: the schema is newer, the tables are not a store's, or the URL is of another kind.
            StoreMissing: the driver is not installed.
            StoreError: as for any write.
        """
        try:
            make_folder(folder, 0o700)
        except OSError as error:
            raise translate_os(error, str(folder)) from error
        lock = FolderLock(folder)
        database = None
        try:
            database = sqlite_database(folder / FILE, busy_s) if url is None else postgres_database(url, busy_s)
            store = cls(database, lock, busy_s)
            store._prepare()
            try:
                flush_folder(folder)
            except OSError as error:
                raise translate_os(error, str(folder)) from error
            return store
        except BaseException:
            if database is not None:
                database.close()
            lock.close()
            raise

    def close(self) -> None:
        """Close the database and release the folder, when a write that is under way has ended.

        A second call changes nothing.
        """
        with self._writing:
            self._database.close()
            self._lock.close()

    # ---- writing ---------------------------------------------------------------------------------------------------

    def write(self, writes: Sequence[Write]) -> tuple[str, ...]:
        """Apply writes in order, in one transaction. When this returns all are on disk; if it raises, none is.

        Returns:
            Digests of pictures that no job has any more.

        Raises:
            StoreRefused: a write contradicts what is stored.
            StoreFull, StoreLocked, StoreLost, StoreBroken: as their docstrings say. After a StoreLost of PostgreSQL the
                writes may be stored all the same, if the connection broke in the middle of the commit and stayed away.
        """
        if not writes:
            return ()
        freed = self._transact(lambda transaction, _: transaction.apply(writes))
        if self._scrubber.due or any(isinstance(write, DeleteJob) for write in writes):
            with self._writing:
                self._scrubber.due = True
                self._scrubber.empty_log()
        return freed

    def tidy(self) -> None:
        """Remove deleted text that may still be in some file. This never raises; once an hour is enough."""
        with self._writing:
            self._scrubber.empty_log()
            self._scrubber.drop_old_copies()

    def begin_life(self) -> int:
        """Return the number of this start, one more than the last. It is on disk when this returns."""

        def step(transaction: Transaction, connection: sa.Connection) -> int:
            last = connection.execute(sa.select(META.c.value).where(META.c.key == LIFE)).scalar()
            transaction.put_meta(LIFE, str(int(last or 0) + 1))
            return int(last or 0) + 1

        return self._transact(step)

    def _transact(self, work: Callable[[Transaction, sa.Connection], T]) -> T:
        name = next(self._names)
        results: list[T] = []

        def attempt() -> T:
            ends, self._ends = self._ends, None
            check_alive(self._database, self._file)
            with self._database.writer.begin() as connection:
                if not self._database.is_sqlite:
                    if results and self._is_stored(connection, name):
                        return results[-1]  # the connection broke after the commit, but before its answer
                    results.clear()
                ends = ends or Ends.read(connection)
                transaction = Transaction(connection, ends)
                result = work(transaction, connection)
                if not self._database.is_sqlite:
                    transaction.put_meta(COMMIT, name)
                results.append(result)
            self._ends = ends
            return result

        with self._writing:
            return self._try(attempt)

    @staticmethod
    def _is_stored(connection: sa.Connection, name: str) -> bool:
        return connection.execute(sa.select(META.c.value).where(META.c.key == COMMIT)).scalar() == name

    def _prepare(self) -> None:
        file = self._database.file

        def attempt() -> None:
            with self._database.writer.begin() as connection:
                prepare(connection, self._database.name, lambda version: file and copy_sqlite(file, version))

        self._try(attempt)
        self._scrubber.overwrite_free_pages()
        self._file = file_of(self._database)
