"""What was deleted is in no file any more (house 4.11).

Deleted prompts stayed readable in pages that SQLite no longer used, in its write-ahead log, and in the copy that an
upgrade leaves beside the database.
"""

from __future__ import annotations

import os
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from salon.studio.store import scrub
from salon.studio.store.migrations import copy_sqlite
from salon.studio.store.store import FILE, Store
from salon.studio.store.writes import AddJob, DeleteJob, EndJob, SetJob

from .conftest import Place, job_row
from .test_migrations import first, run

MARK = b"zebra-9f3c1e"


def files_with(folder: Path, text: bytes = MARK) -> list[str]:
    """The files in whose bytes a text is."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and text in path.read_bytes())


def prompt(i: int, length: int) -> str:
    return f"{MARK.decode()} {i} " + "word " * length


def fill(store: Store, number: int) -> list[str]:
    """Jobs of every size, in pages of their own and in shared ones, changed and ended."""
    dice, jobs = random.Random(7), []
    for i in range(number):
        text = prompt(i, dice.choice((1, 3, 40, 400, 1200)))
        row = job_row(f"job {i}", prompt=text, spec=text.encode(), reason="")
        store.write([AddJob(row)])
        if i % 3:
            store.write([SetJob(row.job, {"note": "n" * dice.randrange(300), "started_ms": 5})])
        store.write([EndJob(row.job, {"state": "failed", "reason": f"{MARK.decode()} is wrong"})])
        jobs.append(row.job)
    return jobs


def test_a_deleted_prompt_is_in_no_file(sqlite_place: Place) -> None:
    store = sqlite_place.open()
    jobs = fill(store, 60)
    assert files_with(sqlite_place.folder)
    random.Random(3).shuffle(jobs)
    for start in range(0, len(jobs), 7):
        store.write([DeleteJob(job) for job in jobs[start : start + 7]])
    assert files_with(sqlite_place.folder) == []
    store.close()
    assert files_with(sqlite_place.folder) == []


def test_one_deleted_among_others_that_stay(sqlite_place: Place) -> None:
    store = sqlite_place.open()
    jobs = fill(store, 30)
    store.write([AddJob(job_row("secret", prompt="tapir-77aa " * 300))])
    store.write([EndJob("secret", {"state": "done"}), DeleteJob("secret")])
    assert files_with(sqlite_place.folder, b"tapir-77aa") == []
    assert len(store.jobs(None, limit=100)) == len(jobs)


def test_a_reader_of_the_log_only_delays_it(sqlite_place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deleting does not wait for a long question; the log is emptied with a later write, or by `tidy`."""
    monkeypatch.setattr(scrub, "WAIT_MS", 1)
    store = sqlite_place.open()
    fill(store, 4)
    laters = (lambda: store.write([AddJob(job_row("other"))]), store.tidy)
    with closing(sqlite3.connect(sqlite_place.folder / FILE, isolation_level=None)) as reader:
        for i, later in enumerate(laters):
            text = f"{MARK.decode()} {i} ".encode()
            reader.execute("BEGIN").execute("SELECT count(*) FROM jobs").fetchone()
            store.write([DeleteJob(f"job {i}")])
            assert files_with(sqlite_place.folder, text)
            reader.execute("ROLLBACK")
            later()
            assert files_with(sqlite_place.folder, text) == []
    store.close()


def test_free_pages_that_an_older_version_left(sqlite_place: Place) -> None:
    run(sqlite_place, first(sqlite_place))
    with closing(sqlite3.connect(sqlite_place.folder / FILE)) as old:
        old.execute("PRAGMA secure_delete = FAST")
        old.execute("CREATE TABLE pad (text TEXT)")
        old.execute("INSERT INTO pad VALUES (?)", (prompt(0, 8000),))
        old.commit()
        old.execute("DROP TABLE pad")
        old.commit()
    assert files_with(sqlite_place.folder) == [FILE]
    store = sqlite_place.open()
    assert files_with(sqlite_place.folder) == []  # not in the copy either: that is made of the pages in use
    store.close()


def test_copies_go_when_they_are_old(sqlite_place: Place) -> None:
    store = sqlite_place.open()
    fill(store, 2)
    file = sqlite_place.folder / FILE
    old, young = copy_sqlite(file, 1), copy_sqlite(file, 2)
    half, other = file.with_name(f"{FILE}.v1.part"), file.with_name(f"{FILE}.vault")
    half.write_bytes(MARK)
    other.write_bytes(b"")
    age = old.stat().st_mtime - scrub.COPY_DAYS * 86_400
    os.utime(old, (age, age))
    store.write([DeleteJob("job 0"), DeleteJob("job 1")])
    assert files_with(sqlite_place.folder) == [old.name, half.name, young.name]
    store.tidy()
    assert files_with(sqlite_place.folder) == [young.name]
    assert other.exists()
    store.close()


def test_the_settings_that_promises_stand_on(sqlite_place: Place) -> None:
    """A commit outlives a power cut, and what is deleted is overwritten: as the database says, not as we asked."""
    store = sqlite_place.open()
    for engine in (store._database.writer, store._database.reader):
        connection = engine.raw_connection()
        cursor = connection.cursor()
        found = {}
        for name in ("synchronous", "journal_mode", "secure_delete", "foreign_keys", "trusted_schema"):
            cursor.execute(f"PRAGMA {name}")
            found[name] = next(iter(cursor.fetchall()))[0]
        cursor.close()
        connection.close()
        full, on, off = 2, 1, 0
        assert found == {
            "synchronous": full, "journal_mode": "wal", "secure_delete": on, "foreign_keys": on, "trusted_schema": off,
        }  # fmt: skip
