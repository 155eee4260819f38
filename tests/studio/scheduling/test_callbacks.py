"""Callbacks that are slow: what waits for them is bounded, and what must be told is told (house 4.10)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from salon.studio.scheduling import callbacks as module
from salon.studio.scheduling.callbacks import Callbacks
from salon.studio.scheduling.loop import Loop

from ..conftest import TIMEOUT, Solo, spec


class Blocked:
    """A hook that stands still until it is let go, and notes what it is called with."""

    def __init__(self) -> None:
        self.entered, self.release = threading.Event(), threading.Event()
        self.calls: list[tuple[Any, ...]] = []

    def __call__(self, *arguments: Any) -> None:
        self.entered.set()
        assert self.release.wait(TIMEOUT)
        self.calls.append(arguments)


def test_only_the_newest_waits_beyond_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MANY", 3)
    callbacks, hook = Callbacks(), Blocked()
    callbacks.start()
    callbacks.call(hook, "first")
    assert hook.entered.wait(TIMEOUT)
    for step in range(100):
        callbacks.call(hook, "progress", step, newest=("progress", "a"), many=3)
        callbacks.call(hook, "progress of b", step, newest=("progress", "b"), many=3)
    for _ in range(2):
        callbacks.call(hook, "ended")
    assert len(callbacks) == 6
    hook.release.set()
    callbacks.close(TIMEOUT)
    assert hook.calls == [
        ("first",),
        *[("progress", 0), ("progress of b", 0), ("progress", 99), ("progress of b", 99)],
        *[("ended",), ("ended",)],
    ]
    assert not callbacks._last


def test_a_hook_that_stands_still_while_jobs_run(new_loop: Callable[..., Loop], solo: Solo) -> None:
    """Every step of every job waited for it before."""
    loop, hook = new_loop(), Blocked()
    jobs = [
        loop.submit(
            spec(steps=120, seed=seed), preview_every=1, on_progress=hook, on_event=hook, on_preview=hook, on_end=hook
        )
        for seed in range(3)
    ]
    for job in jobs:
        np.testing.assert_array_equal(job.result(TIMEOUT), solo(job.spec))
    waiting = len(loop._core.callbacks)
    pictures = sum(
        len(call.arguments) == 3 and hasattr(call.arguments[2], "shape") for call in loop._core.callbacks._calls
    )
    assert waiting <= module.MANY + 3 * 6
    assert pictures <= module.FEW + 3
    hook.release.set()
    loop.close()
    assert sorted(call[0].id for call in hook.calls if len(call) == 1) == sorted(job.id for job in jobs)
    for job in jobs:
        told = [call[1].kind for call in hook.calls if len(call) == 2 and call[0] is job]
        assert told[0] == "started"
        assert [call[1].step for call in hook.calls if len(call) == 2 and call[0] is job][-1] == 120
