"""Turn previews into JPEG files on a thread of their own, so that the events of other jobs do not wait for them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..threads import thread_pool
from .pictures import preview_of

if TYPE_CHECKING:
    from ..job import Job, UInt8

LOG = logging.getLogger("salon.service")


class Previews:
    """Makes files of previews. Of each job only the newest waits, so the number of waiting ones is bounded.

    Args:
        show: called as (job, step, JPEG) on this thread.
    """

    def __init__(self, show: Callable[[Job, int, bytes], object]) -> None:
        self._show = show
        self._lock = threading.Lock()
        self._waiting: dict[str, tuple[Job, int, UInt8]] = {}
        self._thread = thread_pool(1, "salon-previews")

    def add(self, job: Job, step: int, pixels: UInt8) -> None:
        """Take a preview, uint8 [images, height, width, 3]. Safe to call from any thread; it never waits."""
        with self._lock:
            waits = job.id in self._waiting
            self._waiting[job.id] = (job, step, pixels)
        if not waits:
            try:
                self._thread.submit(self._make, job.id)
            except RuntimeError:  # the service has ended, so no watcher is left
                LOG.debug("late: a preview of job %s", job.id)

    def close(self) -> None:
        """Make no more previews."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _make(self, name: str) -> None:
        with self._lock:
            job, step, pixels = self._waiting.pop(name)
        try:
            self._show(job, step, preview_of(pixels))
        except Exception:
            LOG.exception("a preview of job %s", name)
