"""A store that takes longer than anybody waits: what was begun is brought to its end, once (house 4.3).

Who waited too long was answered "busy", and what came of the write was forgotten: the same key began a second job, the
end of the first one was not tried again, a deleted job was still shown, and a retried one did not run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from salon.frontends.zmq.background import BackgroundServer
from salon.studio.errors import StoreFull, StoreLost
from salon.studio.service import jobs as managers
from salon.studio.service import waits
from salon.studio.store.writes import AddJob, DeleteJob, EndJob, SetJob, Write

from ..wire.plain_client import PlainClient, Refused
from .conftest import TINY, Connect, Serve


class HeldWrites:
    """Stands before a store's writes: those with a write of `kind` wait until it opens, and fail `errors` times."""

    def __init__(self, server: BackgroundServer, monkeypatch: pytest.MonkeyPatch, kind: type) -> None:
        self.opened, self.reached = threading.Event(), threading.Event()
        self.errors: list[Exception] = []
        self.later: dict[type, list[Exception]] = {}
        write = server.context.store.write

        def gated(writes: Sequence[Write]) -> tuple[str, ...]:
            if any(isinstance(one, kind) for one in writes):
                self.reached.set()
                assert self.opened.wait(120)
                if self.errors:
                    raise self.errors.pop(0)
            for other, errors in self.later.items():
                if errors and any(isinstance(one, other) for one in writes):
                    raise errors.pop(0)
            return write(writes)

        monkeypatch.setattr(server.context.store, "write", gated)


@pytest.fixture
def hold(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Callable[[type], tuple[BackgroundServer, HeldWrites]]:
    """Makes a server whose store stands still at some kind of write, and that does not wait long for it."""

    def make(kind: type) -> tuple[BackgroundServer, HeldWrites]:
        monkeypatch.setattr(managers, "FULL_S", 0.02)
        server = serve()
        return server, HeldWrites(server, monkeypatch, kind)

    monkeypatch.setattr(waits, "WRITE_S", 0.1)
    return make


def busy(client: PlainClient, type: str, **fields: Any) -> None:
    with pytest.raises(Refused, match="ask again") as info:
        client.ask(type, **fields)
    assert info.value.code == "busy"


def kinds(client: PlainClient, job: str) -> list[str]:
    return [event["kind"] for event, _ in client.watch(job)]


def started(server: BackgroundServer, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The jobs that are handed to the studio from now on."""
    loop, found = server.context.studio.loop, []
    submit = loop.submit

    def counted(spec: Any, **fields: Any) -> Any:
        found.append(fields["job"])
        return submit(spec, **fields)

    monkeypatch.setattr(loop, "submit", counted)
    return found


def test_the_same_key_finds_the_job_that_is_not_stored_yet(
    hold: Callable[[type], tuple[BackgroundServer, HeldWrites]], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, held = hold(AddJob)
    client, jobs = connect(server), started(server, monkeypatch)
    busy(client, "submit", key="k", prompt="cat", **TINY)
    busy(client, "submit", key="k", prompt="cat", **TINY)
    held.opened.set()
    monkeypatch.setattr(waits, "WRITE_S", 30.0)
    again = client.ask("submit", key="k", prompt="cat", **TINY)
    assert again["existing"]
    assert kinds(client, again["job"]["job"])[-1] == "done"
    assert jobs == [again["job"]["job"]] == [job["job"] for job in client.jobs()]
    assert len(client.fetch(jobs[0])) > 100


def test_a_job_whose_row_fails_late_is_cancelled(
    hold: Callable[[type], tuple[BackgroundServer, HeldWrites]], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, held = hold(AddJob)
    client, jobs = connect(server), started(server, monkeypatch)
    client.ask("ops.pause")
    busy(client, "submit", key="k", prompt="cat", **TINY)
    held.errors.append(StoreFull("disk: it is full"))
    assert server.server is not None
    manager = server.server.service.jobs
    loop = manager._loop
    idle = threading.Event()
    loop.call_soon_threadsafe(lambda: loop.create_task(manager.idle.wait()).add_done_callback(lambda _: idle.set()))
    held.opened.set()
    assert idle.wait(60)
    assert (manager.live, list(client.jobs())) == ({}, [])
    assert not server.context.ledger.open_jobs()  # nothing is set aside for it
    client.ask("ops.resume")
    monkeypatch.setattr(waits, "WRITE_S", 30.0)
    again = client.ask("submit", key="k", prompt="cat", **TINY)
    assert not again.get("existing", False)
    assert kinds(client, again["job"]["job"])[-1] == "done"
    assert len(jobs) == 2


@pytest.mark.parametrize("error", [StoreFull("disk: it is full"), StoreLost("store: away")])
def test_a_job_that_is_done_before_its_row_is_stored(
    hold: Callable[[type], tuple[BackgroundServer, HeldWrites]],
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    """It is made and charged: the row is tried again, and so is the end, which fails as well."""
    server, held = hold(AddJob)
    monkeypatch.setattr(waits, "WRITE_S", 30.0)
    client, jobs = connect(server), started(server, monkeypatch)
    held.errors.append(error)
    held.later[EndJob] = [StoreFull("disk: it is full"), StoreFull("disk: it is full")]
    request = client.send({"type": "submit", "key": "k", "prompt": "cat", **TINY})
    assert held.reached.wait(60)
    assert server.server is not None
    live = server.server.service.jobs.live[jobs[0]]
    assert live.handle is not None
    assert live.handle.wait(60)
    held.opened.set()
    job = client.answer(request)[0]["job"]["job"]
    assert kinds(client, job)[-1] == "done"
    assert (jobs, held.later) == ([job], {EndJob: []})
    assert len(client.fetch(job)) > 100


def test_the_end_of_a_job_is_tried_again_where_the_writer_takes_nothing(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer refused the end while the row was still waiting: the end was lost until the next start."""
    monkeypatch.setattr(managers, "FULL_S", 0.02)
    server = serve()
    client = connect(server)
    held, ended = HeldWrites(server, monkeypatch, AddJob), threading.Event()
    put = server.context.writer.put

    def full(writes: Sequence[Write], done: Any = lambda error: None) -> None:
        if any(isinstance(one, EndJob) for one in writes) and not ended.is_set():
            ended.set()
            raise StoreFull("put: too many wait")
        put(writes, done)

    monkeypatch.setattr(server.context.writer, "put", full)
    request = client.send({"type": "submit", "key": "k", "prompt": "cat", **TINY})
    assert ended.wait(60)
    held.opened.set()
    job = client.answer(request)[0]["job"]["job"]
    assert kinds(client, job)[-1] == "done"


def test_a_slow_deletion_is_carried_out(
    hold: Callable[[type], tuple[BackgroundServer, HeldWrites]], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, held = hold(DeleteJob)
    client = connect(server)
    monkeypatch.setattr(waits, "WRITE_S", 30.0)
    job = client.submit("k", "cat", **TINY)["job"]
    assert kinds(client, job)[-1] == "done"
    blobs = server.context.blobs
    files, gone, delete = set(blobs.digests()), threading.Event(), blobs.delete

    def told(digest: str, min_age_s: float = 0.0) -> int:
        size = delete(digest, min_age_s)
        files.discard(digest)
        if not files:
            gone.set()
        return size

    monkeypatch.setattr(blobs, "delete", told)
    monkeypatch.setattr(waits, "WRITE_S", 0.1)
    busy(client, "delete", job=job)
    held.opened.set()
    assert gone.wait(60)
    with pytest.raises(Refused) as info:
        client.show(job)
    assert info.value.code == "not_found"


def test_a_slow_retry_runs(
    hold: Callable[[type], tuple[BackgroundServer, HeldWrites]], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, held = hold(SetJob)
    client = connect(server)
    monkeypatch.setattr(waits, "WRITE_S", 30.0)
    engine = next(iter(server.context.studio.loop._core.pool.slots.values())).client._worker.engine  # type: ignore[attr-defined]

    def broken(*arguments: Any) -> Any:
        raise RuntimeError("the device is on fire")

    with monkeypatch.context() as patch:
        patch.setattr(engine, "decode", broken)
        job = client.submit("k", "cat", **TINY)["job"]
        last = [event for event, _ in client.watch(job)][-1]
    assert last["kind"] == "failed"
    monkeypatch.setattr(waits, "WRITE_S", 0.1)
    jobs = started(server, monkeypatch)
    busy(client, "ops.retry", job=job)
    with pytest.raises(Refused, match="being tried again"):
        client.ask("ops.retry", job=job)
    submitted = threading.Event()
    counted = server.context.studio.loop.submit

    def told(*arguments: Any, **fields: Any) -> Any:
        handle = counted(*arguments, **fields)
        submitted.set()
        return handle

    monkeypatch.setattr(server.context.studio.loop, "submit", told)
    held.opened.set()
    assert submitted.wait(60)
    assert jobs == [job]
    assert [event["kind"] for event, _ in client.watch(job, after=last["number"])][-1] == "done"
