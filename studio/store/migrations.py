"""Bring older schemas up to date, step by step, in one transaction.

A step writes its SQL out: it must do the same for ever, also when `tables.py` changes.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ...errors import complaint
from ...system import flush_file, flush_folder
from ..errors import StoreMismatch
from .domains import domains
from .faults import translate
from .files import translate_os
from .registered import made_of, taken
from .sql import sa
from .tables import JOBS, META, METADATA, VERSION

SCHEMA: Final = "schema_version"  # in meta


def _to_2(connection: sa.Connection) -> None:
    """Keep the sums of the pictures' sizes instead of computing them, and take tombstones out of the indices."""
    postgres = connection.dialect.name == "postgresql"
    text, whole = ('TEXT COLLATE "C"', "BIGINT") if postgres else ("TEXT", "INTEGER")
    live = "NOT deleted" if postgres else "deleted = 0"
    for statement in (
        f"CREATE TABLE usage (account {text} NOT NULL, bytes {whole} NOT NULL, PRIMARY KEY (account))",
        "INSERT INTO usage (account, bytes) SELECT jobs.account, sum(pictures.size) FROM pictures"
        " JOIN jobs ON jobs.job = pictures.job GROUP BY jobs.account",
        "DROP INDEX jobs_of_account",
        "DROP INDEX jobs_in_state",
        f"CREATE INDEX jobs_of_account ON jobs (account, seq) WHERE {live}",
        f"CREATE INDEX jobs_of_account_in_state ON jobs (account, state, seq) WHERE {live}",
        f"CREATE INDEX jobs_in_state ON jobs (state, seq) WHERE {live}",
        f"CREATE INDEX jobs_by_end ON jobs (ended_ms, seq) WHERE {live}",
        f"CREATE INDEX jobs_live ON jobs (seq) WHERE {live}",
    ):
        connection.exec_driver_sql(statement)


def _to_3(connection: sa.Connection) -> None:
    """Give every job a kind, and pictures that it starts from."""
    text = 'TEXT COLLATE "C"' if connection.dialect.name == "postgresql" else "TEXT"
    connection.exec_driver_sql(f"ALTER TABLE jobs ADD COLUMN kind {text} NOT NULL DEFAULT 'imagine'")
    connection.exec_driver_sql(f"ALTER TABLE jobs ADD COLUMN sources {text} NOT NULL DEFAULT ''")


def _to_4(connection: sa.Connection) -> None:
    """Give every job what of its prompt is left out or replaced."""
    text = 'TEXT COLLATE "C"' if connection.dialect.name == "postgresql" else "TEXT"
    connection.exec_driver_sql(f"ALTER TABLE jobs ADD COLUMN notes {text} NOT NULL DEFAULT ''")


def _to_5(connection: sa.Connection) -> None:
    """Give every job the texts that it made in place of pictures."""
    text = 'TEXT COLLATE "C"' if connection.dialect.name == "postgresql" else "TEXT"
    connection.exec_driver_sql(f"ALTER TABLE jobs ADD COLUMN texts {text} NOT NULL DEFAULT ''")


def _to_6(connection: sa.Connection) -> None:
    """List all jobs in narrow rows. What searches find of them, the service adds later."""
    postgres = connection.dialect.name == "postgresql"
    text, whole = ('TEXT COLLATE "C"', "BIGINT") if postgres else ("TEXT", "INTEGER")
    shown, live = ("NOT private", "NOT jobs.deleted") if postgres else ("private = 0", "jobs.deleted = 0")
    for statement in (
        f"CREATE TABLE listed (account {text} NOT NULL, seq {whole} NOT NULL, job {text} NOT NULL,"
        f" made_ms {whole} NOT NULL, kind {text} NOT NULL, lane {text} NOT NULL, state {text} NOT NULL,"
        f" private BOOLEAN NOT NULL, pictures {whole} NOT NULL, model {text} NOT NULL, words {text},"
        f" PRIMARY KEY (account, seq)){'' if postgres else ' WITHOUT ROWID'}",
        "INSERT INTO listed (account, seq, job, made_ms, kind, lane, state, private, pictures, model)"
        " SELECT account, seq, job, made_ms, kind, lane, state, private,"
        " (SELECT count(*) FROM pictures WHERE pictures.job = jobs.job AND pictures.\"index\" >= 0), ''"
        f" FROM jobs WHERE {live}",
        "CREATE UNIQUE INDEX listed_by_job ON listed (job)",
        f"CREATE INDEX listed_public ON listed (seq) WHERE {shown}",
    ):
        connection.exec_driver_sql(statement)


STEPS: Final[dict[int, Callable[[sa.Connection], None]]] = {
    2: _to_2,
    3: _to_3,
    4: _to_4,
    5: _to_5,
    6: _to_6,
}  # by the version that they lead to
assert sorted(STEPS) == list(range(2, VERSION + 1)), "a version without its step"


def prepare(connection: sa.Connection, name: str, backup: Callable[[int], object]) -> None:
    """Make the tables, or bring them up to date. `backup` is called with the version of older ones before they change.

    Raises:
        StoreMismatch: the tables are of a newer version, or not a store's.
    """
    tables = set(sa.inspect(connection).get_table_names())
    copied = _prepare_ours(connection, name, tables, backup)
    _prepare_domains(connection, name, tables, (lambda version: None) if copied else backup)


def _prepare_ours(connection: sa.Connection, name: str, tables: set[str], backup: Callable[[int], object]) -> bool:
    """Prepare the tables of this package. Return whether `backup` was called, or there was nothing to copy."""
    remedy = "install that version of Salon, or choose another folder or database"
    if META.name not in tables:
        if strange := sorted(tables & taken()):
            got = f"tables of something else ({', '.join(strange)})"
            raise StoreMismatch(complaint(f"store {name}", got, "an empty database, or one of ours", remedy))
        METADATA.create_all(connection, checkfirst=False)
        connection.execute(sa.insert(META), {"key": SCHEMA, "value": str(VERSION)})
        return True
    found = connection.execute(sa.select(META.c.value).where(META.c.key == SCHEMA)).scalar()
    if found is None or not found.isdecimal() or JOBS.name not in tables:
        got = f"a table {META.name} without our {SCHEMA}"
        raise StoreMismatch(complaint(f"store {name}", got, "an empty database, or one of ours", remedy))
    if int(found) > VERSION:
        got = f"schema version {found}"
        raise StoreMismatch(complaint(f"store {name}", got, f"at most {VERSION}, by this version of Salon", remedy))
    if int(found) < VERSION:
        backup(int(found))
        for version in range(int(found) + 1, VERSION + 1):
            STEPS[version](connection)
        connection.execute(sa.update(META).where(META.c.key == SCHEMA).values(value=str(VERSION)))
        return True
    return False


def _prepare_domains(connection: sa.Connection, name: str, tables: set[str], backup: Callable[[int], object]) -> None:
    """Prepare the tables of the domains, each of which has a version of its own in META."""
    query = sa.select(META.c.key, META.c.value).where(META.c.key.like(f"{SCHEMA}.%"))
    found = {key.removeprefix(f"{SCHEMA}."): value for key, value in connection.execute(query)}
    known, copied = domains(), False
    for domain, value in found.items():
        most = known[domain].VERSION if domain in known else 0
        if not value.isdecimal() or int(value) > most:
            allowed = f"at most version {most}" if most else f"domains {', '.join(known) or '(none)'}"
            remedy = "install the version of Salon that made it, or choose another folder or database"
            raise StoreMismatch(complaint(f"store {name}", f"domain {domain} {value}", allowed, remedy))
    for domain, module in known.items():
        key = f"{SCHEMA}.{domain}"
        if domain not in found:
            names = [table.name for table in module.TABLES]
            if strange := sorted(tables & set(names)):
                got = f"tables of something else ({', '.join(strange)})"
                raise StoreMismatch(complaint(f"store {name}", got, "none of that name", "rename or drop them"))
            for table in module.TABLES:
                made_of(table).create(connection, checkfirst=False)
            connection.execute(sa.insert(META), {"key": key, "value": str(module.VERSION)})
            continue
        at = int(found[domain])
        if at < module.VERSION:
            if not copied:
                backup(VERSION)
                copied = True
            for version in range(at + 1, module.VERSION + 1):
                module.STEPS[version](connection)
            connection.execute(sa.update(META).where(META.c.key == key).values(value=str(module.VERSION)))


def copy_sqlite(file: Path, version: int) -> Path:
    """Copy a SQLite database to FILE.vN beside it. The copy is complete on disk before it has that name."""
    target = file.with_name(f"{file.name}.v{version}")
    half = target.with_name(f"{target.name}.part")
    try:
        half.unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as source:
            source.execute("VACUUM INTO ?", (str(half),))  # leaves out free pages, and with them what was deleted
        with half.open("rb") as copied:
            flush_file(copied.fileno(), half)
        half.replace(target)
        flush_folder(file.parent)
    except sqlite3.Error as error:
        half.unlink(missing_ok=True)
        raise translate(error, str(half)) from error
    except OSError as error:
        half.unlink(missing_ok=True)
        raise translate_os(error, str(half)) from error
    return target
