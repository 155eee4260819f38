"""Two jobs with the same pixels share a file: deleting the one never takes it from the other (house 4.2).

The file was held only after it was put, on another thread than the one that deletes: a job that was deleted while one
of the same pixels ended took the new one's picture with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from salon.frontends.zmq.background import BackgroundServer
from salon.studio.service.pins import Pins
from salon.studio.store.retention import discard
from salon.studio.store.writes import DeleteJob, EndJob

from ..wire.plain_client import PlainClient
from .conftest import TINY, Connect, Serve

SAME: dict[str, Any] = TINY | {"seed": 3}


def made(client: PlainClient, key: str) -> str:
    job: str = client.submit(key, "a red apple", **SAME)["job"]
    assert [event["kind"] for event, _ in client.watch(job)][-1] == "done"
    return job


def test_a_job_that_ends_while_one_of_the_same_pixels_is_deleted(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deletion stands where nothing was found to need the file, until the new job has asked for it."""
    server = serve()
    client, other = connect(server), connect(server)
    old = made(client, "old")
    blobs = server.context.blobs
    deleting, wanted = threading.Event(), threading.Event()
    delete, put, hold = blobs.delete, blobs.put, Pins.hold

    def slow_delete(digest: str, min_age_s: float = 0.0) -> int:
        deleting.set()
        assert wanted.wait(120)
        return delete(digest, min_age_s)

    def told_put(data: bytes) -> str:
        digest = put(data)
        wanted.set()
        return digest

    def told_hold(self: Pins, job: str, digests: Any) -> None:
        if threading.current_thread().name.startswith("salon-files"):
            wanted.set()
        hold(self, job, digests)

    monkeypatch.setattr(blobs, "delete", slow_delete)
    monkeypatch.setattr(blobs, "put", told_put)
    monkeypatch.setattr(Pins, "hold", told_hold)
    answer = other.send({"type": "delete", "job": old})
    assert deleting.wait(60)
    new = made(client, "new")
    other.answer(answer)
    assert [len(client.fetch(new, index)) > 100 for index in (-1, 0, 1)] == [True] * 3


@pytest.mark.parametrize("way", ["delete", "sweep"])
def test_a_file_whose_row_is_not_stored_yet_is_held(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Nothing but the hold knows that it is needed: without it, the picture of the new job would be gone."""
    server = serve()
    client, other = connect(server), connect(server)
    old = made(client, "old")
    ending, go_on = _hold_back_ends(server, monkeypatch)
    new = client.submit("new", "a red apple", **SAME)["job"]
    assert ending.wait(60)
    if way == "delete":
        other.ask("delete", job=old)
    else:
        assert server.server is not None
        freed = server.context.store.write([DeleteJob(old)])
        assert len(freed) == 3
        assert discard(server.server.service.jobs.files, freed, 0.0).blobs == 0
    go_on()
    assert [event["kind"] for event, _ in client.watch(new)][-1] == "done"
    assert [len(client.fetch(new, index)) > 100 for index in (-1, 0, 1)] == [True] * 3


def _hold_back_ends(
    server: BackgroundServer, monkeypatch: pytest.MonkeyPatch
) -> tuple[threading.Event, Callable[[], None]]:
    """(set when the end of a job with pictures is to be stored, what lets it be)."""
    put, kept, ending = server.context.writer.put, [], threading.Event()

    def held_back(writes: Any, done: Any = lambda error: None) -> None:
        if any(isinstance(write, EndJob) and write.pictures for write in writes):
            kept.append((writes, done))
            ending.set()
        else:
            put(writes, done)

    def go_on() -> None:
        for each in kept:
            put(*each)

    monkeypatch.setattr(server.context.writer, "put", held_back)
    return ending, go_on
