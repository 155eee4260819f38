"""A full disk, and a database that somebody else has locked: work waits, submits are refused, and nothing is lost."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from salon.bench.faulty.audit import Solo, audit
from salon.bench.faulty.disk import Disk, small_disk
from salon.bench.faulty.process import ServerFailed, ServerProcess

from ...wire.plain_client import PlainClient, Refused, Silent
from ..conftest import until
from .conftest import Processes, Reach

SPEC: dict[str, Any] = {"width": 64, "height": 64, "steps": 2, "images": 3}
PATIENCE_S = 120.0  # for what takes seconds, on a machine that has other things to do
BUSY_S = 5.0  # how long a write of the server waits for a lock
LEFT = (0, 50_000)  # bytes that are left on the disk: too few for anything, or for all of it


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk") as made:
        if made is None:
            pytest.skip("only root may mount a small disk")
        yield made


def refused(client: PlainClient, key: str, **fields: Any) -> Refused | None:
    try:
        client.submit(key, "cat", **(SPEC | fields))
    except Refused as error:
        return error
    return None


def told(client: PlainClient, watch: bytes) -> list[str]:
    """Kinds of the events of a watch, until nothing comes for a second."""
    kinds: list[str] = []
    while True:
        try:
            kinds.append(client.answer(watch, 1.0)[0]["kind"])
        except Silent:
            return kinds


def done(client: PlainClient, job: str) -> bool:
    kinds = [event["kind"] for event, _ in client.watch(job)]
    return bool(kinds[-1] == "done")


def accepted(client: PlainClient, request: bytes) -> list[str]:
    """The job of a submit's answer; none, if it was refused for want of space."""
    try:
        return [client.answer(request, PATIENCE_S)[0]["job"]["job"]]
    except Refused as error:
        if (error.code, error.kind) != ("unavailable", "StoreFull"):
            raise
        return []


def wait_until_logged(server: ServerProcess, words: str) -> None:
    """Check that the server says something in its log."""
    assert until(lambda: words in server.log.read_text(), PATIENCE_S), server.log.read_text()[-2000:]


def test_a_full_disk(process: Processes, reach: Reach, solo: Solo, disk: Disk) -> None:
    server = process(data=disk.folder)
    client = reach(server.address)
    jobs: list[str] = []
    more: list[bytes] = []  # requests; the answer to one whose job is made before its row is stored waits for the disk
    for left in LEFT:
        client.ask("ops.pause")
        mine = [client.submit(f"{left}-{i}", "a red apple", seed=len(jobs) + i, **SPEC)["job"] for i in range(3)]
        disk.fill(left)
        client.ask("ops.resume")
        if not left:
            more = [client.send({"type": "submit", "key": f"more-{i}", "prompt": "cat", **SPEC}) for i in range(5)]
            wait_until_logged(server, "wait for the disk")
            error = refused(client, "refused")
            assert error is not None
            assert (error.code, error.kind, error.record["retry_after_ms"] > 0) == ("unavailable", "StoreFull", True)
            client.ping()
            for job in mine:
                assert client.show(job)["state"] in ("queued", "running")
            watch = client.send({"type": "watch", "job": mine[0]})
            assert "done" not in told(client, watch)  # no end is told that is not on disk
        else:
            time.sleep(0.3)
        disk.free()
        jobs += mine
        assert all(done(client, job) for job in mine)
    jobs += [job for request in more for job in accepted(client, request)]
    assert until(lambda: refused(client, "after") is None, PATIENCE_S)
    jobs.append(client.submit("after", "cat", **SPEC)["job"])  # which it was: the same key is the same job
    assert all(done(client, job) for job in jobs)  # or the end of the server would leave some for its next start
    assert server.stop() == 0
    found = audit(disk.folder, solo)
    assert (found.wrong, found.jobs["done"]) == ([], len(jobs))


def test_a_disk_that_is_too_full_for_a_job_to_be_accepted(
    process: Processes, reach: Reach, solo: Solo, disk: Disk
) -> None:
    """The database has to grow. What was refused is not there; the same key is accepted when there is space."""
    server = process("--paused", data=disk.folder)
    client = reach(server.address)
    disk.fill()
    accepted, error = [], None
    for i in range(200):
        if (error := refused(client, f"k{i}", negative_prompt="big dog " * 200)) is not None:
            break
        accepted.append(f"k{i}")
    assert error is not None
    assert (error.code, error.kind) == ("unavailable", "StoreFull")
    listed = [job["job"] for job in client.jobs(limit=100)]
    assert len(listed) == len(accepted)
    assert client.ask("ops.status").get("queued", {}).get("fast", 0) == len(accepted)
    server.kill()
    with pytest.raises(ServerFailed, match="StoreFull|space on disk|disk is full"):
        server.start()
    disk.free()
    server.start()
    client = reach(server.address)
    again = client.ask(
        "submit", key=f"k{len(accepted)}", prompt="cat", **(SPEC | {"negative_prompt": "big dog " * 200})
    )
    assert not again.get("existing", False)
    client.ask("ops.resume")
    assert all(done(client, job) for job in (*listed, again["job"]["job"]))
    server.kill()
    found = audit(disk.folder, solo)
    assert (found.wrong, found.jobs["done"]) == ([], len(accepted) + 1)


def test_told_to_end_while_the_disk_is_full(process: Processes, reach: Reach, solo: Solo, disk: Disk) -> None:
    """It does not wait for space; the jobs whose pictures had no room are made again, the same."""
    server = process("--paused", data=disk.folder)
    client = reach(server.address)
    jobs = [client.submit(f"k{i}", "cat", seed=i, **SPEC)["job"] for i in range(3)]
    disk.fill()
    client.ask("ops.resume")
    wait_until_logged(server, "wait for the disk")
    assert server.stop() == 0
    disk.free()
    left = audit(disk.folder, None, complete=False)
    assert (left.wrong, left.jobs.total(), left.orphans) == ([], 3, 0)
    server.start()
    client = reach(server.address)
    client.ask("ops.resume")
    assert all(done(client, job) for job in jobs)
    server.kill()
    found = audit(disk.folder, solo)
    assert (found.wrong, found.jobs["done"]) == ([], 3)


def test_a_locked_database(process: Processes, reach: Reach, solo: Solo) -> None:
    """For a while, writes wait; for long, they are answered "busy". Reading goes on."""
    server = process()
    client = reach(server.address)
    first = client.submit("first", "cat", **SPEC)["job"]
    assert done(client, first)
    with closing(sqlite3.connect(server.data / "salon.db", PATIENCE_S, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        start = time.monotonic()
        waiting = client.send({"type": "submit", "key": "second", "prompt": "cat", "seed": 1, **SPEC})
        assert client.show(first)["state"] == "done"
        assert [job["job"] for job in client.jobs()][-1] == first
        assert len(client.fetch(first)) > 100
        try:
            with pytest.raises(Silent):
                client.answer(waiting, 1.0)
            other.execute("ROLLBACK")
            second = client.answer(waiting)[0]["job"]["job"]
        except Refused as late:
            if late.kind != "StoreLocked" or time.monotonic() - start < BUSY_S:
                raise  # else all this took longer than writes wait: on a busy machine
            if other.in_transaction:
                other.execute("ROLLBACK")
            second = client.submit("second", "cat", seed=1, **SPEC)["job"]
        assert done(client, second)
        client.ask("ops.pause")  # a job that is done meanwhile is not refused any more: its row is put again and again
        other.execute("BEGIN EXCLUSIVE")
        error = refused(client, "third")
        assert error is not None
        assert (error.code, error.kind) == ("busy", "StoreLocked")  # by the writer: who waits for it longer is TooSlow
        other.execute("ROLLBACK")
    client.ask("ops.resume")
    third = client.submit("third", "cat", **SPEC)["job"]
    assert done(client, third)
    server.kill()
    found = audit(server.data, solo)
    assert (found.wrong, found.jobs["done"]) == ([], 3)
