"""What was deleted from SQLite leaves its files: pages are overwritten, the log is emptied, old copies go."""

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
COPY_DAYS: Final = 7.0  # that the copy from before an upgrade is kept: what is deleted meanwhile is still in it
WAIT_MS: Final = 200  # for questions that still read the log; then it is emptied another time
SCRUBBED: Final = 1  # SQLite's `user_version`: no page that nothing uses has old text in it


class Scrubber:
    """Of one database; does nothing for PostgreSQL, which has its own ways (VACUUM). Not for several threads at once.

    Attributes:
        due: something was deleted that may still be in the log.
    """

    def __init__(self, database: Database, busy_s: float) -> None:
        self._database, self._busy_ms = database, int(busy_s * 1000)
        self.due = False

    def empty_log(self) -> None:
        """Put the write-ahead log into the database, and cut it to nothing. Where a question reads it just now, that
        stays due; what goes wrong is logged, and stays due as well."""
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
        """Once for a database that an earlier version made: its free pages may have text in them. What goes wrong is
        logged, and tried again at the next start."""
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
        """Remove the copies that were made before an upgrade so long ago, and what is left of one that was not
        finished. What goes wrong is logged."""
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
        """Of the connection that writes, in no transaction."""
        connection = self._database.writer.raw_connection()
        try:
            with closing(connection.cursor()) as cursor:
                yield cursor  # type: ignore[misc]  # of the sqlite3 module
        finally:
            connection.close()  # back to the pool


def copies_of(file: Path) -> list[Path]:
    """The copies that `migrations.copy_sqlite` left beside a database, FILE.vN and FILE.vN.part."""
    found = []
    for path in file.parent.glob(f"{file.name}.v*"):
        version = path.name.removeprefix(f"{file.name}.v").removesuffix(".part")
        if version.isdecimal():
            found.append(path)
    return sorted(found)
