"""Make connections to SQLite or PostgreSQL: one that writes, and a few that read."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ...errors import complaint
from ..errors import StoreInUse, StoreLost, StoreMismatch, StoreMissing
from .sql import sa

READERS: Final = 4  # connections that are kept open; as many more are made when all are busy
# With these settings a network that swallows everything is noticed within half a minute. The server's own timeouts do
# not cover that.
_ALIVE: Final = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 25_000}
_KEY: Final = 0x53414C4F  # the key of the advisory lock in PostgreSQL


@dataclass(frozen=True)
class Database:
    """A chosen database. Nothing is connected before it is used.

    Attributes:
        name: its name in errors, without passwords.
        writer: an engine with one connection, whose transactions keep other writers out.
        reader: an engine whose transactions see one state, and cannot write.
        file: the file of SQLite, or None.
    """

    name: str
    writer: sa.Engine
    reader: sa.Engine
    file: Path | None = None

    @property
    def is_sqlite(self) -> bool:
        return self.file is not None

    def close(self) -> None:
        """Close the connections that are not in use. The writer comes last: SQLite then puts its log into the file."""
        self.reader.dispose()
        self.writer.dispose()


def sqlite_database(file: Path, busy_s: float) -> Database:
    """Choose SQLite in this file, with a write-ahead log that is flushed at every commit."""
    pragmas = (
        f"busy_timeout = {int(busy_s * 1000)}",
        "journal_mode = WAL",
        "synchronous = FULL",  # a commit outlives a power failure
        "foreign_keys = ON",
        "secure_delete = ON",  # a deleted prompt is overwritten, also in pages that are no longer used
        "journal_size_limit = 67108864",
        "trusted_schema = OFF",
        "mmap_size = 0",  # where pages are mapped, one that the disk cannot read is a SIGBUS, which ends the process
    )

    def engine(size: int, begin: str, *more: str) -> sa.Engine:
        made = sa.create_engine(
            sa.URL.create("sqlite", database=str(file)),
            poolclass=sa.QueuePool,
            pool_size=size,
            max_overflow=size if size > 1 else 0,
            pool_timeout=busy_s,
            hide_parameters=True,  # prompts must not get into a log
            connect_args={"check_same_thread": False, "timeout": busy_s},
        )

        @sa.event.listens_for(made, "connect")
        def connected(connection: sqlite3.Connection, record: Any) -> None:
            connection.isolation_level = None  # else the module would begin transactions by itself, and too late
            with _closed_unless_ready(connection), closing(connection.cursor()) as cursor:
                for pragma in (*pragmas, *more):
                    cursor.execute(f"PRAGMA {pragma}").fetchall()

        @sa.event.listens_for(made, "begin")
        def begins(connection: sa.Connection) -> None:
            connection.exec_driver_sql(begin)

        return made

    writer = engine(1, "BEGIN IMMEDIATE")  # at once, since a later request for the lock can fail without waiting
    return Database(str(file), writer, engine(READERS, "BEGIN", "query_only = ON"), file)


def postgres_database(url: str, busy_s: float) -> Database:
    """Choose PostgreSQL. The writer holds an advisory lock: one server for one schema of a database.

    Raises:
        StoreMismatch: the URL is of another kind.
        StoreMissing: psycopg is not installed.
    """
    try:
        parsed = sa.make_url(url)
        known = parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg")
    except (sa.exc.ArgumentError, ValueError):
        known = False
    if not known:
        kind = repr(url.split(":")[0][:40])  # the rest may hold a password
        raise StoreMismatch(complaint("database", f"a URL of kind {kind}", "postgresql://...", "or give none: SQLite"))
    parsed = parsed.set(drivername="postgresql+psycopg")
    name = parsed.render_as_string(hide_password=True).replace("+psycopg", "", 1)
    ms = int(busy_s * 1000)
    settings = f"SET lock_timeout = {ms}; SET statement_timeout = {ms + 30_000}"

    def engine(size: int, isolation: Any) -> sa.Engine:
        try:
            return sa.create_engine(
                parsed,
                poolclass=sa.QueuePool,
                pool_size=size,
                max_overflow=size if size > 1 else 0,
                pool_timeout=busy_s,
                hide_parameters=True,
                isolation_level=isolation,
                connect_args={"connect_timeout": max(2, int(busy_s)), **_ALIVE},
            )
        except ImportError as error:
            remedy = "run: pip install 'salon[postgres]'"
            raise StoreMissing(complaint("store", "no package psycopg", "it is installed", remedy)) from error

    writer, reader = engine(1, "READ COMMITTED"), engine(READERS, "REPEATABLE READ")

    @sa.event.listens_for(writer, "connect")
    def owns(connection: Any, record: Any) -> None:
        """Take the lock on every connection that writes, also on one that is made after the database was away."""
        deadline = time.monotonic() + busy_s
        with _closed_unless_ready(connection), connection.cursor() as cursor:
            cursor.execute(f"{settings}; SET synchronous_commit = on")
            while not cursor.execute(f"SELECT pg_try_advisory_lock({_KEY}, hashtext(current_schema()))").fetchone()[0]:
                if time.monotonic() > deadline:  # the lock of a dead server is free as soon as its end is noticed
                    allowed, remedy = "one server for a schema", "stop that one, or choose another database"
                    raise StoreInUse(complaint(f"store {name}", "in use by another server", allowed, remedy))
                time.sleep(0.05)
            connection.commit()

    @sa.event.listens_for(reader, "connect")
    def reads(connection: Any, record: Any) -> None:
        with _closed_unless_ready(connection):
            connection.execute(f"{settings}; SET default_transaction_read_only = on")
            connection.commit()

    return Database(name, writer, reader)


@contextmanager
def _closed_unless_ready(connection: Any) -> Iterator[None]:
    """Close a new connection if it cannot be used, instead of leaving that to the garbage collector."""
    try:
        yield
    except BaseException:
        connection.close()
        raise


def file_of(database: Database) -> tuple[int, int] | None:
    """Return what identifies SQLite's file, under any name; None for PostgreSQL.

    Raise StoreLost if the file is gone.
    """
    if database.file is None:
        return None
    try:
        found = database.file.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise _lost(database, "a file that is no longer there") from None
    return found.st_dev, found.st_ino


def check_alive(database: Database, opened: tuple[int, int] | None) -> None:
    """Raise StoreLost if SQLite's file is no longer the one that was `opened`.

    What is written to such a file would vanish.
    """
    if file_of(database) != opened:
        raise _lost(database, "another file than was opened")


def _lost(database: Database, got: str) -> StoreLost:
    remedy = "restore it from its last copy, and start again"
    return StoreLost(complaint(f"store {database.name}", got, "that it stays", remedy))
