"""Scrub deleted text from SQLite's files: overwrite free pages, empty the log, remove old copies."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from .database import Database
from .faults import FAULTS, translate

LOG: Final = logging.getLogger("salon.store")
COPY_DAYS: Final = 7.0  # age of a copy from before an upgrade at which it is removed: it has what was deleted meanwhile
WAIT_MS: Final = 200  # the longest wait for questions that still read the log; then it is emptied later
SCRUBBED: Final = 1  # SQLite's `user_version` of a database whose unused pages have no old text


class Scrubber:
    """Scrubs one database; of PostgreSQL it does nothing, which has its own means (VACUUM).

    One thread at a time uses it.

    Attributes:
        due: whether deleted text may still be in the log.
    """

    def __init__(self, database: Database, busy_s: float) -> None:
        self._database, self._busy_ms = database, int(busy_s * 1000)
        self.due = False

    def empty_log(self) -> None:
        """Put the write-ahead log into the database, and cut it to nothing.

        If a question is just reading it, this stays due. Errors are logged, and it stays due as well.
        """
        if not self._database.is_sqlite or not self.due:
            return
        try:
            with self._cursor() as cursor:
                cursor.execute(f"PRAGMA busy_timeout = {WAIT_MS}")
                try:
                    busy = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
                finally:
                    cursor.execute(f"PRAGMA busy_timeout = {self._busy_ms}")
            self.due = bool(busy)
        except FAULTS as error:
            LOG.warning("deleted text is still in the log: %s", translate(error, self._database.name))

    def overwrite_free_pages(self) -> None:
        """Overwrite the free pages of a database that an earlier version made, once, since they may have text in them.

        Errors are logged, and the next start tries again.
        """
        if not self._database.is_sqlite:
            return
        try:
            with self._cursor() as cursor:
                if cursor.execute("PRAGMA user_version").fetchone()[0] >= SCRUBBED:
                    return
                if cursor.execute("PRAGMA freelist_count").fetchone()[0]:
                    cursor.execute("VACUUM")
                cursor.execute(f"PRAGMA user_version = {SCRUBBED}")
            self.due = True
            self.empty_log()
        except FAULTS as error:
            LOG.warning("deleted text may still be in free pages: %s", translate(error, self._database.name))

    def drop_old_copies(self, max_age_s: float = COPY_DAYS * 86_400) -> None:
        """Remove old copies from before an upgrade, and the rest of one that was not finished. Errors are logged."""
        file = self._database.file
        if file is None:
            return
        for copy in copies_of(file):
            try:
                if copy.name.endswith(".part") or time.time() - copy.stat().st_mtime >= max_age_s:
                    copy.unlink()
                    LOG.info("removed an old copy of the database", extra={"file": copy.name})
            except FileNotFoundError:
                continue
            except OSError as error:
                LOG.warning("%s: %s; it has text in it that was deleted since", copy, error.strerror)

    @contextmanager
    def _cursor(self) -> Iterator[sqlite3.Cursor]:
        """Provide a cursor of the connection that writes, in no transaction."""
        connection = self._database.writer.raw_connection()
        try:
            with closing(connection.cursor()) as cursor:
                yield cursor  # type: ignore[misc]  # of the sqlite3 module
        finally:
            connection.close()  # gives it back to the pool


def copies_of(file: Path) -> list[Path]:
    """Return the copies that `migrations.copy_sqlite` left beside a database, FILE.vN and FILE.vN.part."""
    found = []
    for path in file.parent.glob(f"{file.name}.v*"):
        version = path.name.removeprefix(f"{file.name}.v").removesuffix(".part")
        if version.isdecimal():
            found.append(path)
    return sorted(found)
