"""Close every loop that is still open when the interpreter ends: no thread of it is left amid a kernel or a hook."""

from __future__ import annotations

import atexit
import os
import time
import weakref

from ...scheduler.tickets import Ended
from ..errors import StudioClosed
from .core import Core

AT_EXIT_S = 2.0  # for all workers together; a thread that is amid a longer step then ends with the process

_OPEN: weakref.WeakKeyDictionary[Core, int] = weakref.WeakKeyDictionary()  # by the process that started each


def watch(core: Core) -> None:
    """Close this loop when the interpreter ends. The loop is held weakly: its own threads keep it alive."""
    _OPEN[core] = os.getpid()


def forget(core: Core) -> None:
    """Forget a loop that was closed."""
    _OPEN.pop(core, None)


@atexit.register
def _close_all() -> None:
    """Close all loops, when all threads but daemons have ended.

    No thread is started here: Python 3.12 and later refuse to.
    """
    end = time.monotonic() + AT_EXIT_S
    mine = [core for core, pid in list(_OPEN.items()) if pid == os.getpid()]  # a fork's child has no workers
    for core in mine:
        if core.lock.acquire(timeout=max(0.0, end - time.monotonic())):  # else a disk hangs, with the lock held
            try:
                _stop(core)
            finally:
                core.lock.release()
    clients = [slot.client for core in mine for slot in core.pool.slots.values()]
    for wait in (False, True):  # all are told before one is waited for
        for client in clients:
            client.close(max(0.0, end - time.monotonic()) if wait else 0.0)
    for core in mine:
        core.callbacks.close(max(0.0, end - time.monotonic()))


def _stop(core: Core) -> None:
    if core.billing is not None and core.billing.takes_back:
        core.billing.close()  # its jobs run again after a restart, as after a crash
    core.stop(StudioClosed("the interpreter ends"), Ended.CANCELLED, "the interpreter ends")
    if core.billing is not None:
        core.billing.flush()
