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
import uuid
from collections.abc import Coroutine, Iterable
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

from ...bounds import LOCAL
from ...engine.words import WordList
from ...errors import complaint
from ...parameters.known import checked
from ...parameters.request import OWN_STYLE
from ..errors import JobTimeout, StudioClosed
from ..job import seconds_of
from ..references import digest_of, read_file
from ..threads import check_process, start_thread, thread_pool
from .context import OpenStudio, ServiceContext, open_studio
from .durable_job import ANSWER_S, DurableJob, Listener
from .events import JobLog
from .job_record import JobRecord
from .options import ServiceOptions
from .request import request_of
from .service import Service

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
        self._listeners: set[Listener] = set()
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
            fields: `private` and `preview_every`, and everything else that a request can say, by the names of
                docs/parameters.md, such as `images`, `seed` or `style_references`. The model's default style is left
                out where none of them speaks of styles.

        Raises:
            ParameterError: an unknown name or a value out of range.
            KeyReused, SpecError, LimitError, UnknownLane: see `Service.submit`; there is no job then.
            JobTimeout, TooSlow: it is not on disk yet; the same key finds it, should it get there.
        """
        own = {name: fields.pop(name) for name in ("private", "preview_every", "parameters") if name in fields}
        said = checked(fields | (own.pop("parameters", None) or {}))
        if not said.keys() & set(OWN_STYLE):
            said["stylize"] = 0.0
        key = uuid.uuid4().hex if key is None else key
        request = request_of(key=key, prompt=prompt, lane=lane, parameters=said, **own)
        submitted = self._ask(self._open.submit(LOCAL, request), timeout_s)
        return DurableJob(self, submitted.job.job)

    def add_reference(self, picture: str | os.PathLike[str] | bytes, *, timeout_s: float = ANSWER_S) -> str:
        """Keep a picture to draw in the style of, its file or the bytes of one, on disk. Return its digest, for
        `style_references` of `imagine`.

        Raises:
            ReferenceRefused: the file cannot be read, or is no picture.
            StoreError, TooSlow, JobTimeout: it could not be stored, or not in time.
        """
        data = picture if isinstance(picture, bytes) else read_file(picture)
        digest = digest_of(data)
        self._ask(self._open.jobs.references.add(LOCAL, digest, data), timeout_s)
        return digest

    def words(self, like: str = "") -> WordList:
        """See `Studio.words`."""
        check_process(self._pid)
        return self._context.studio.words(like)

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

    async def _listen(self, job: str, listener: Listener) -> JobLog:
        log = await self._open.log(job, LOCAL)
        log.watchers.add(listener)
        self._listeners.add(listener)
        return log

    def _unlisten(self, log: JobLog, listener: Listener) -> None:
        self._listeners.discard(listener)
        with suppress(RuntimeError):  # the service has ended
            if self._loop is not None:
                self._loop.call_soon_threadsafe(log.watchers.discard, listener)


async def _clean_up(service: Service) -> None:
    while True:
        await service.clean_up()
        await asyncio.sleep(CLEAN_UP_S)
