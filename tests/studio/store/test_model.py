"""Any sequence of writes and questions, against plain dicts."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from salon.studio.errors import StoreRefused
from salon.studio.store.rows import FINAL, OPEN, STATES, AccountRow, JobRow, PictureRow
from salon.studio.store.store import Store
from salon.studio.store.writes import AddEntries, AddJob, DeleteJob, EndJob, PutAccount, SetJob, SetMeta, Write

from .conftest import Cluster, ledger_entries, picture_row

OPERATIONS = ledger_entries(40)
NAMES = st.sampled_from(["a", "b", "c", "d", "e", "f"])
ACCOUNTS = st.sampled_from(["x", "y"])
TIMES = st.integers(1, 9)

ADD = st.builds(
    lambda job, account, key, prompt: AddJob(JobRow(job=job, account=account, key=key, prompt=prompt, spec=b"s")),
    NAMES, ACCOUNTS, NAMES, st.text(max_size=5),
)  # fmt: skip
SET = st.builds(
    lambda job, state, step: SetJob(job, {"state": state, "step": step}), NAMES, st.sampled_from(OPEN), TIMES
)
END = st.builds(
    lambda job, state, ended, pictures: EndJob(
        job,
        {"state": state, "ended_ms": ended},
        tuple(picture_row(job, index, digest=digest * 64, size=size) for index, (digest, size) in pictures.items()),
    ),
    NAMES, st.sampled_from(FINAL), TIMES,
    st.dictionaries(st.integers(-1, 2), st.tuples(st.sampled_from("0123"), st.integers(0, 9)), max_size=3),
)  # fmt: skip
ACCOUNT = st.builds(lambda account, quota: PutAccount(AccountRow(account=account, quota_bytes=quota)), NAMES, TIMES)
WRITE = st.one_of(ADD, SET, END, END, st.builds(DeleteJob, NAMES), ACCOUNT, st.builds(SetMeta, NAMES, st.text("ab")))


class Refused(Exception):
    """The model's."""


class Model:
    """What a store is, without any database."""

    def __init__(self) -> None:
        self.jobs: dict[str, JobRow] = {}
        self.pictures: dict[str, tuple[PictureRow, ...]] = {}
        self.accounts: dict[str, AccountRow] = {}
        self.meta: dict[str, str] = {}

    def copy(self) -> Model:
        other = Model()
        for name, value in vars(self).items():
            setattr(other, name, dict(value))
        return other

    def digests(self) -> set[str]:
        return {picture.digest for pictures in self.pictures.values() for picture in pictures}

    def apply(self, write: Write) -> None:
        if isinstance(write, AddJob):
            row = write.row
            taken = any((other.account, other.key) == (row.account, row.key) for other in self.jobs.values())
            if row.job in self.jobs or taken or "\0" in row.prompt:
                raise Refused
            self.jobs[row.job] = msgspec.structs.replace(row, seq=len(self.jobs) + 1)
        elif isinstance(write, SetJob | EndJob):
            if write.job not in self.jobs or self.jobs[write.job].deleted:
                raise Refused
            self.jobs[write.job] = msgspec.structs.replace(self.jobs[write.job], **write.changes)
            if isinstance(write, EndJob):
                self.pictures[write.job] = tuple(sorted(write.pictures, key=lambda picture: picture.index))
        elif isinstance(write, DeleteJob):
            if write.job not in self.jobs or self.jobs[write.job].state in OPEN:
                raise Refused
            gone = {"deleted": True, "prompt": "", "spec": b"", "reason": ""}
            self.jobs[write.job] = msgspec.structs.replace(self.jobs[write.job], **gone)
            self.pictures.pop(write.job, None)
        elif isinstance(write, PutAccount):
            self.accounts[write.row.account] = write.row
        elif isinstance(write, SetMeta):
            self.meta[write.key] = write.value


class Machine(RuleBasedStateMachine):
    """A store and its model."""

    place: Callable[[], str | None]

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="salon-model-"))
        self.url = type(self).place()
        self.store = Store.open(self.url, self.folder)
        self.model, self.operations, self.lives = Model(), 0, 0

    def teardown(self) -> None:
        self.look()
        self.store.check()
        self.store.close()
        shutil.rmtree(self.folder)

    @rule(writes=st.lists(WRITE, max_size=6))
    def write(self, writes: list[Write]) -> None:
        wanted = self.model.copy()
        try:
            for write in writes:
                wanted.apply(write)
        except Refused:
            with pytest.raises(StoreRefused):
                self.store.write(writes)
            return
        freed = self.store.write(writes)
        lost = self.model.digests() - wanted.digests()
        assert lost <= set(freed)  # also those that came and went within the batch
        assert not set(freed) & wanted.digests()
        self.model = wanted

    @precondition(lambda self: self.operations < len(OPERATIONS))
    @rule(repeated=st.booleans())
    def add_entries(self, repeated: bool) -> None:
        first = max(0, self.operations - 2) if repeated else self.operations
        self.store.write([AddEntries(operation) for operation in OPERATIONS[first : self.operations + 1]])
        self.operations += 1

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = Store.open(self.url, self.folder)
        self.lives += 1
        assert self.store.begin_life() == self.lives

    @rule(
        account=st.none() | ACCOUNTS,
        before=st.integers(0, 7),
        limit=st.integers(1, 4),
        states=st.sets(st.sampled_from(STATES)),
    )
    def page(self, account: str | None, before: int, limit: int, states: set[str]) -> None:
        found = [
            row
            for row in sorted(self.model.jobs.values(), key=lambda row: -row.seq)
            if not row.deleted
            and account in (None, row.account)
            and (not before or row.seq < before)
            and (not states or row.state in states)
        ]
        assert self.store.jobs(account, before, limit, tuple(states)) == tuple(found[:limit])

    @rule(before=TIMES, limit=st.integers(1, 4))
    def old(self, before: int, limit: int) -> None:
        ended = [row for row in self.model.jobs.values() if row.state in FINAL and not row.deleted]
        old = sorted((row for row in ended if row.ended_ms < before), key=lambda row: (row.ended_ms, row.seq))
        assert self.store.old_jobs(before, limit) == tuple(old[:limit])

    @invariant()
    def the_same_jobs(self) -> None:
        rows = sorted(self.model.jobs.values(), key=lambda row: -row.seq)
        assert self.store.jobs(None, 0, 100) == tuple(row for row in rows if not row.deleted)

    @rule()
    def look(self) -> None:
        store, model = self.store, self.model
        for job in "abcdef":
            assert store.job(job) == model.jobs.get(job)
            assert store.pictures(job) == model.pictures.get(job, ())
            assert store.account(job) == model.accounts.get(job)
            assert store.meta(job) == model.meta.get(job)
        used = dict.fromkeys("xy", 0)
        for job, pictures in model.pictures.items():
            used[model.jobs[job].account] += sum(picture.size for picture in pictures)
        assert {account: store.usage(account) for account in "xy"} == used
        assert store.stored_bytes() == sum(used.values())
        assert store.referenced([digit * 64 for digit in "0123"]) == model.digests()
        for row in model.jobs.values():
            assert store.job_by_key(row.account, row.key) == row
        opened = [row for row in model.jobs.values() if row.state in OPEN]
        assert store.open_jobs() == tuple(sorted(opened, key=lambda row: row.seq))
        assert list(store.all_entries()) == [entry for part in OPERATIONS[: self.operations] for entry in part]


OPTIONS: Any = {"deadline": None, "suppress_health_check": list(HealthCheck)}


def test_sqlite_is_like_the_model() -> None:
    machine = type("OfSqlite", (Machine,), {"place": staticmethod(lambda: None)})
    run_state_machine_as_test(machine, settings=settings(max_examples=15, stateful_step_count=12, **OPTIONS))


def test_postgres_is_like_the_model(cluster: Cluster) -> None:
    place = staticmethod(lambda: cluster.url(cluster.new_schema()))
    machine = type("OfPostgres", (Machine,), {"place": place})
    run_state_machine_as_test(machine, settings=settings(max_examples=6, stateful_step_count=12, **OPTIONS))
