"""A server that is told to end: gracefully, in a hurry, amid everything. What is not finished goes on afterwards."""

from __future__ import annotations

import signal
import time
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest

from salon.bench.faulty.audit import Solo, audit

from ...wire.plain_client import PlainClient
from .conftest import Processes, Reach

LONG: dict[str, Any] = {"width": 64, "height": 64, "steps": 60, "images": 1, "solver": "heun"}
FINALS = ("done", "failed", "cancelled", "blocked")


def begun(client: PlainClient, count: int = 3, **fields: Any) -> list[tuple[str, int]]:
    """(job, number of its latest event) of jobs of which the first is amid its steps."""
    jobs = [client.submit(f"k{i}", "a red apple", seed=i, **(LONG | fields))["job"] for i in range(count)]
    watch = client.send({"type": "watch", "job": jobs[0]})
    while (event := client.answer(watch)[0])["kind"] != "step":
        pass
    return [(jobs[0], event["number"]), *((job, 0) for job in jobs[1:])]


def closing(client: PlainClient) -> list[str]:
    """The notices that a client got of the server's end."""
    end = time.monotonic() + 5
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
    jobs = begun(client)
    server.signal(number)
    assert closing(client) == ["closing"]
    assert server.end(20) == 0
    assert server.leftovers() == []
    open_ = audit(server.data, None, complete=False)
    assert open_.wrong == []
    assert open_.jobs["queued"] + open_.jobs["running"] >= 1  # it did not wait for them
    server.start()
    client = reach(server.address)
    for job, last in jobs:
        events = [event for event, _ in client.watch(job, after=last)]
        assert [event["kind"] for event in events if event["kind"] in FINALS] == ["done"]
        assert all(event["number"] > last for event in events)
    assert server.stop() == 0
    found = audit(server.data, solo)
    assert (found.wrong, found.jobs["done"], found.pictures) == ([], 3, 6)


def test_running_jobs_are_given_time(process: Processes, reach: Reach, solo: Solo) -> None:
    server = process(grace_s=30.0)
    client = reach(server.address)
    ((job, _),) = begun(client, 1)
    server.signal(signal.SIGTERM)
    time.sleep(0.05)
    events = [event["kind"] for event, _ in client.watch(job)]
    assert [kind for kind in events if kind in FINALS] == ["done"]
    assert closing(client) == ["closing"]
    assert server.end(20) == 0
    found = audit(server.data, solo)
    assert (found.wrong, found.jobs["done"]) == ([], 1)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_does_not_wait(process: Processes, reach: Reach, second: int) -> None:
    server = process(grace_s=600.0)
    jobs = begun(reach(server.address), 6, steps=200, images=2)
    server.signal(signal.SIGTERM)
    time.sleep(0.2)
    assert server.running
    start = time.monotonic()
    server.signal(second)
    assert server.end(20) == 0
    assert time.monotonic() - start < 10
    found = audit(server.data, None, complete=False)
    assert found.wrong == []
    assert found.jobs.total() == len(jobs)
    assert found.jobs["queued"] + found.jobs["running"] >= 1
    assert server.leftovers() == []
