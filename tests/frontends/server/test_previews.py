"""Previews are made beside the events of other jobs, not before them (house 4.10)."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from salon.frontends.server import previews
from salon.frontends.server.previews import Previews

from .conftest import TINY, Connect, Serve


def test_events_do_not_wait_for_a_preview(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """The JPEG was made on the one thread that tells the events of all jobs."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(pixels: Any) -> bytes:
        begun.set()
        assert go_on.wait(30)
        return b"jpeg"

    monkeypatch.setattr(previews, "preview_of", slow)
    server = serve()
    client = connect(server)
    slow_job = client.submit("a", "cat", **(TINY | {"steps": 6, "preview_every": 1}))["job"]
    assert begun.wait(20)
    other = client.submit("b", "dog", **TINY)["job"]
    assert [event["kind"] for event, _ in client.watch(other)][-1] == "done"
    assert [event["kind"] for event, _ in client.watch(slow_job)][-1] == "done"
    go_on.set()


def test_of_each_job_only_the_newest_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on, shown = threading.Event(), threading.Event(), []
    all_shown = threading.Event()

    def slow(pixels: Any) -> bytes:
        begun.set()
        assert go_on.wait(30)
        return bytes(pixels.shape[:1])

    def show(job: Any, step: int, data: bytes) -> None:
        shown.append((job.id, step))
        if len(shown) == 3:
            all_shown.set()

    monkeypatch.setattr(previews, "preview_of", slow)
    made = Previews(show)
    a, b = SimpleNamespace(id="a"), SimpleNamespace(id="b")
    made.add(a, 0, np.zeros((1, 4, 4, 3), np.uint8))  # type: ignore[arg-type]
    assert begun.wait(10)
    for step in range(1, 50):
        for job in (a, b):
            made.add(job, step, np.zeros((1, 4, 4, 3), np.uint8))  # type: ignore[arg-type]
    assert len(made._waiting) == 2
    go_on.set()
    assert all_shown.wait(10)
    assert shown == [("a", 0), ("a", 49), ("b", 49)]
    made.close()
    made.add(a, 50, np.zeros((1, 4, 4, 3), np.uint8))  # type: ignore[arg-type]  # nothing happens


def test_one_that_cannot_be_made_is_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    done = threading.Event()

    def broken(pixels: Any) -> bytes:
        raise ValueError("no such pixels")

    monkeypatch.setattr(previews, "preview_of", broken)
    made = Previews(lambda *_: None)
    made.add(SimpleNamespace(id="a"), 1, np.zeros((1, 4, 4, 3), np.uint8))  # type: ignore[arg-type]
    made._thread.submit(done.set)
    assert done.wait(10)
    assert "no such pixels" in caplog.text
    made.close()
