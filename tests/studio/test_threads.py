"""Threads that cannot be started, and threads that are none."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from salon.engine.engine import Engine
from salon.studio.errors import ThreadUnavailable
from salon.studio.scheduling.callbacks import Callbacks
from salon.studio.scheduling.loop import Loop
from salon.studio.store.writer import Writer
from salon.studio.threads import start_thread, thread_pool
from salon.studio.workers.client import WorkerClient
from salon.studio.workers.messages import Setup
from salon.studio.workers.process import ProcessWorker
from salon.studio.workers.thread import ThreadWorker

from .conftest import BACKEND, TIMEOUT, spec


@contextmanager
def no_thread() -> Iterator[None]:
    """Let the system refuse every new thread: its stack would be larger than the address space."""
    before = threading.stack_size(1 << 50)
    try:
        yield
    finally:
        threading.stack_size(before)


def test_a_thread_that_cannot_start_is_a_typed_error() -> None:
    """faults.md 8"""
    with no_thread():
        with pytest.raises(
            ThreadUnavailable, match=r"thread 'salon-x': the system gives no further thread .*; raise .*ulimit -u"
        ):
            start_thread(print, name="salon-x")
        with pytest.raises(ThreadUnavailable, match="thread 'salon-pool'"):
            thread_pool(3, "salon-pool")
    pool = thread_pool(3, "salon-pool")
    with no_thread():  # all of its threads are there
        assert [pool.submit(pow, 2, i).result(TIMEOUT) for i in range(8)] == [2**i for i in range(8)]
    pool.shutdown()


def test_a_start_that_failed_can_be_tried_again(tiny: Path) -> None:
    """faults.md 8: what had taken note of its thread before it ran was dead for ever, and could not even be closed."""
    ports: list[WorkerClient] = [
        ThreadWorker(Engine.load(tiny, backend=BACKEND, threads=1)),
        ProcessWorker(Setup(model=os.fsencode(tiny), backend=BACKEND, threads=1)),
    ]
    callbacks, heard = Callbacks(), threading.Event()
    with no_thread():
        for port in ports:
            with pytest.raises(ThreadUnavailable):
                port.start(lambda name, answer, frames: None)
        with pytest.raises(ThreadUnavailable):
            callbacks.start()
        with pytest.raises(ThreadUnavailable):
            Writer(cast(Any, None))  # which does not get as far as using its store
    callbacks.start()
    callbacks.call(heard.set)
    assert heard.wait(TIMEOUT)
    callbacks.close(TIMEOUT)
    for port in ports:
        with Loop([port], start_timeout_s=TIMEOUT) as loop:
            assert loop.submit(spec()).result(TIMEOUT).shape == (1, 16, 16, 3)


def test_a_loop_without_threads_leaves_nothing_running(tiny: Path) -> None:
    """faults.md 8: the second worker's thread fails, and the first one's ends."""
    before = set(threading.enumerate())
    ports = [ThreadWorker(Engine.load(tiny, backend=BACKEND, threads=1), name) for name in ("a", "b")]
    start = ports[1].start

    def refused(notice: object) -> None:
        with no_thread():
            start(notice)  # type: ignore[arg-type]

    ports[1].start = refused  # type: ignore[method-assign]
    with pytest.raises(ThreadUnavailable, match="salon-b"):
        Loop(ports, start_timeout_s=TIMEOUT).start()
    assert set(threading.enumerate()) <= before


def test_closing_needs_no_thread(tiny: Path) -> None:
    """faults.md 8: a studio closes though the system gives no thread any more."""
    ports = [ThreadWorker(Engine.load(tiny, backend=BACKEND, threads=1), name) for name in ("a", "b")]
    loop = Loop(ports, start_timeout_s=TIMEOUT).start()
    with no_thread():
        loop.close(TIMEOUT)
    assert not any(port._thread is not None and port._thread.is_alive() for port in ports)


GEVENT = """
from gevent import monkey; monkey.patch_all()
import salon
try:
    salon.Studio({model!r}, backend={backend!r}, threads=1, process=True)
except salon.SalonError as error:
    print(type(error).__name__, error)
with salon.Studio({model!r}, backend={backend!r}, threads=1) as studio:
    print(studio.imagine("a red apple", images=1, steps=2, seed=1).result(60).shape)
"""


def test_under_gevent_worker_processes_are_refused(tiny: Path) -> None:
    """faults.md 9: `Studio(process=True)` waited for ever where gevent had replaced threads."""
    pytest.importorskip("gevent")
    code = GEVENT.format(model=str(tiny), backend=BACKEND)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    refused, shape = done.stdout.splitlines()
    assert refused.startswith("GreenThreads worker process: got threads replaced by gevent, allowed Python's own")
    assert "process=False" in refused
    assert shape.startswith("(1, ")
