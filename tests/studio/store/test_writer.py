"""The writer thread: order, groups, failures that stay with their put, and its end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

import pytest

from salon.studio.errors import StoreBusy, StoreClosed, StoreError, StoreRefused
from salon.studio.store.store import Store
from salon.studio.store.writer import Done, Writer
from salon.studio.store.writes import AddEntries, AddJob, DeleteJob, EndJob, SetJob, SetMeta, Write

from .conftest import TIMEOUT, job_row, ledger_entries, picture_row


class Counted:
    """A store that counts transactions, and can be made to wait before one."""

    def __init__(self, store: Store) -> None:
        self.store, self.sizes, self.go = store, list[int](), threading.Event()
        self.go.set()

    def write(self, writes: Sequence[Write]) -> tuple[str, ...]:
        assert self.go.wait(TIMEOUT)
        self.sizes.append(len(writes))
        return self.store.write(writes)


@pytest.fixture
def counted(store: Store) -> Counted:
    return Counted(store)


def note(told: list[tuple[str, StoreError | None]], name: str) -> Done:
    return lambda error: told.append((name, error))


def test_what_waits_goes_together_in_its_order(counted: Counted) -> None:
    told: list[tuple[str, StoreError | None]] = []
    counted.go.clear()
    writer = Writer(counted, max_group=10)
    writer.put([SetMeta("first", "")])
    for i in range(25):
        writer.put([AddJob(job_row(f"{i}")), SetJob(f"{i}", {"step": i})], note(told, f"{i}"))
    counted.go.set()
    assert writer.close(TIMEOUT)
    assert told == [(f"{i}", None) for i in range(25)]
    assert [row.job for row in counted.store.open_jobs()] == [f"{i}" for i in range(25)]
    assert sum(counted.sizes) == 51
    assert len(counted.sizes) <= 4
    assert max(counted.sizes) <= 20


def test_a_bad_put_fails_alone(counted: Counted) -> None:
    told: list[tuple[str, StoreError | None]] = []
    counted.go.clear()
    writer = Writer(counted)
    writer.put([])
    puts: dict[str, list[Write]] = {
        "good": [AddJob(job_row("good"))],
        "bad": [AddJob(job_row("half")), SetJob("nobody", {"step": 1})],
        "other": [SetJob("good", {"step": 3})],
        "of half": [SetJob("half", {"step": 3})],
    }
    for name, writes in puts.items():
        writer.put(writes, note(told, name))
    counted.go.set()
    assert writer.close(TIMEOUT)
    assert [(name, type(error)) for name, error in told] == [
        ("good", type(None)), ("bad", StoreRefused), ("other", type(None)), ("of half", StoreRefused),
    ]  # fmt: skip
    assert [(row.job, row.step) for row in counted.store.open_jobs()] == [("good", 3)]


def test_entries_go_first_and_are_offered_until_they_are_stored(counted: Counted) -> None:
    offered = [AddEntries(operation) for operation in ledger_entries(40)]
    every = [entry for write in offered for entry in write.entries]
    calls: list[str | bool] = []
    taken = 0

    def before() -> list[AddEntries]:
        nonlocal taken
        calls.append("before")
        taken = min(3, len(offered))
        return offered[:3]

    def after(ok: bool) -> None:
        calls.append(ok)
        if ok:
            del offered[:taken]

    writer = Writer(counted, before, after, max_group=4)
    bad = [SetJob("nobody", {"step": 1})]
    told: list[tuple[str, StoreError | None]] = []
    for i in range(20):
        writer.put(bad if i % 5 == 0 else [SetMeta("a", f"{i}")], note(told, f"{i}"))
    while offered:
        turn = threading.Event()
        writer.put([], lambda error, turn=turn: turn.set())  # type: ignore[misc]
        assert turn.wait(TIMEOUT)
    assert writer.close(TIMEOUT)
    assert [error is None for _, error in told] == [i % 5 != 0 for i in range(20)]
    assert list(counted.store.all_entries()) == every
    assert calls[::2] == ["before"] * (len(calls) // 2)
    assert set(calls[1::2]) == {True, False}


def test_what_is_collected_is_stored_at_the_end(counted: Counted) -> None:
    offered = [AddEntries(operation) for operation in ledger_entries(4)]
    writer = Writer(counted, lambda: offered)
    assert writer.close(TIMEOUT)
    assert len(list(counted.store.all_entries())) == sum(len(write.entries) for write in offered)


def test_freed_digests_are_told(store: Store) -> None:
    freed: list[tuple[str, ...]] = []
    writer = Writer(store, freed=freed.append)
    picture = picture_row("one")
    writer.put([AddJob(job_row("one")), EndJob("one", {"state": "done", "ended_ms": 1}, (picture,))])
    writer.put([DeleteJob("one")])
    assert writer.close(TIMEOUT)
    assert freed == [(picture.digest,)]


def test_too_many_wait(counted: Counted) -> None:
    told: list[tuple[str, StoreError | None]] = []
    counted.go.clear()
    writer = Writer(counted, max_waiting=3)
    writer.put([], note(told, "on its way"))
    while writer.num_waiting:
        threading.Event().wait(0.001)
    for name in "abc":
        writer.put([SetMeta(name, "")], note(told, name))
    with pytest.raises(StoreBusy, match="3 puts that wait"):
        writer.put([SetMeta("d", "")], note(told, "d"))
    counted.go.set()
    assert writer.close(TIMEOUT)
    assert told == [(name, None) for name in ("on its way", "a", "b", "c")]
    assert counted.store.meta("d") is None


def test_after_the_end(store: Store) -> None:
    writer = Writer(store)
    assert writer.close(TIMEOUT)
    assert writer.close(TIMEOUT)
    with pytest.raises(StoreClosed):
        writer.put([SetMeta("a", "1")])


def test_an_end_that_takes_too_long(counted: Counted) -> None:
    """Whatever waits is told; what is under way is told when it is done."""
    told: list[tuple[str, StoreError | None]] = []
    counted.go.clear()
    writer = Writer(counted, max_group=1)
    for name in ("first", "second", "third"):
        writer.put([SetMeta(name, "")], note(told, name))
    while writer.num_waiting > 2:
        threading.Event().wait(0.001)
    assert not writer.close(0.05)
    assert [(name, type(error)) for name, error in told] == [("second", StoreClosed), ("third", StoreClosed)]
    counted.go.set()
    assert writer.close(TIMEOUT)
    assert told[-1] == ("first", None)


def test_nothing_that_is_called_ends_the_thread(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    told: list[tuple[str, StoreError | None]] = []
    broken = [True]

    def bad(*arguments: object) -> None:
        raise ValueError("not ours")

    def before() -> Sequence[Write]:
        if broken.pop() if broken else False:
            raise ValueError("nothing to give")
        return ()

    with caplog.at_level(logging.ERROR, "salon.store"):
        writer = Writer(store, before, bad, freed=bad)
        first = threading.Event()

        def done(error: StoreError | None) -> None:
            told.append(("first", error))
            first.set()

        writer.put([SetMeta("a", "1")], done)
        assert first.wait(TIMEOUT)
        writer.put([SetMeta("a", "2")], bad)
        writer.put([SetMeta("b", "3")], note(told, "last"))
        assert writer.close(TIMEOUT)
    assert told[-1] == ("last", None)
    assert isinstance(told[0][1], StoreError)
    assert "nothing to give" in str(told[0][1])
    assert (store.meta("a"), store.meta("b")) == ("2", "3")
    assert "the callback 'done' of the writer failed" in caplog.text
