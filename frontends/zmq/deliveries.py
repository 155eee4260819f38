"""Send events of watched jobs, and pictures in chunks, as far as their reader grants credit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from functools import partial
from typing import Any, Final

from ...studio.errors import BlobMissing
from ...studio.service.errors import no_such_job
from ...studio.service.events import JobLog
from ...studio.service.recent_files import LARGEST
from ...studio.service.service import Service
from ..wire import messages as m
from .failures import RequestRefused, failure_of
from .router import Router
from .sessions import Fetching, Session, Watcher

AHEAD: Final = 8  # chunks of a picture that are read from disk at once


class Deliveries:
    """The watches and fetches of all connections. Used on the event loop's thread.

    Args:
        service: knows jobs, and which accounts may see them.
        router: sends messages.
        spawn: runs a coroutine as a task.

    Attributes:
        sent_bytes: bytes of pictures that were sent.
    """

    def __init__(self, service: Service, router: Router, spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        self.sent_bytes = 0
        self._service, self._router, self._spawn = service, router, spawn
        service.jobs.hidden.append(self._hidden)

    def watch_now(self, session: Session, id: bytes, request: m.Watch) -> bool:
        """Begin a watch of a job that is in memory, without waiting. Return False if it has to be looked up first.

        Thus an `unwatch` or `bye` that comes next cannot overtake the watch.
        """
        log = self._service.log_cached(request.job, session.account)
        if log is not None:
            self._begin(session, id, request, log)
        return log is not None

    async def watch(self, session: Session, id: bytes, request: m.Watch) -> None:
        """Begin to tell the events of a job.

        Raises:
            UnknownJob: this account has no such job.
            RequestRefused: there are too many watches.
        """
        log = await self._service.log(request.job, session.account)
        if not session.gone:  # else no message would ever end the watch
            self._begin(session, id, request, log)

    def _begin(self, session: Session, id: bytes, request: m.Watch, log: JobLog) -> None:
        if id in session.watchers or len(session.watchers) >= self._router.limits.max_watches:
            raise RequestRefused("busy", f"watches: {len(session.watchers)} already, or this id; end some", 100)
        watcher = Watcher(session, id, log, request.after, request.previews, self._router.touch)
        session.watchers[id] = watcher
        log.watchers.add(watcher)
        self._router.touch(session)

    def unwatch(self, session: Session, id: bytes, request: m.Unwatch) -> None:
        """End a watch early. Both the watch and the request get their final answers."""
        watcher = session.watchers.pop(request.watch, None)
        if watcher is not None:
            watcher.log.watchers.discard(watcher)
            self._router.reply(session, watcher.id, m.Watched(last=watcher.told))
        self._router.reply(session, id, m.Done(changed=watcher is not None))

    async def fetch(self, session: Session, id: bytes, request: m.Fetch) -> None:
        """Begin to send a picture.

        Raises:
            UnknownJob: this account has no such job.
            RequestRefused: the job has no such picture, or there are too many fetches.
        """
        job = await self._service.find(request.job, session.account)
        if session.gone:
            return
        picture = next((picture for picture in job.pictures if picture.index == request.index), None)
        if picture is None:
            what = "grid" if request.index == m.GRID else f"picture {request.index}"
            raise RequestRefused("not_found", f"{what} of job {job.job!r}, which is {job.state}: there is none (yet)")
        if request.offset >= picture.size:
            raise RequestRefused("invalid", f"offset: got {request.offset}, allowed below {picture.size}; correct it")
        if id in session.fetches or len(session.fetches) >= self._router.limits.max_fetches:
            raise RequestRefused("busy", f"fetches: {len(session.fetches)} already, or this id; let some end", 100)
        fetch = Fetching(id, job.job, picture.digest, picture.size, request.offset, request.credit)
        session.fetches[id] = fetch
        self._feed(session, fetch)

    def credit(self, session: Session, notice: m.Credit) -> None:
        """Grant a fetch so many chunks more."""
        fetch = session.fetches.get(notice.fetch)
        if fetch is not None:
            fetch.credit = min(self._router.limits.max_credit, fetch.credit + notice.chunks)
            self._feed(session, fetch)

    def _feed(self, session: Session, fetch: Fetching) -> None:
        """Send what a fetch's credit allows, a few chunks at a time."""
        if not fetch.busy and fetch.credit > 0 and not session.gone:
            fetch.busy = True
            self._spawn(self._send(session, fetch))

    async def _send(self, session: Session, fetch: Fetching) -> None:
        chunk = self._router.limits.chunk
        blobs, recent = self._service.context.blobs, self._service.jobs.recent_files
        digest = fetch.digest
        try:
            data: bytes | None = None
            if fetch.total <= LARGEST and (data := recent.get(digest)) is None:
                data = await self._service.waits.read(partial(recent.read, digest, partial(blobs.get, digest)))
            whole = None if data is None else memoryview(data)
            if whole is not None and len(whole) != fetch.total:
                raise no_such_job(fetch.job)
            while fetch.credit > 0 and not session.gone:
                count = min(fetch.credit, AHEAD)
                size = min(count * chunk, fetch.total - fetch.offset)
                end = fetch.offset + size
                if whole is not None:
                    for start in range(fetch.offset, end, chunk):
                        self._chunk(session, fetch, whole[start : min(start + chunk, end)])
                    await asyncio.sleep(0)  # gives other tasks a turn
                else:
                    read = partial(blobs.read, digest, fetch.offset, end - fetch.offset)
                    part = memoryview(await self._service.waits.read(read))
                    if len(part) != end - fetch.offset:
                        raise no_such_job(fetch.job)
                    for start in range(0, len(part), chunk):
                        self._chunk(session, fetch, part[start : start + chunk])
                if fetch.offset == fetch.total:
                    return
        except BlobMissing:  # the job was deleted meanwhile
            session.fetches.pop(fetch.id, None)
            self._router.reply(session, fetch.id, failure_of(no_such_job(fetch.job)))
        except Exception as error:
            session.fetches.pop(fetch.id, None)
            self._router.reply(session, fetch.id, failure_of(error))
        finally:
            fetch.busy = False

    def _hidden(self, account: str, jobs: Collection[str]) -> None:
        """End what other accounts watch and fetch of jobs that have become private."""
        for session in [each for each in self._router.sessions.values() if each.account != account]:
            ended = [(id, each.log.job) for id, each in session.watchers.items() if each.log.job in jobs]
            for id, _ in ended:
                watcher = session.watchers.pop(id)
                watcher.log.watchers.discard(watcher)
            for id, fetch in list(session.fetches.items()):
                if fetch.job in jobs:
                    del session.fetches[id]
                    fetch.credit = 0
                    ended.append((id, fetch.job))
            for id, job in ended:
                self._router.reply(session, id, failure_of(no_such_job(job)))

    def _chunk(self, session: Session, fetch: Fetching, part: memoryview) -> None:
        record = m.Chunk(offset=fetch.offset, total=fetch.total, digest=fetch.digest)
        fetch.offset += len(part)
        fetch.credit -= 1
        if fetch.offset == fetch.total:
            session.fetches.pop(fetch.id, None)
        self.sent_bytes += len(part)
        self._router.reply(session, fetch.id, record, part)
