"""Start threads: a thread that cannot be started is an error that says so, and leaves nothing half started."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..errors import complaint
from .errors import StudioClosed, ThreadUnavailable

# modules that turn threads into coroutines of one real thread, and how to ask them whether they did
_GREEN = (("gevent.monkey", "is_module_patched", "threading"), ("eventlet.patcher", "is_monkey_patched", "thread"))


def start_thread(work: Callable[..., object], *arguments: Any, name: str) -> threading.Thread:
    """Start a daemon thread that calls `work(*arguments)`, and return it.

    Raises:
        ThreadUnavailable: the system gives no further thread.
    """
    thread = threading.Thread(target=work, args=arguments, name=name, daemon=True)
    try:
        thread.start()
    except (RuntimeError, MemoryError) as error:  # Python's "can't start new thread" has no errno
        raise _unavailable(name, error) from error
    return thread


def thread_pool(count: int, name: str) -> ThreadPoolExecutor:
    """Start a pool of `count` threads at once. A pool that starts them when there is work fails in the middle of it.

    Raises:
        ThreadUnavailable: the system gives fewer threads.
    """
    pool, started = ThreadPoolExecutor(count, name), threading.Event()
    try:
        for _ in range(count):
            pool.submit(started.wait)
    except (RuntimeError, MemoryError) as error:
        started.set()
        pool.shutdown(cancel_futures=True)
        raise _unavailable(name, error) from error
    started.set()
    return pool


def check_process(pid: int) -> None:
    """Raise StudioClosed unless this is process `pid`, where a studio was made.

    A fork's child has none of its threads, and would wait for ever.
    """
    if os.getpid() != pid:
        raise StudioClosed(
            complaint("studio", f"one of process {pid}, made before a fork", "one of this process", "make one here")
        )


def _unavailable(name: str, error: BaseException) -> ThreadUnavailable:
    remedy = "raise the limit of processes (ulimit -u, pids.max of the container) or end other programs"
    return ThreadUnavailable(f"thread {name!r}: the system gives no further thread ({error}); {remedy}")


def green_threads() -> str | None:
    """Return the name of the library that has replaced Python's threads by coroutines, or None if none has."""
    for module, question, what in _GREEN:
        if (patcher := sys.modules.get(module)) is not None and getattr(patcher, question)(what):
            return module.partition(".")[0]
    return None
