"""Turns of the processes that run the tests together."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .conftest import Turns

TIMEOUT = 30.0


@pytest.fixture
def new(tmp_path: Path) -> Iterator[Callable[[], Turns]]:
    with ExitStack() as stack:

        def make() -> Turns:
            turns = Turns(tmp_path)
            stack.callback(turns.close)
            return turns

        yield make


def take(turns: Turns, alone: bool) -> threading.Event:
    """Wait for a turn on a thread of its own; the event says that it has come."""
    got = threading.Event()

    def wait() -> None:
        turns.take(alone)
        got.set()

    threading.Thread(target=wait, daemon=True).start()
    return got


def wait_until_somebody_waits(folder: Path) -> None:
    """Wait until somebody waits for a turn, having passed the gate."""
    gate = os.open(folder / "gate", os.O_RDWR)
    end = time.monotonic() + TIMEOUT
    try:
        while True:
            fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(gate, fcntl.LOCK_UN)
            assert time.monotonic() < end, "nobody waits"
            time.sleep(0.005)
    except BlockingIOError:
        return
    finally:
        os.close(gate)


def test_a_turn_is_shared_or_alone(new: Callable[[], Turns], tmp_path: Path) -> None:
    one, other, third = new(), new(), new()
    assert take(one, False).wait(TIMEOUT)
    assert take(other, False).wait(TIMEOUT)
    alone = take(third, True)
    one.leave(keep=False)
    wait_until_somebody_waits(tmp_path)
    assert not alone.wait(0.05)
    again = take(one, False)
    assert not again.wait(0.05), "who waits to be alone is not passed by"
    other.leave(keep=False)
    assert alone.wait(TIMEOUT)
    assert not again.wait(0.05)
    third.leave(keep=False)
    assert again.wait(TIMEOUT)
    one.leave(keep=False)


def test_a_turn_may_be_kept(new: Callable[[], Turns]) -> None:
    one, other = new(), new()
    one.take(True)
    one.leave(keep=True)
    waiting = take(other, False)
    one.take(True)
    assert not waiting.wait(0.05)
    one.leave(keep=False)
    assert waiting.wait(TIMEOUT)
    other.leave(keep=False)
