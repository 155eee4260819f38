"""Turn pixels of finished jobs into files, on threads of their own. While the disk takes none, they wait in memory."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ... import __version__
from ..errors import BlobMissing, StoreError
from ..job import Job
from ..moderation.types import PICTURES
from ..store.rows import GRID, JobRow, PictureRow
from ..threads import thread_pool
from .context import ServiceContext
from .errors import PicturesBlocked
from .events import JobLog
from .moderation import Moderator, picture_request, reason_of
from .pictures import Files, MakeFiles, files_of, store_files
from .pins import Pins, Unpinned
from .recent_files import RecentFiles
from .thumbnails import Thumbnails
from .waits import Waits

LOG = logging.getLogger("salon.service")
FULL_S: Final = 2.0  # pause between attempts to store pictures on a disk that does not take them
BEHIND: Final = (
    10_000  # pictures whose thumbnails wait to be made; those of the oldest are made when they are asked for
)


@dataclass(eq=False)
class ActiveJob:
    """A job that has not ended, or whose pictures are not stored yet.

    Attributes:
        row: its row.
        log: its events.
        handle: the studio's job, if it has one.
        repaid: whether it was repaid, since it failed after it had been charged.
    """

    row: JobRow
    log: JobLog
    handle: Job | None = None
    repaid: bool = False


class Storing:
    """Makes and stores the files of jobs that are done.

    Used on the event loop's thread; threads of its own make the files.

    Args:
        context: has store and files.
        waits: brings calls to the loop's thread.
        ended: called as (job, changes of its row, pictures) on that thread, when its files are stored or never will be.
        moderator: asks policies about the files before they are stored.
        make_files: turns pixels into files, on a thread; None: `pictures.files_of`. PicturesBlocked ends a job as
            blocked.

    Attributes:
        stuck: jobs whose pictures wait for the disk.
        trouble: the error for which they wait.
        closing: whether nothing is tried again.
        files: the pictures on disk; deleting keeps those that a job needs.
        recent_files: the files that were made or sent last.
        thumbnails: small files of them.
        shrinks: whether these are made as soon as pictures are stored; else when they are asked for.
    """

    def __init__(
        self,
        context: ServiceContext,
        waits: Waits,
        ended: Callable[[ActiveJob, dict[str, Any], tuple[PictureRow, ...]], None],
        moderator: Moderator,
        make_files: MakeFiles | None = None,
    ) -> None:
        self.stuck: set[ActiveJob] = set()
        self.trouble: StoreError | None = None
        self.closing = self.shrinks = False
        self._context, self._waits, self._ended = context, waits, ended
        self._moderator, self._make_files = moderator, make_files
        self._pins = Pins()
        self.recent_files = RecentFiles()
        self.thumbnails = Thumbnails(Path(context.options.data) / "thumbnails", context.blobs)
        self.files = Unpinned(context.store, context.blobs, self._pins, self._gone)
        self._loop = asyncio.get_running_loop()
        self._threads = thread_pool(2, "salon-files")
        self._large: deque[str] = deque(maxlen=BEHIND)  # digests of pictures that may have no thumbnails yet
        self._shrinking: asyncio.Task[None] | None = None

    def begin(self, live: ActiveJob, job: Job, files: Files | None = None) -> None:
        """Store the pictures of a job that is done. Until `release` no deletion takes them.

        After `close` nothing is stored: the job goes on after the next start, to the same pixels.

        Args:
            files: its files, which policies have allowed; None: they are made, and policies are asked.
        """
        try:
            self._threads.submit(self._store, live, job, files)
        except RuntimeError:  # the threads have ended
            LOG.debug("late: the pictures of job %s", job.id)

    def done(self, live: ActiveJob) -> None:
        """Take note that a job does not wait any more."""
        self.stuck.discard(live)

    def release(self, job: str) -> None:
        """Release a job's files: its rows are stored, or it has none."""
        self._pins.release(job)

    def shrink(self, digests: Iterable[str]) -> None:
        """Have the thumbnails of stored pictures made, one picture after another, beside all other work. Those that the
        end of the service, or a crash, comes before are made when they are asked for."""
        if not self.shrinks:
            return
        self._large.extend(digests)
        if self._large and (self._shrinking is None or self._shrinking.done()):
            self._shrinking = self._waits.begin(self._shrink())

    def close(self) -> None:
        """Store the pictures that were made, and end."""
        self._threads.shutdown(wait=True, cancel_futures=False)

    def _store(self, live: ActiveJob, job: Job, files: Files | None) -> None:
        """Make and store the files of a job, on a thread for files."""
        allowed = files
        try:
            if files is None:
                make = self._make_files or files_of
                files = make(self._context.studio.loop.model, job, job.result(0), __version__)
                if self._moderator.judges(PICTURES):
                    self._waits.post(self._judge, live, job, files)
                    return
            digests = [hashlib.sha256(data).hexdigest() for _, _, data in files]
            self._pins.hold(job.id, digests)
            pictures = store_files(self._context.blobs, job.id, files)
        except StoreError as error:  # the job is made and paid for, so it waits until the disk is put right
            self._waits.post(self._wait_for_disk, live, job, allowed, error)
        except PicturesBlocked as error:
            self._waits.post(self._ended, live, {"state": "blocked", "reason": str(error), "failure": ""}, ())
        except Exception as error:
            LOG.exception("pictures of job %s", job.id)
            changes = {"state": "failed", "reason": f"its pictures could not be stored: {error}", "failure": "Internal"}
            self._waits.post(self._ended, live, changes, ())
        else:
            self._waits.post(self._ended, live, {"state": "done"}, pictures)

    async def _shrink(self) -> None:
        while self._large:
            digest = self._large.popleft()
            try:
                await asyncio.to_thread(self.thumbnails.make_once, digest)
            except BlobMissing:  # its job was deleted meanwhile
                continue
            except Exception:  # a fault of one picture, whatever it is, must not end the task that makes all others
                LOG.exception("thumbnails of picture %s; they are made when they are asked for", digest)

    def _gone(self, digest: str) -> None:
        self.recent_files.remove(digest)
        self.thumbnails.remove(digest)

    def _judge(self, live: ActiveJob, job: Job, files: Files) -> None:
        """Ask policies about files, and store them if they are allowed. If the service ends meanwhile, the job goes on
        after the next start."""

        async def ask() -> None:
            shown = [data for index, _, data in files if index != GRID]
            decision = await self._moderator.finished(picture_request(live.row, job.spec, shown))
            if decision.blocks:
                changes = {"state": "blocked", "reason": reason_of(decision), "failure": decision.rule}
                self._ended(live, changes, ())
            else:
                self.begin(live, job, files)

        self._waits.begin(ask())

    def _wait_for_disk(self, live: ActiveJob, job: Job, files: Files | None, error: StoreError) -> None:
        """Keep the pictures in memory while the disk is full or out of order. Meanwhile nothing is accepted."""
        LOG.error("a job's pictures wait for the disk: %s", error, extra={"job": job.id})
        self.stuck.add(live)
        self.trouble = error

        def again() -> None:
            if not self.closing:
                self.begin(live, job, files)

        self._loop.call_later(FULL_S, again)
