"""Drains: who asks for the end gets it, who takes it back does not, and nothing is forgotten meanwhile."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from .conftest import TINY, Connect, Serve


def test_a_resume_takes_back_the_stop(serve: Serve, connect: Connect) -> None:
    server = serve(paused=True)
    client = connect(server)
    first = client.submit("k", "cat", **TINY)["job"]
    client.ask("ops.drain", stop=True)
    client.ask("ops.resume")
    assert list(client.watch(first))
    client.ask("ops.pause")
    second = client.submit("k2", "cat", **TINY)["job"]
    client.ask("ops.drain", stop=True)
    client.ask("ops.resume")
    client.ask("ops.pause")
    client.ask("ops.drain")  # of this nobody said that the server should end after it
    client.cancel(second)
    assert not server.ended(0.5)
    assert client.ask("ops.status")["state"] == "draining"
    client.ask("ops.drain", stop=True)
    assert server.ended(120)


def test_a_job_whose_pictures_are_being_stored_is_left(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`salon ops drain --wait` goes by these counts."""
    server = serve()
    client, put = connect(server), server.context.blobs.put
    began, go_on = threading.Event(), threading.Event()

    def slow(data: bytes) -> Any:
        began.set()
        go_on.wait(120)
        return put(data)

    monkeypatch.setattr(server.context.blobs, "put", slow)
    try:
        job = client.submit("k", "cat", **TINY)["job"]
        client.ask("ops.drain")
        assert began.wait(60)
        status = client.ask("ops.status")
        assert (status.get("queued", {}), status.get("running", {})) == ({}, {"fast": 1})
    finally:
        go_on.set()
    assert list(client.watch(job))
    status = client.ask("ops.status")
    assert (status.get("queued", {}), status.get("running", {})) == ({}, {})
