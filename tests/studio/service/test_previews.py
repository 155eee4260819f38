"""Of each job only the newest preview waits to be made, and one that fails harms nobody."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from salon.studio.service import previews
from salon.studio.service.previews import Previews

from ..conftest import TIMEOUT


def test_of_each_job_only_the_newest_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on, shown = threading.Event(), threading.Event(), []
    all_shown = threading.Event()

    def slow(pixels: Any) -> bytes:
        begun.set()
        assert go_on.wait(TIMEOUT)
        return bytes(pixels.shape[:1])

    def show(job: Any, step: int, data: bytes) -> None:
        shown.append((job.id, step))
        if len(shown) == 3:
            all_shown.set()

    monkeypatch.setattr(previews, "preview_of", slow)
    made = Previews(show)
    a, b = SimpleNamespace(id="a"), SimpleNamespace(id="b")
    made.add(a, 0, np.zeros((1, 4, 4, 3), np.uint8))  # type: ignore[arg-type]
    assert begun.wait(TIMEOUT)
    for step in range(1, 50):
        for job in (a, b):
            made.add(job, step, np.zeros((1, 4, 4, 3), np.uint8))  # type: ignore[arg-type]
    assert len(made._waiting) == 2
    go_on.set()
    assert all_shown.wait(TIMEOUT)
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
    assert done.wait(TIMEOUT)
    assert "no such pixels" in caplog.text
    made.close()
