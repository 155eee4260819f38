"""Who was charged for a job that then has nothing to show gets the time back (house 4.16).

Pictures that could not be made into files, for any other reason than the disk, left the job failed and paid; so did a
job that was charged before a restart and could not be made again after it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from salon.frontends.zmq.background import BackgroundServer
from salon.studio.service import storing
from salon.studio.store.writes import EndJob, Write

from ..wire.plain_client import PlainClient
from .conftest import TINY, Connect, Serve


def left(client: PlainClient) -> int:
    """ms that the account can spend."""
    return sum(client.info()["fast_ms"].values())


def broken(*arguments: Any) -> Any:
    raise ValueError("no such pixels")


def engine_of(server: BackgroundServer) -> Any:
    return next(iter(server.context.studio.loop._core.pool.slots.values())).client._worker.engine  # type: ignore[attr-defined]


def test_pictures_that_cannot_be_made_into_files_cost_nothing(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    client = connect(server)
    client.ask("ops.set_account", account="local", plan="basic")
    before = left(client)
    with monkeypatch.context() as patch:
        patch.setattr(storing, "files_of", broken)
        job = client.submit("k", "cat", **TINY)["job"]
        event = [event for event, _ in client.watch(job)][-1]
    assert (event["kind"], event["reason"]) == ("failed", "its pictures could not be stored: no such pixels")
    assert client.show(job).get("charged_ms", 0) == 0
    assert left(client) == before
    paid = client.submit("k2", "cat", **TINY)["job"]
    assert [event["kind"] for event, _ in client.watch(paid)][-1] == "done"
    charged = client.show(paid)["charged_ms"]
    assert charged > 0
    assert left(client) == before - charged
    server.stop()
    assert left(connect(serve())) == before - charged


def test_a_job_that_was_charged_before_a_restart_and_fails_after_it(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the end of the failed one does not get on disk either: it is given back once."""
    server = serve()
    client = connect(server)
    client.ask("ops.set_account", account="local", plan="basic")
    before = left(client)
    job = client.submit("k", "cat", **TINY)["job"]
    assert [event["kind"] for event, _ in client.watch(job)][-1] == "done"
    price = before - left(client)
    assert price > 0

    def lose_ends(server: BackgroundServer) -> None:
        put = server.context.writer.put

        def lossy(writes: Sequence[Write], done: Any = lambda error: None) -> None:
            if any(isinstance(one, EndJob) for one in writes):
                put([], lambda error: ended.set())  # what the books have is stored; the end is not
                return
            put(writes, done)

        monkeypatch.setattr(server.context.writer, "put", lossy)

    ended = threading.Event()
    lose_ends(server)
    job = client.submit("k2", "cat", **TINY)["job"]
    assert ended.wait(60)
    assert left(client) == before - 2 * price
    server.stop()
    for again in range(2):
        ended.clear()
        server = serve(paused=True)
        lose_ends(server)
        monkeypatch.setattr(engine_of(server), "decode", broken)
        client = connect(server)
        client.ask("ops.resume")
        assert ended.wait(60)
        assert left(client) == before - price, again
        server.stop()
    server = serve()  # and done at last, for nothing
    client = connect(server)
    assert [event["kind"] for event, _ in client.watch(job)][-1] == "done"
    assert left(client) == before - price
