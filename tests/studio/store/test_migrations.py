"""Older schemas are brought up to date, with a copy; newer ones and strange ones are refused."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from salon.scheduler.ledger import Ledger
from salon.studio.errors import StoreMismatch
from salon.studio.store import migrations
from salon.studio.store.domains.organize import HiddenRow, InFolderRow
from salon.studio.store.store import FILE, Store
from salon.studio.store.tables import VERSION
from salon.studio.store.writes import AddJob, DeleteJob, EndJob, Put

from .conftest import Place, job_row

FIRST = Path(__file__).with_name("schema-1.sql")


def run(place: Place, statements: Sequence[str]) -> None:
    """What another version, or something else, may have done to the database."""
    place.folder.mkdir(exist_ok=True)
    if place.url is None:
        with closing(sqlite3.connect(place.folder / FILE)) as connection:
            connection.executescript(";".join(statements))
        return
    engine = sa.create_engine(place.url.replace("postgresql", "postgresql+psycopg", 1))
    try:
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
    finally:
        engine.dispose()


def first(place: Place) -> list[str]:
    """The statements that make a store as the first version left it."""
    text = FIRST.read_text()
    if place.url is not None:
        for old, new in (("INTEGER", "BIGINT"), ("BLOB", "BYTEA"), ("TEXT", 'TEXT COLLATE "C"')):
            text = re.sub(rf"\b{old}\b", new, text)
    return [statement for statement in text.split(";\n") if statement.strip()]


def schema(store: Store) -> list[str]:
    """Everything that a schema says, in no order."""
    found: list[str] = []
    with store._database.writer.connect() as connection:
        look = sa.inspect(connection)
        for table in look.get_table_names():
            for column in look.get_columns(table):
                found.append(f"{table}.{column['name']} {column['type']!r} {column['nullable']} {column['default']}")
            for index in look.get_indexes(table):
                options = {name: str(value) for name, value in index.get("dialect_options", {}).items()}
                found.append(f"{table} {index['name']} {index['column_names']} {index['unique']} {options}")
            found += [f"{table} {look.get_pk_constraint(table)['constrained_columns']}"]
            found += [f"{table} {sorted(c['column_names'] for c in look.get_unique_constraints(table))}"]
            for key in look.get_foreign_keys(table):
                found.append(f"{table} {key['constrained_columns']} {key['referred_table']} {key['referred_columns']}")
        if not store._database.is_sqlite:
            columns = "SELECT collation_name FROM information_schema.columns WHERE data_type = 'text'"
            rows = connection.exec_driver_sql(f"{columns} AND table_schema = current_schema()")
            assert {row[0] for row in rows} == {"C"}
    return sorted(found)


def test_from_the_first_schema(place: Place, cluster_or_none: str | None, tmp_path: Path) -> None:
    run(place, first(place))
    store = place.open()
    store.check()
    assert [row.job for row in store.jobs(None)] == ["three", "two", "one"]
    assert [(picture.index, picture.size) for picture in store.pictures("one")] == [(-1, 100), (0, 20)]
    assert (store.usage("a"), store.usage("b"), store.stored_bytes()) == (140, 0, 140)
    assert store.begin_life() == 4
    assert store.meta(migrations.SCHEMA) == str(VERSION)
    assert Ledger.replay(store.all_entries()).balance("a") == 1000
    assert store.write([DeleteJob("one"), AddJob(job_row("four"))]) == ("aa",)
    store.check()
    migrated = schema(store)
    new = Place(cluster_or_none, tmp_path / "new")
    try:
        assert migrated == schema(new.open())
    finally:
        new.close()


def test_what_was_thought_of_deleted_jobs_goes(place: Place) -> None:
    store = place.open()
    for job in ("gone", "there"):
        store.write([AddJob(job_row(job)), EndJob(job, {"state": "done"})])
    store.write([DeleteJob("gone")])
    for job in ("gone", "there"):  # as the first version left them
        store.write([Put(HiddenRow(account="a", job=job))])
        store.write([Put(InFolderRow(account="a", folder="f", job=job, added_ms=1))])
    new = schema(store)
    store.close()
    before = [f"DROP INDEX {table}_by_job" for table in ("hidden", "in_folder")]
    run(place, [*before, "UPDATE meta SET value = '1' WHERE key = 'schema_version.organize'"])
    store = place.open()
    assert [row.job for row in store.rows(HiddenRow)] == [row.job for row in store.rows(InFolderRow)] == ["there"]
    assert schema(store) == new
    store.close()


@pytest.fixture
def cluster_or_none(place: Place, request: pytest.FixtureRequest) -> str | None:
    """The URL of another new store of the same database."""
    if place.url is None:
        return None
    cluster = request.getfixturevalue("cluster")
    return str(cluster.url(cluster.new_schema()))


def test_the_copy(sqlite_place: Place) -> None:
    run(sqlite_place, first(sqlite_place))
    sqlite_place.open().close()
    copy = sqlite_place.folder / f"{FILE}.v1"
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone() == ("1",)
        assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (3,)
    assert sorted(path.name for path in sqlite_place.folder.iterdir()) == ["lock", FILE, copy.name]
    copy.unlink()
    sqlite_place.open()
    assert not copy.exists()  # nothing was to be done


def test_a_step_that_fails_changes_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    run(place, first(place))

    def broken(connection: sa.Connection) -> None:
        steps[2](connection)
        raise KeyboardInterrupt

    steps = dict(migrations.STEPS)
    monkeypatch.setitem(migrations.STEPS, 2, broken)
    with pytest.raises(KeyboardInterrupt):
        place.open()
    monkeypatch.undo()
    store = place.open()
    assert store.usage("a") == 140
    store.check()


def test_a_newer_schema_is_refused(place: Place) -> None:
    place.open().close()
    run(place, ["UPDATE meta SET value = '99' WHERE key = 'schema_version'"])
    for _ in range(2):
        with pytest.raises(StoreMismatch, match=f"schema version 99, allowed at most {VERSION}"):
            place.open()
    run(place, [f"UPDATE meta SET value = '{VERSION}' WHERE key = 'schema_version'"])
    place.open().check()


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE jobs (a TEXT)"],
        ["CREATE TABLE meta (key TEXT, value TEXT)"],
        ["CREATE TABLE meta (key TEXT, value TEXT)", "INSERT INTO meta VALUES ('schema_version', 'one')"],
        ["CREATE TABLE meta (key TEXT, value TEXT)", "INSERT INTO meta VALUES ('schema_version', '1')"],
    ],
)
def test_a_database_of_something_else_is_refused(place: Place, statements: list[str]) -> None:
    run(place, statements)
    with pytest.raises(StoreMismatch, match="an empty database, or one of ours"):
        place.open()
