"""Jobs in memory: handed to the studio, told as they go, and ended on disk before that is told.

Belongs to the thread of the event loop. The studio's hooks and the writer call in from their threads by `post`; what
may take long (reading the store, making PNG files) is done on threads of its own and comes back here.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from ... import __version__
from ...engine.spec import GenerationSpec
from ...errors import SalonError, complaint
from ...scheduler.admission import Work
from ...scheduler.tickets import Lane
from ...studio.errors import StoreError, StoreLost, StoreRefused, StudioClosed, WorkerLost
from ...studio.job import Event, Job, JobState
from ...studio.store.rows import JobRow, PictureRow
from ...studio.store.writes import AddJob, EndJob, Write
from ...studio.threads import thread_pool
from ..wire.messages import JobInfo, Picture
from . import views
from .events import JobLog, Logs
from .failures import RequestRefused
from .house import House
from .pictures import files_of, store_files
from .pins import Pins, Unpinned
from .previews import Previews
from .recent_files import RecentFiles
from .waits import Waits, settle

LOG = logging.getLogger("salon.server")
FULL_S: Final = 2.0  # between attempts to store pictures on a disk that does not take them
RECENT: Final = 2000  # ended jobs that are remembered beside the store


@dataclass(eq=False)
class Live:
    """A job that has not ended, or whose pictures are not stored yet. `repaid`: it failed after it had been charged."""

    row: JobRow
    log: JobLog
    handle: Job | None = None
    repaid: bool = False


class Keeper:
    """Jobs that have not ended, and what is remembered of those that have.

    Args:
        house: what it stands on.
        touched: called with a log that has something new.

    Attributes:
        waits: for what takes long.
        logs: what happened to them.
        live: by id.
        ended: counts since the start, by state.
        trouble: why pictures wait until the disk takes them.
        recent_files: what was sent of them last.
        files: the pictures on disk, for whoever deletes some.
        closing: the server ends; what has not ended goes on after the next start.
        seen: called with ("started" or "ended", row).
        idle: set while there is no live job.
    """

    def __init__(self, house: House, touched: Callable[[JobLog], None]) -> None:
        self.house = house
        self.waits = Waits(house.writer)
        self.logs = Logs(house.life)
        self.live: dict[str, Live] = {}
        self.ended: dict[str, int] = {}
        self._stuck: set[Live] = set()
        self.trouble: StoreError | None = None
        self.closing = False
        self.seen: list[Callable[[str, JobRow], object]] = []
        self.idle = asyncio.Event()
        self.idle.set()
        self._touched = touched
        self._loop = asyncio.get_running_loop()
        self._recent: OrderedDict[str, tuple[JobRow, tuple[Picture, ...]]] = OrderedDict()
        self._shown: dict[str, tuple[JobRow, JobInfo]] = {}  # what was told of those
        self._previews = Previews(lambda job, step, data: self.waits.post(self._show_preview, job, step, data))
        self._pins = Pins()
        self.recent_files = RecentFiles()
        self.files = Unpinned(house.store, house.blobs, self._pins, self.recent_files.remove)
        self._files = thread_pool(2, "salon-files")

    @property
    def stuck(self) -> int:
        """Jobs whose pictures wait for the disk."""
        return len(self._stuck)

    def start(self, row: JobRow, spec: GenerationSpec, work: Work, lane: Lane, *, restored: bool = False) -> Live:
        """Hand a job to the studio. Raises as `Loop.submit`; there is no job then."""
        handle = self.house.studio.loop.submit(
            spec,
            account=row.account,
            lane=lane,
            job=row.job,
            work=work,
            preview_every=row.preview_every,
            on_event=lambda job, event: self.waits.post(self._happened, job, event),
            on_preview=self._previews.add,
            on_end=lambda job: self.waits.post(self._studio_ended, job),
            restored=restored,
        )
        row = msgspec.structs.replace(row, lane=str(handle.lane), note=handle.note or row.note)
        live = Live(row, self.logs.open(row.job, row.last_event), handle)
        self.live[row.job] = live
        self.idle.clear()
        self._add(live, "queued", reason=handle.note)
        return live

    def add(self, live: Live) -> asyncio.Future[None]:
        """Have the row of a new job stored. The future ends when it is; or with the StoreError for which it is not, and
        then there is no such job."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._put_row(live, future)
        return future

    def _put_row(self, live: Live, future: asyncio.Future[None], lost: bool = False) -> None:
        try:
            self.house.writer.put(
                [AddJob(live.row)], lambda error: self.waits.post(self._row_put, live, future, lost, error)
            )
        except StoreError as error:  # it is busy, or closed
            self._row_put(live, future, lost, error)

    def _row_put(self, live: Live, future: asyncio.Future[None], lost: bool, error: StoreError | None) -> None:
        """`lost`: an earlier attempt may have been stored without an answer; then the row is refused as there."""
        refused = isinstance(error, StoreRefused)
        if error is None or (lost and refused):
            settle(future, None)
            return
        handle = live.handle
        ended = handle is not None and not handle.cancel()
        if ended and handle is not None and handle.state is JobState.DONE and not (refused or self.closing):
            LOG.error("a job that is done waits for the store: %s", error, extra={"job": live.row.job})
            lost = lost or isinstance(error, StoreLost)  # made and paid for, like its pictures: it can be put right
            self._loop.call_later(FULL_S, self._put_row, live, future, lost)
            return
        self.forget(live)
        settle(future, error)

    def take_back(self, row: JobRow) -> None:
        """A job that was accepted before a restart. One that cannot be done any more fails, with the reason."""
        try:
            spec, work = views.spec_of(row), views.work_of(row)
            lane = lane_of(row.lane)  # that was promised
            if lane is Lane.TURBO and self.house.charged.get(row.job) == work.charge(self.house.books.book, Lane.FAST):
                lane = Lane.FAST  # it was moved when it lost its worker, and charged like that
            self.start(row, spec, work, lane, restored=True)
        except (SalonError, msgspec.MsgspecError) as error:
            if isinstance(error, StudioClosed | WorkerLost):
                return  # the studio is over already: the job waits for the next start
            if self.house.books.ledger.is_open(row.job):
                self.house.release(row.job)
            live = Live(row, self.logs.open(row.job, row.last_event))
            self.live[row.job] = live
            self.idle.clear()
            changes = {"state": "failed", "reason": f"after a restart: {error}", "failure": type(error).__name__}
            self._end(live, changes, ())

    # ---- what happens to jobs --------------------------------------------------------------------------------------

    def _happened(self, job: Job, event: Event) -> None:
        live = self.live.get(job.id)
        if live is None:
            return
        if event.kind == "started" and not live.row.started_ms:
            live.row = msgspec.structs.replace(live.row, started_ms=self.house.now_ms())
            self._tell_seen("started", live.row)
        self._add(live, event.kind, step=event.step, steps=job.spec.steps, reason=event.reason)

    def _show_preview(self, job: Job, step: int, data: bytes) -> None:
        if (live := self.live.get(job.id)) is not None:
            self._add(live, "preview", step=step, steps=job.spec.steps, preview=data)

    def _studio_ended(self, job: Job) -> None:
        """The studio is done with it. Where that has ended, or the server ends, it goes on after the next start."""
        live = self.live.get(job.id)
        if live is None or (job.state is not JobState.DONE and (self.closing or job.left_open)):
            return
        if job.state is JobState.DONE:
            self._files.submit(self._store_pictures, live, job)
            return
        self._end(live, {"state": str(job.state), "reason": job.reason, "failure": job.failure}, ())

    def _store_pictures(self, live: Live, job: Job) -> None:
        """On a thread for files."""
        try:
            files = files_of(self.house.studio.loop.model, job, job.result(0), __version__)
            digests = [hashlib.sha256(data).hexdigest() for _, _, data in files]
            self._pins.hold(job.id, digests)
            pictures = store_files(self.house.blobs, job.id, files)
        except StoreError as error:  # made and paid for: whatever the disk has, it can be put right
            self.waits.post(self._wait_for_disk, live, job, error)
        except Exception as error:
            LOG.exception("pictures of job %s", job.id)
            changes = {"state": "failed", "reason": f"its pictures could not be stored: {error}", "failure": "Internal"}
            self.waits.post(self._end, live, changes, ())
        else:
            self.waits.post(self._end, live, {"state": "done"}, pictures)

    def _wait_for_disk(self, live: Live, job: Job, error: StoreError) -> None:
        """It is full or out of order: the pictures wait in memory, and meanwhile nothing is accepted."""
        LOG.error("a job's pictures wait for the disk: %s", error, extra={"job": job.id})
        self._stuck.add(live)
        self.trouble = error

        def again() -> None:
            if not self.closing:
                self._files.submit(self._store_pictures, live, job)

        self._loop.call_later(FULL_S, again)

    def _end(self, live: Live, changes: dict[str, Any], pictures: tuple[PictureRow, ...]) -> None:
        """Store a job's end, with its charge; then tell it. One that was charged and has nothing to show is repaid."""
        self._stuck.discard(live)
        job = live.row.job
        if self.live.get(job) is not live:  # its row could not be stored: there is no such job
            self._pins.release(job)
            return
        charged_ms = self.house.charged.get(job, 0)
        if live.handle is not None:
            charged_ms = live.handle.charged_ms or charged_ms
        if changes["state"] != "done" and charged_ms:
            if not live.repaid:
                live.repaid = True
                self.house.repay(live.row, charged_ms)
            charged_ms = 0
        if live.handle is not None:
            changes |= {"charged_ms": charged_ms, "step": live.handle.step, "lane": str(live.handle.lane)}
        last = live.log.last + len(pictures) + 1
        changes |= {"ended_ms": self.house.now_ms(), "started_ms": live.row.started_ms, "last_event": last}
        row = msgspec.structs.replace(live.row, **changes)
        writes: list[Write] = [EndJob(job, changes, pictures)]
        if row.lane == Lane.RELAX:
            writes += self.house.relax_use(row.account)

        def stored(error: StoreError | None) -> None:
            self.waits.post(self._stored_end, live, row, pictures, error)

        try:
            self.house.writer.put(writes, stored)
        except StoreError as error:  # it is busy, or closed
            self._stored_end(live, row, pictures, error)

    def _stored_end(self, live: Live, row: JobRow, pictures: tuple[PictureRow, ...], error: StoreError | None) -> None:
        if error is not None:
            LOG.error("the end of job %s could not be stored: %s", row.job, error)
            if not self.closing:
                changes = {"state": row.state, "reason": row.reason, "failure": row.failure}
                self._loop.call_later(FULL_S, self._end, live, changes, pictures)
            return
        self._pins.release(row.job)
        shown = tuple(map(views.picture, pictures))
        self.remember(row, shown)
        self.forget(live, keep_log=True)
        for one in shown:
            self._add(live, "image", picture=one)
        self._add(live, row.state, step=row.step, steps=row.steps, reason=row.reason)
        self.logs.end(row.job)
        self.ended[row.state] = self.ended.get(row.state, 0) + 1
        self._tell_seen("ended", row)
        fields = {"job": row.job, "account": row.account, "lane": row.lane, "state": row.state, "failure": row.failure}
        LOG.info("ended", extra=fields | {"ms": row.ended_ms - row.made_ms, "charged_ms": row.charged_ms})

    # ---- what is known of them ------

    def at_hand(self, job: str) -> tuple[JobRow, tuple[Picture, ...]] | None:
        """A job that is in memory, with its pictures."""
        if (live := self.live.get(job)) is not None:
            return live.row, ()
        return self._recent.get(job)

    def info_of(self, row: JobRow, pictures: tuple[Picture, ...] = ()) -> JobInfo:
        live = self.live.get(row.job)
        if live is None or live.handle is None:
            kept = self._shown.get(row.job)
            if kept is not None and kept[0] is row:
                return kept[1]
            info = views.job_info(row, pictures)
            if row.job in self._recent:
                self._shown[row.job] = (row, info)
            return info
        state = live.handle.state
        shown = JobState.RUNNING if state.final else state  # its end is not on disk yet
        row = msgspec.structs.replace(live.row, state=str(shown))
        return views.job_info(row, step=live.handle.step, last=live.log.last, spec=live.handle.spec)

    def counts(self) -> tuple[dict[str, int], dict[str, int]]:
        """(those that wait, those that run or whose end is not on disk yet), by lane."""
        queued: Counter[str] = Counter()
        running: Counter[str] = Counter()
        for live in self.live.values():
            waits = live.handle is not None and live.handle.state in (JobState.QUEUED, JobState.PAUSED)
            lane = live.row.lane if live.handle is None else str(live.handle.lane)
            (queued if waits else running)[lane] += 1
        return dict(queued), dict(running)

    # ---- inside ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Store the pictures that were made, and end."""
        self._previews.close()
        self._files.shutdown(wait=True, cancel_futures=False)

    def _add(self, live: Live, kind: str, **fields: Any) -> None:
        live.log.add(kind, self.house.now_ms(), **fields)
        self._touched(live.log)

    def remember(self, row: JobRow, pictures: tuple[Picture, ...]) -> None:
        self._recent[row.job] = (row, pictures)
        while len(self._recent) > RECENT:
            oldest, _ = self._recent.popitem(last=False)
            self._shown.pop(oldest, None)

    def forget(self, live: Live, *, keep_log: bool = False) -> None:
        self.live.pop(live.row.job, None)
        if not keep_log:
            self.logs.drop(live.row.job)
        if not self.live:
            self.idle.set()

    def _tell_seen(self, what: str, row: JobRow) -> None:
        for call in self.seen:
            call(what, row)

    def drop(self, job: str) -> None:
        """Forget what is remembered of an ended job."""
        self._recent.pop(job, None)
        self._shown.pop(job, None)
        self.logs.drop(job)

    def forget_before(self, ended_ms: int) -> None:
        """Forget what is remembered of jobs that ended before; they were deleted."""
        for job in [job for job, (row, _) in self._recent.items() if row.ended_ms < ended_ms]:
            self.drop(job)

    def remove(self, digests: Sequence[str]) -> None:
        """Delete the files among these that no job has. On a thread for reads."""
        for digest in dict.fromkeys(digests):
            self.files.delete(digest)


def lane_of(name: str) -> Lane:
    try:
        return Lane(name)
    except ValueError:
        raise RequestRefused(
            "invalid", complaint("lane", repr(name), ", ".join(Lane), "choose one"), kind="UnknownLane"
        ) from None
