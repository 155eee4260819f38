"""Watches begin in the order of their requests, so that none outlives what ends it."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from .conftest import TINY, Connect, Serve, until


def test_an_unwatch_does_not_overtake_its_watch(serve: Serve, connect: Connect) -> None:
    server = serve(paused=True)
    client = connect(server)
    job = client.submit("k", "cat", **TINY)["job"]
    ends = []
    for _ in range(50):
        watch = client.send({"type": "watch", "job": job})
        ends.append((watch, client.send({"type": "unwatch", "watch": watch})))
    for watch, unwatch in ends:
        assert client.answer(unwatch)[0].get("changed", True)
        while client.answer(watch)[0]["type"] != "watched":
            pass
    assert server.server is not None
    (session,) = server.server.router.sessions.values()
    assert session.watchers == {}
    assert server.server.service.jobs.live[job].log.watchers == set()


def test_bye_ends_watches_that_have_just_begun(serve: Serve, connect: Connect) -> None:
    server = serve(paused=True)
    job = connect(server).submit("k", "cat", **TINY)["job"]
    leaver = connect(server)
    assert server.server is not None
    assert server._loop is not None
    server._loop.call_soon_threadsafe(time.sleep, 0.2)  # so that both are there when it looks
    leaver.send({"type": "watch", "job": job})
    leaver.notify({"type": "bye"})
    router, log = server.server.router, server.server.service.jobs.live[job].log
    assert until(lambda: len(router.sessions) == 1)
    time.sleep(0.1)  # what was begun for it would be there by now
    assert log.watchers == set()


def test_nothing_begins_for_who_left_while_the_job_was_looked_up(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a job that has to be read from the store first."""
    server = serve()
    client = connect(server)
    job = client.submit("k", "cat", **TINY)["job"]
    assert list(client.watch(job))
    assert server.server is not None
    serving = server.server
    begun: list[str] = []
    leaver = connect(server)
    session = list(serving.router.sessions.values())[-1]
    monkeypatch.setattr(serving.router, "touch", lambda _: begun.append("watch"))
    monkeypatch.setattr(serving.deliver, "_feed", lambda *_: begun.append("fetch"))
    left, look = threading.Event(), server.context.store.job

    def slow(job: str) -> Any:
        assert left.wait(60)
        return look(job)

    monkeypatch.setattr(server.context.store, "job", slow)
    serving.service.jobs.drop(job)
    leaver.send({"type": "watch", "job": job})
    leaver.send({"type": "fetch", "job": job})
    leaver.notify({"type": "bye"})
    assert until(lambda: session.gone)
    assert session.working == 2
    left.set()
    assert until(lambda: not session.working)
    assert (begun, session.watchers, session.fetches) == ([], {}, {})
