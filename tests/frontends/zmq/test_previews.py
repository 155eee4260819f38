"""Previews are made beside the events of other jobs, not before them (house 4.10)."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from salon.studio.service import previews

from .conftest import TINY, Connect, Serve


def test_events_do_not_wait_for_a_preview(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """The JPEG was made on the one thread that tells the events of all jobs."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(pixels: Any) -> bytes:
        begun.set()
        assert go_on.wait(120)
        return b"jpeg"

    monkeypatch.setattr(previews, "preview_of", slow)
    server = serve()
    client = connect(server)
    slow_job = client.submit("a", "cat", **(TINY | {"steps": 6, "preview_every": 1}))["job"]
    assert begun.wait(60)
    other = client.submit("b", "dog", **TINY)["job"]
    assert [event["kind"] for event, _ in client.watch(other)][-1] == "done"
    assert [event["kind"] for event, _ in client.watch(slow_job)][-1] == "done"
    go_on.set()
