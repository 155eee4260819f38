"""A durable studio in a program of one's own: what it accepts is on disk first, and goes on after a crash.

    with DurableStudio("my-pictures") as studio:
        job = studio.imagine("a red apple", key="apple-1")
        png = job.pictures(timeout_s=60)[0]

The service runs on an event loop in a thread of its own; every method here hands it one request and waits for the
answer, never longer than it is told.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
import uuid
from collections.abc import Coroutine, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

from ...bounds import FINAL, GRID, LOCAL
from ...errors import complaint
from ..errors import BlobMissing, JobCancelled, JobFailed, JobTimeout, StudioClosed
from ..job import seconds_of
from ..threads import check_process, start_thread, thread_pool
from .context import OpenStudio, ServiceContext, open_studio
from .errors import no_such_job
from .events import JobEvent, JobLog
from .job_record import JobRecord
from .options import ServiceOptions
from .request import request_of
from .service import Service

ANSWER_S: Final = 30.0  # for a request that waits for the disk only
START_S: Final = 120.0  # to take back what was accepted before; the model is loaded by then
CLEAN_UP_S: Final = 3600.0
T = TypeVar("T")


class DurableStudio:
    """Store, scheduler and workers in this process. A context manager; safe to use from any thread.

    Jobs that were accepted before, and had not ended when the last process did, go on by themselves: `jobs` lists them.

    Args:
        data: folder of database and pictures; made if it is not there. One process at a time has it open.
        process: each engine in a process of its own; else in threads of this one.
        studio: opens the workers; others than `open_studio` are for tests.
        options: of `ServiceOptions`, such as `model`, `workers`, `backend`, `threads`.

    Raises:
        StoreError: the folder cannot be opened (another process has it, it is broken, or newer).
        CheckpointError, WorkerLost, UnknownBackend: as `Studio`.
    """

    def __init__(
        self, data: str | Path, *, process: bool = False, studio: OpenStudio = open_studio, **options: Any
    ) -> None:
        self._pid = os.getpid()
        self._context = ServiceContext(ServiceOptions(data=Path(data), process=process, **options), studio)
        self._service: Service | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._grace_s = 0.0
        self._listeners: set[_Listener] = set()
        self._ready = threading.Event()
        self._errors: list[BaseException] = []
        try:
            self._thread = start_thread(self._work, name="salon-service")
        except BaseException:
            self._context.close()
            raise
        if not self._ready.wait(START_S):
            self.close()
            text = complaint("studio", f"no start within {START_S:g} s", "a disk that keeps up", "look after it")
            raise JobTimeout(text)
        if self._errors:
            raise self._errors[0]

    def __enter__(self) -> DurableStudio:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def imagine(
        self,
        prompt: str,
        lane: str = "fast",
        *,
        key: str | None = None,
        timeout_s: float = ANSWER_S,
        **fields: Any,
    ) -> DurableJob:
        """Accept a job; it is on disk when this returns.

        Args:
            prompt: what to draw.
            lane: see `bounds.LANES`.
            key: a name of the caller's own: the same key again is the same job, also after a restart; None: a new one.
            timeout_s: how long to wait for the disk.
            fields: further ones of `Request`, such as `images`, `seed`, `steps`, `preview_every`.

        Raises:
            KeyReused, SpecError, LimitError, UnknownLane: see `Service.submit`; there is no job then.
            JobTimeout, TooSlow: it is not on disk yet; the same key finds it, should it get there.
        """
        request = request_of(key=uuid.uuid4().hex if key is None else key, prompt=prompt, lane=lane, **fields)
        submitted = self._ask(self._open.submit(LOCAL, request), timeout_s)
        return DurableJob(self, submitted.job.job)

    def job(self, job: str, *, timeout_s: float = ANSWER_S) -> DurableJob:
        """Return a job by its id, whichever start of the studio accepted it. UnknownJob: there is none."""
        return DurableJob(self, self._ask(self._open.find(job, LOCAL), timeout_s).job)

    def jobs(
        self, *, states: Iterable[str] = (), before: int = 0, limit: int = 20, timeout_s: float = ANSWER_S
    ) -> tuple[JobRecord, ...]:
        """Return jobs, newest first: `limit` of them at most, only those in `states` unless there are none."""
        wanted = tuple(states)
        return self._ask(self._open.page(LOCAL, before=before, limit=limit, states=wanted), timeout_s).jobs

    def close(self, grace_s: float = 0.0) -> None:
        """End the workers and close the folder. Running jobs may finish for `grace_s` seconds; what is left goes on the
        next time that the folder is opened. A second call changes nothing, nor does one in a forked child."""
        if os.getpid() != self._pid or self._loop is None or not self._thread.is_alive():
            return
        self._grace_s = seconds_of(grace_s, "grace_s")
        try:
            self._loop.call_soon_threadsafe(self._stop.set)
        except RuntimeError:  # it is over already
            return
        self._thread.join(self._grace_s + 60.0)

    # ---- inside ----------------------------------------------------------------------------------------------------

    @property
    def _open(self) -> Service:
        check_process(self._pid)
        if self._service is None or not self._thread.is_alive():
            raise StudioClosed("the studio is closed; open the folder again")
        return self._service

    def _ask(self, work: Coroutine[Any, Any, T], timeout_s: float) -> T:
        """Have a request answered on the service's thread. JobTimeout, and what the request raises."""
        assert self._loop is not None
        try:
            seconds = seconds_of(timeout_s)
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except BaseException as error:
            work.close()
            if isinstance(error, RuntimeError):
                raise StudioClosed("the studio is closed; open the folder again") from error
            raise
        try:
            return future.result(seconds)
        except CancelledError:
            raise StudioClosed("the studio is closed; open the folder again") from None
        except TimeoutError:
            future.cancel()
            text = complaint("studio", f"no answer within {seconds:g} s", "an answer", "wait longer, or ask again")
            raise JobTimeout(text) from None

    def _work(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._errors.append(error)
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_default_executor(thread_pool(2, "salon-aside"))
        cleaning: asyncio.Task[None] | None = None
        try:
            service = Service(self._context)
        except BaseException:
            self._context.close()
            raise
        try:
            service.restore()
            self._context.studio.loop.release()
            cleaning = self._loop.create_task(_clean_up(service))
            self._service = service
            self._ready.set()
            await self._stop.wait()
            await service.leave(self._grace_s)
        finally:
            self._service = None
            if cleaning is not None:
                cleaning.cancel()
            service.jobs.closing = True
            for listener in list(self._listeners):
                listener.touched()
            await service.close()

    async def _listen(self, job: str, listener: _Listener) -> JobLog:
        log = await self._open.log(job, LOCAL)
        log.watchers.add(listener)
        self._listeners.add(listener)
        return log

    def _unlisten(self, log: JobLog, listener: _Listener) -> None:
        self._listeners.discard(listener)
        with suppress(RuntimeError):  # the service has ended
            if self._loop is not None:
                self._loop.call_soon_threadsafe(log.watchers.discard, listener)


@dataclass(frozen=True)
class DurableJob:
    """A job in the hands of a program; its id finds it again in any later process. Safe to use from any thread.

    Attributes:
        studio: knows it.
        id: see there.
    """

    studio: DurableStudio
    id: str

    def record(self, *, timeout_s: float = ANSWER_S) -> JobRecord:
        """Return what is known of it now. UnknownJob: it was deleted; JobTimeout."""
        return self.studio._ask(self.studio._open.find(self.id, LOCAL), timeout_s)

    def wait(self, timeout_s: float) -> JobRecord:
        """Wait until it has ended, and that is on disk. JobTimeout: it has not within `timeout_s` seconds."""
        for _ in self.events(timeout_s):
            pass
        return self.record()

    def events(self, timeout_s: float, *, after: int = 0) -> Iterator[JobEvent]:
        """Yield what happens to it, from behind event number `after` to its end; of steps only the latest is kept.

        Raises:
            JobTimeout: it has not ended within `timeout_s` seconds in all.
            UnknownJob: there is no such job.
        """
        end = time.monotonic() + seconds_of(timeout_s)
        listener = _Listener()
        log = self.studio._ask(self.studio._listen(self.id, listener), ANSWER_S)
        try:
            while True:
                listener.news.clear()
                for event in list(log.since(after)):
                    after = event.number
                    yield event
                    if event.kind in FINAL:
                        return
                if log.final:
                    return
                if not listener.news.wait(max(0.0, end - time.monotonic())):
                    allowed = "one that has ended"
                    raise JobTimeout(complaint(f"job {self.id!r}", "one that goes on", allowed, "wait longer"))
                self.studio._open  # noqa: B018  # StudioClosed
        finally:
            self.studio._unlisten(log, listener)

    def pictures(self, timeout_s: float) -> tuple[bytes, ...]:
        """Wait for its end, and return its images as PNG files with their recipes inside.

        Raises:
            JobTimeout: it has not ended within `timeout_s` seconds.
            JobFailed, JobCancelled: it has none.
            UnknownJob: it was deleted.
        """
        record = self._done(timeout_s)
        return tuple(self._file(picture.digest) for picture in record.pictures if picture.index != GRID)

    def grid(self, timeout_s: float) -> bytes:
        """Wait for its end, and return its images side by side, as `pictures` returns them."""
        record = self._done(timeout_s)
        return next(self._file(picture.digest) for picture in record.pictures if picture.index == GRID)

    def cancel(self, *, timeout_s: float = ANSWER_S) -> bool:
        """End it; return, when that is on disk, whether it had not ended before. UnknownJob, JobTimeout."""
        return self.studio._ask(self.studio._open.cancel(self.id, LOCAL), timeout_s)

    def delete(self, *, timeout_s: float = ANSWER_S) -> bool:
        """Remove its pictures and words; return whether it had any. UnknownJob, NotEnded, JobTimeout."""
        return self.studio._ask(self.studio._open.delete(self.id, LOCAL), timeout_s)

    def _done(self, timeout_s: float) -> JobRecord:
        record = self.wait(timeout_s)
        if record.state == "cancelled":
            raise JobCancelled(f"job {self.id!r}: {record.reason}")
        if record.state != "done":
            raise JobFailed(f"job {self.id!r}: {record.reason}", record.failure)
        return record

    def _file(self, digest: str) -> bytes:
        try:
            return self.studio._context.blobs.get(digest)
        except BlobMissing:  # it was deleted meanwhile
            raise no_such_job(self.id) from None


class _Listener:
    """Wakes a thread when a log has something new. See `events.Watcher`."""

    def __init__(self) -> None:
        self.news = threading.Event()

    def touched(self) -> None:
        self.news.set()


async def _clean_up(service: Service) -> None:
    while True:
        await service.clean_up()
        await asyncio.sleep(CLEAN_UP_S)
