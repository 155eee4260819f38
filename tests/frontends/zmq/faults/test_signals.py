"""A server that is told to end: gracefully, in a hurry, amid everything. What is not finished goes on afterwards."""

from __future__ import annotations

import signal
import time
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest

from salon.bench.faulty.audit import Solo, audit
from salon.bench.faulty.process import ServerProcess

from ...wire.plain_client import PlainClient
from ..conftest import until
from .conftest import Processes, Reach

LONG: dict[str, Any] = {"width": 64, "height": 64, "steps": 60, "images": 1, "solver": "heun"}
ENDLESS: dict[str, Any] = {"width": 256, "height": 256, "steps": 200, "images": 4, "solver": "heun"}  # a minute
FINALS = ("done", "failed", "cancelled", "blocked")


def begun(client: PlainClient, jobs: list[str]) -> tuple[bytes, int]:
    """The watch of the first of these jobs, and the number of its latest event, once it is amid its steps."""
    watch = client.send({"type": "watch", "job": jobs[0]})
    while (event := client.answer(watch)[0])["kind"] != "step":
        pass
    return watch, event["number"]


def submitted(client: PlainClient, count: int) -> list[str]:
    return [client.submit(f"k{i}", "a red apple", seed=i, **LONG)["job"] for i in range(count)]


def endless(client: PlainClient) -> str:
    """A job that is not done before the server has ended, however late that is told to."""
    job: str = client.submit("endless", "a red apple", **ENDLESS)["job"]
    return job


def closing(client: PlainClient) -> list[str]:
    """The notices that a client got of the server's end."""
    end = time.monotonic() + 60
    while time.monotonic() < end and not client.notices:
        if client.socket.poll(100):
            id, body, *_ = client.socket.recv_multipart()
            if not id:
                client.notices.append(msgpack.unpackb(body))
    return [notice["type"] for notice in client.notices if notice["type"] != "pong"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_amid_a_step(process: Processes, reach: Reach, solo: Solo, number: int) -> None:
    server = process(grace_s=0.0)
    client = reach(server.address)
    jobs = submitted(client, 3)
    long = endless(client)
    _, number_ = begun(client, jobs)
    server.signal(number)
    assert closing(client) == ["closing"]
    assert server.end() == 0
    assert server.leftovers() == []
    open_ = audit(server.data, None, complete=False)
    assert open_.wrong == []
    assert open_.jobs["queued"] + open_.jobs["running"] >= 1  # it did not wait for them
    server.start()
    client = reach(server.address)
    assert client.cancel(long)
    for job, last in zip(jobs, (number_, 0, 0), strict=True):
        events = [event for event, _ in client.watch(job, after=last)]
        assert [event["kind"] for event in events if event["kind"] in FINALS] == ["done"]
        assert all(event["number"] > last for event in events)
    assert server.stop() == 0
    found = audit(server.data, solo)
    assert (found.wrong, found.jobs["done"], found.jobs["cancelled"], found.pictures) == ([], 3, 1, 6)


def test_running_jobs_are_given_time(process: Processes, reach: Reach, solo: Solo) -> None:
    server = process(grace_s=600.0)
    client = reach(server.address)
    watch, _ = begun(client, submitted(client, 1))
    server.signal(signal.SIGTERM)
    events: list[str] = []
    while (event := client.answer(watch)[0])["type"] != "watched":
        events.append(event["kind"])
    assert [kind for kind in events if kind in FINALS] == ["done"]
    assert closing(client) == ["closing"]
    assert server.end() == 0
    found = audit(server.data, solo)
    assert (found.wrong, found.jobs["done"]) == ([], 1)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_does_not_wait(process: Processes, reach: Reach, second: int) -> None:
    server = process(grace_s=600.0)
    client = reach(server.address)
    job = endless(client)
    begun(client, [job])
    server.signal(signal.SIGTERM)
    assert until(lambda: bool(client.ask("ops.status")["state"] == "draining"))
    assert server.running
    server.signal(second)
    left_open(server)


def test_a_second_signal_that_comes_before_the_first_was_looked_at(process: Processes, reach: Reach) -> None:
    """Both were taken for the first one, and the server waited for its jobs."""
    server = process(grace_s=600.0)
    client = reach(server.address)
    job = endless(client)
    begun(client, [job])
    for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGCONT):
        server.signal(number)
    left_open(server)


def left_open(server: ServerProcess) -> None:
    """Check that a server that was told to hurry ends long before its grace period, and leaves its job for later."""
    assert server.end() == 0
    found = audit(server.data, None, complete=False)
    assert (found.wrong, found.jobs.total()) == ([], 1)
    assert found.jobs["queued"] + found.jobs["running"] == 1
    assert server.leftovers() == []
