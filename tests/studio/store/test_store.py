"""What every store does, in SQLite and in PostgreSQL."""

from __future__ import annotations

import sqlite3
import threading
import traceback
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from salon.scheduler.ledger import Ledger
from salon.studio.errors import StoreError, StoreInUse, StoreMismatch, StoreRefused
from salon.studio.store import writes
from salon.studio.store.rows import AccountRow, JobRow
from salon.studio.store.store import FILE, Store
from salon.studio.store.writes import AddEntries, AddJob, DeleteJob, EndJob, PutAccount, SetJob, SetMeta, Write

from .conftest import TIMEOUT, Place, job_row, ledger_entries, picture_row

ENDED = {"state": "done", "ended_ms": 1_800_000_001_000}


def test_a_job_comes_back_as_it_was(store: Store) -> None:
    row = job_row("one", account="b", key="k")
    store.write([AddJob(row)])
    kept = msgspec.structs.replace(row, seq=1)
    assert store.job("one") == kept
    assert store.job_by_key("b", "k") == kept
    assert store.jobs("b") == store.jobs(None) == store.open_jobs() == (kept,)
    assert store.job("two") is None
    assert store.job_by_key("a", "k") is None
    assert store.pictures("one") == ()


def test_it_is_there_after_reopening(place: Place) -> None:
    store = place.open()
    account = AccountRow(account="b" * 64, name="Bea", role="operator", plan="pro", anchor_ms=5, blocked=True)
    pictures = tuple(picture_row("one", index) for index in (-1, 0, 1))
    entries = [entry for operation in ledger_entries(9) for entry in operation]
    store.write([AddJob(job_row("one")), SetMeta("a", "1"), PutAccount(account), AddEntries(tuple(entries))])
    store.write([EndJob("one", ENDED | {"charged_ms": 7, "last_event": 9, "step": 20}, pictures)])
    before = store.job("one")
    store.close()
    again = place.open()
    assert again.job("one") == before
    assert before is not None
    assert (before.state, before.charged_ms, before.last_event, before.step) == ("done", 7, 9, 20)
    assert again.pictures("one") == pictures
    assert (again.meta("a"), again.meta("b")) == ("1", None)
    assert again.account("b" * 64) == account
    assert list(again.all_entries()) == entries
    assert Ledger.replay(again.all_entries()).balance("a") == sum(entry.amount_ms for entry in entries)
    assert again.open_jobs() == ()
    again.write([AddJob(job_row("two"))])
    assert [row.job for row in again.jobs("a")] == ["two", "one"]
    again.check()


def test_lives_are_counted(place: Place) -> None:
    store = place.open()
    assert [store.begin_life(), store.begin_life()] == [1, 2]
    store.close()
    assert place.open().begin_life() == 3


@pytest.mark.parametrize(
    "bad",
    [
        AddJob(job_row("old", key="new")),
        AddJob(job_row("new", key="key of old")),
        AddJob(job_row("new", prompt="a\0b")),
        AddJob(job_row("new", prompt="a\ud800b")),
        AddJob(job_row("new", made_ms=2**63)),
        SetJob("nobody", {"step": 1}),
        SetJob("gone", {"step": 1}),
        EndJob("gone", ENDED),
        EndJob("old", ENDED, (picture_row("old", 0), picture_row("old", 0))),
        DeleteJob("old"),
        DeleteJob("nobody"),
        AddEntries(ledger_entries(3)[2]),
        AddEntries(ledger_entries(3)[1] + ledger_entries(3)[2][:-1]),
        SetMeta("a\0", ""),
        PutAccount(AccountRow(account="b", name="\0")),
    ],
    ids=lambda write: type(write).__name__,
)
def test_a_batch_with_a_bad_write_changes_nothing(store: Store, bad: Write) -> None:
    gone = AddJob(job_row("gone")), EndJob("gone", ENDED), DeleteJob("gone")
    store.write([AddJob(job_row("old")), *gone, AddEntries(ledger_entries(1)[0])])
    rows, entries = store.jobs(None), store.entries(None)
    good: list[Write] = [
        AddJob(job_row("other")),
        SetJob("old", {"state": "running"}),
        EndJob("other", ENDED, (picture_row("other"),)),
        SetMeta("a", "1"),
        PutAccount(AccountRow(account="a")),
    ]
    for batch in ([*good, bad], [good[0], bad, *good[1:]]):
        with pytest.raises(StoreRefused):
            store.write(batch)
        assert (store.jobs(None), store.entries(None)) == (rows, entries)
        assert (store.job("other"), store.meta("a"), store.account("a")) == (None, None, None)
        assert store.usage("a") == 0
    store.write(good)  # and the store is none the worse
    assert [row.seq for row in store.jobs(None)] == [3, 1]
    store.check()


@pytest.mark.parametrize("changes", [{}, {"job": "b"}, {"nothing": 1}, {"state": "lost"}, {"deleted": True}])
def test_impossible_changes_are_our_bugs(changes: dict[str, object]) -> None:
    with pytest.raises(AssertionError):
        SetJob("a", changes)
    with pytest.raises(AssertionError):
        EndJob("a", changes)
    with pytest.raises(AssertionError):
        EndJob("a", {"state": "running"})


def test_no_prompt_in_an_error(store: Store) -> None:
    store.write([AddJob(job_row("one"))])
    secret = "-".join("private")  # not as it stands in this file, which a traceback quotes
    with pytest.raises(StoreRefused) as caught:
        store.write([AddJob(job_row("one", prompt=secret))])
    assert secret not in "".join(traceback.format_exception(caught.value))


def test_every_changeable_field_changes(store: Store) -> None:
    store.write([AddJob(job_row("one"))])
    other = JobRow(job="one", account="a", key="", state="blocked")
    changes = {name: getattr(other, name) for name in writes.CHANGEABLE}
    store.write([SetJob("one", changes)])
    found = store.job("one")
    assert found is not None
    assert {name: getattr(found, name) for name in writes.CHANGEABLE} == changes


def test_pages_of_jobs(store: Store) -> None:
    store.write([AddJob(job_row(f"{i}", account="ab"[i % 2])) for i in range(30)])
    store.write([EndJob(f"{i}", ENDED | {"state": ("done", "failed")[i % 4 == 0]}) for i in range(0, 20)])
    store.write([DeleteJob("18"), SetJob("25", {"state": "running"})])
    seen: list[str] = []
    page, before = store.jobs("a", 0, 4), 0
    while page:
        seen += [row.job for row in page]
        before = page[-1].seq
        page = store.jobs("a", before, 4)
    assert seen == [f"{i}" for i in range(28, -1, -2) if i != 18]
    assert [row.job for row in store.jobs(None, 0, 3)] == ["29", "28", "27"]
    assert [row.job for row in store.jobs("b", 0, 3, ("running",))] == ["25"]
    assert [row.job for row in store.jobs("a", 0, 4, ("failed", "queued", "failed"))] == ["28", "26", "24", "22"]
    assert [row.job for row in store.jobs(None, 21, 3, ("failed", "done"))] == ["19", "17", "16"]
    assert [row.job for row in store.open_jobs()] == [f"{i}" for i in range(20, 30)]


def test_old_jobs(store: Store) -> None:
    store.write([AddJob(job_row(f"{i}")) for i in range(6)])
    store.write([EndJob(f"{i}", {"state": "done", "ended_ms": 100 - i}) for i in range(5)])
    store.write([DeleteJob("3"), SetJob("4", {"state": "queued"})])  # 4 is tried again
    assert [row.job for row in store.old_jobs(100, 9)] == ["2", "1"]
    assert [row.job for row in store.old_jobs(101, 2)] == ["2", "1"]
    assert store.old_jobs(98, 9) == ()


def test_a_deleted_job_is_a_tombstone(store: Store) -> None:
    same = picture_row("one", 0).digest
    store.write([AddJob(job_row("one")), AddJob(job_row("two"))])
    store.write([EndJob("one", ENDED | {"reason": "an apple"}, (picture_row("one", -1), picture_row("one", 0)))])
    store.write([EndJob("two", ENDED, (picture_row("two", 0, digest=same, size=30),))])
    assert store.usage("a") == store.stored_bytes() == 50
    assert store.write([DeleteJob("one")]) == (picture_row("one", -1).digest,)  # the other one is still of use
    assert store.referenced([same, picture_row("one", -1).digest]) == {same}
    row = store.job("one")
    assert row is not None
    assert (row.deleted, row.state, row.prompt, row.spec, row.reason) == (True, "done", "", b"", "")
    assert store.job_by_key("a", row.key) == row
    assert [job.job for job in store.jobs("a")] == ["two"]
    assert store.pictures("one") == ()
    assert store.usage("a") == store.stored_bytes() == 30
    assert store.write([DeleteJob("one")]) == ()
    assert store.write([DeleteJob("two")]) == (same,)
    assert store.usage("a") == store.stored_bytes() == 0
    store.check()


def test_a_second_end_replaces_the_pictures(store: Store) -> None:
    store.write([AddJob(job_row("one")), EndJob("one", ENDED, (picture_row("one", 0), picture_row("one", 1)))])
    new = (picture_row("one", 0), picture_row("one", 1, digest="0" * 64, size=7))
    assert store.write([EndJob("one", ENDED, new)]) == (picture_row("one", 1).digest,)
    assert store.pictures("one") == new
    assert store.usage("a") == 17


def test_nothing_is_freed_that_the_same_batch_uses_again(store: Store) -> None:
    picture = picture_row("one")
    store.write([AddJob(job_row("one")), EndJob("one", ENDED, (picture,))])
    again = msgspec.structs.replace(picture, job="two")
    assert store.write([DeleteJob("one"), AddJob(job_row("two")), EndJob("two", ENDED, (again,))]) == ()


def test_pages_walk_along_indices(sqlite_place: Place) -> None:
    """However many jobs there are, SQLite looks at those of the page: it reads no table through, and sorts nothing."""
    store = sqlite_place.open()
    asked: list[tuple[str, Any]] = []
    event = "before_cursor_execute"
    sa.event.listen(store._database.reader, event, lambda c, cursor, text, values, *_: asked.append((text, values)))
    for states in ((), ("failed",), ("failed", "done")):
        for account in ("a", None):
            store.jobs(account, 0, 20, states)
            store.jobs(account, 1000, 20, states)
    store.old_jobs(1000, 50)
    store.job("one")
    store.job_by_key("a", "k")
    store.pictures("one")
    store.referenced(["0" * 64])
    store.entries("a", 5, 10)
    store.entries(None, 5, 10)
    store.accounts("a", 10)
    store.usage("a")
    questions = [(text, values) for text, values in asked if text.startswith("SELECT")]
    assert len(questions) == 16 + 9
    with closing(sqlite3.connect(sqlite_place.folder / FILE)) as connection:
        for text, values in questions:
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", values)]
            whole = [step for step in plan if step.startswith("SCAN") and "jobs_live" not in step]
            assert not [step for step in plan if "TEMP B-TREE" in step], (text, plan)
            assert not whole, (text, plan)
            if "ended_ms BETWEEN" in text:
                assert "jobs_by_end" in plan[0]


def test_accounts(store: Store) -> None:
    ids = ["b", "B", "a-c", "ab", "ä", "10", "9"]
    store.write([PutAccount(AccountRow(account=account)) for account in ids])
    assert [row.account for row in store.accounts()] == sorted(ids)
    assert [row.account for row in store.accounts("a-c", 2)] == ["ab", "b"]
    store.write([PutAccount(AccountRow(account="b", plan="pro", quota_bytes=2**40))])
    assert store.account("b") == AccountRow(account="b", plan="pro", quota_bytes=2**40)
    assert len(store.accounts()) == 7


def test_entries(store: Store) -> None:
    operations = ledger_entries(60)
    entries = tuple(entry for operation in operations for entry in operation)
    half = sum(len(operation) for operation in operations[:30])
    store.write([AddEntries(entries[:half])])
    store.write([AddEntries(entries)])  # offered again, with more
    store.write([AddEntries(entries[half:])])
    assert tuple(store.all_entries()) == store.entries("a", 0, 1000) == store.entries(None, 0, 1000) == entries
    assert store.entries("a", 10, 3) == entries[10:13]
    assert store.entries("b") == ()
    with pytest.raises(StoreRefused, match="others than are stored"):
        store.write([AddEntries((entries[0]._replace(amount_ms=1),))])


def test_all_entries_come_page_by_page(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("salon.studio.store.reads.PAGE", 7)
    entries = tuple(entry for operation in ledger_entries(30) for entry in operation)
    store.write([AddEntries(entries)])
    assert tuple(store.all_entries()) == entries


def test_one_server_for_a_store(place: Place, tmp_path: Path) -> None:
    first = place.open()
    with pytest.raises(StoreInUse, match="in use by process"):
        place.open()
    if place.url is not None:  # nor from another folder
        with pytest.raises(StoreInUse, match="in use by another server"):
            place.open(tmp_path / "elsewhere", busy_s=0.2)
    first.close()
    first.close()
    place.open().check()


def test_questions_beside_writes(store: Store) -> None:
    """Readers in many threads see whole batches only."""
    store.write([AddJob(job_row("one")), SetMeta("a", "0")])
    wrong: list[object] = []
    stop = threading.Event()

    def read() -> None:
        try:
            while not stop.is_set():
                numbers = [row.step for row in store.jobs(None, 0, 100)]
                if len(set(numbers)) != 1:
                    wrong.append(numbers)
        except StoreError as error:
            wrong.append(error)

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    jobs = ["one"]
    for number in range(1, 25):
        jobs.append(f"job {number}")
        changes = [SetJob(job, {"step": number}) for job in jobs[:-1]]
        store.write([AddJob(job_row(jobs[-1], step=number)), *changes])
        seen = store.job(jobs[-1])
        assert seen is not None  # at once, where the writer looks itself
        assert seen.step == number
    stop.set()
    for thread in threads:
        thread.join(TIMEOUT)
    assert not wrong


def test_urls_of_another_kind(tmp_path: Path) -> None:
    for url in ("mysql://u:secret@h/d", "sqlite:///x.db", "nonsense", ""):
        with pytest.raises(StoreMismatch, match="postgresql://") as caught:
            Store.open(url, tmp_path)
        assert "secret" not in str(caught.value)
