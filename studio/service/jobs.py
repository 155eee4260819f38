"""Manage jobs in memory: hand them to the studio, tell their events, and store their ends before they are told.

The manager belongs to the thread of the event loop. The studio's callbacks and the writer call in from their threads by
`post`. Slow work (reading the store, making PNG files) is done on threads of its own and comes back here.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec

from ...engine.inquiries import Text
from ...engine.spec import GenerationSpec
from ...engine.start import PictureForm
from ...errors import SalonError
from ...scheduler.admission import Work
from ...scheduler.plans import lane_of
from ...scheduler.tickets import Lane
from .. import kinds
from ..errors import StoreError, StudioClosed, WorkerLost
from ..job import Event, Job, JobState, UInt8
from ..moderation.types import PICTURES, PROMPT
from ..store.rows import JobRow, PictureRow
from ..store.writes import EndJob, Write
from . import packing
from .context import ServiceContext
from .ended_jobs import EndedJobs
from .errors import no_such_job
from .events import Logs
from .job_record import JobRecord, StoredPicture, record_of, stored_pictures
from .moderation import Moderator, reason_of, text_request
from .new_rows import FULL_S, NewRows
from .pictures import MakeFiles
from .previews import Previews
from .references import ServiceReferences
from .storing import ActiveJob, Storing
from .submitted import NewJob
from .taste_account import ACCOUNT
from .waits import Waits

LOG = logging.getLogger("salon.service")


class JobManager:
    """The jobs that have not ended, and the memory of those that have.

    Args:
        context: store, ledger, accounts and studio.
        waits: waits for reads and writes.
        make_files: turns pixels into files, on a thread; None: `pictures.files_of`.

    Attributes:
        moderator: asks policies about them.
        references: the pictures that they refer to.
        logs: what happened to them.
        live: by id.
        ended: counts since the start, by state.
        recent_files: what was sent of them last.
        storing: puts finished pictures on disk; says which wait for it, and whether the service ends.
        files: the pictures on disk, of which only those go that no job needs.
        seen: called with ("started" or "ended", row).
        opened: called with each job that comes, before its first event.
        deleted: called with (account, job) when a job was deleted.
        hidden: called with (account, jobs) when jobs of an account have become private.
        idle: set while no job is live.
    """

    def __init__(self, context: ServiceContext, waits: Waits, make_files: MakeFiles | None = None) -> None:
        self.context = context
        self.waits = waits
        self.moderator = Moderator(context, waits)
        self.references = ServiceReferences(context, waits, self.moderator)
        self.logs = Logs(context.life)
        self.live: dict[str, ActiveJob] = {}
        self.ended: dict[str, int] = {}
        self.seen: list[Callable[[str, JobRow], object]] = []
        self.opened: list[Callable[[ActiveJob], object]] = []
        self.deleted: list[Callable[[str, str], object]] = []
        self.hidden: list[Callable[[str, Collection[str]], object]] = []
        self.idle = asyncio.Event()
        self.idle.set()
        self._loop = asyncio.get_running_loop()
        self._ended_jobs = EndedJobs()
        self._previews = Previews(lambda job, step, data: self.waits.post(self._show_preview, job, step, data))
        self.storing = Storing(context, waits, self._end, self.moderator, make_files)
        self._new_rows = NewRows(context, waits, self.forget, lambda: self.storing.closing)
        self.files, self.recent_files = self.storing.files, self.storing.recent_files

    def start(
        self,
        row: JobRow,
        spec: GenerationSpec,
        work: Work,
        lane: Lane,
        references: Mapping[PictureForm, UInt8],
        *,
        restored: bool = False,
    ) -> ActiveJob:
        """Hand a job and the pictures that it refers to to the studio. Raises as `Loop.submit`; there is none then."""
        handle = self.context.studio.loop.submit(
            spec, account=row.account, lane=lane, job=row.job, work=work, restored=restored,
            **self._given(row, spec, references),
        )  # fmt: skip
        return self._started(row, handle)

    def start_all(self, submit: str, jobs: Sequence[NewJob]) -> list[ActiveJob]:
        """Hand the jobs of one submit to the studio, all of them. Raises as `Loop.submit_many`; there is none then."""
        first, given = jobs[0].row, [self._given(job.row, job.spec, job.references) for job in jobs]
        handles = self.context.studio.loop.submit_many(
            [job.spec for job in jobs],
            submit=submit,
            jobs=[job.row.job for job in jobs],
            works=[job.work for job in jobs],
            stages=[each.pop("stages") for each in given],
            account=first.account,
            lane=jobs[0].lane,
            **(given[0] | {"references": {form: pixels for job in jobs for form, pixels in job.references.items()}}),
        )
        return [self._started(job.row, handle) for job, handle in zip(jobs, handles, strict=True)]

    def _given(self, row: JobRow, spec: GenerationSpec, references: Mapping[PictureForm, UInt8]) -> dict[str, Any]:
        """Return the arguments of `Loop.submit` that say what follows drawing, whom to tell, and with which
        pictures."""
        return {
            "stages": kinds.named(row.kind).stages(spec, self.context.studio.loop.model),
            "preview_every": 0 if self.moderator.judges(PICTURES) else row.preview_every,
            "on_event": lambda job, event: self.waits.post(self._happened, job, event),
            "on_preview": self._previews.add,
            "on_end": lambda job: self.waits.post(self._studio_ended, job),
            "references": references,
        }

    def _started(self, row: JobRow, handle: Job) -> ActiveJob:
        row = msgspec.structs.replace(row, lane=str(handle.lane), note=handle.note or row.note)
        live = ActiveJob(row, self.logs.open(row.job, row.last_event), handle)
        self._open(live)
        self._add(live, "queued", reason=handle.note)
        for note in row.notes.splitlines():
            self._add(live, "note", steps=row.steps, reason=note)
        return live

    def add(self, live: ActiveJob, *besides: Write) -> asyncio.Future[None]:
        """Have the row of a new job stored; see `NewRows.add`."""
        return self._new_rows.add(live, *besides)

    def add_all(self, lives: Sequence[ActiveJob], *besides: Write) -> asyncio.Future[None]:
        """Have the rows of one submit's jobs stored; see `NewRows.add_all`."""
        return self._new_rows.add_all(lives, *besides)

    def take_back(self, row: JobRow) -> None:
        """Take back a job that was accepted before a restart.

        If it cannot be done any more, it fails with the reason.
        """
        try:
            spec, work = packing.spec_of(row), packing.work_of(row)
            lane = lane_of(row.lane)  # the lane that was promised
            fast_ms = self.context.books.book.prices.charge(work, Lane.FAST)
            if lane is Lane.TURBO and self.context.charged.get(row.job) == fast_ms:
                lane = Lane.FAST  # the job was moved when it lost its worker, and charged as Fast
            pictures = self.references.load(spec)
            self.start(row, spec, work, lane, pictures, restored=True)
        except (SalonError, msgspec.MsgspecError) as error:
            if isinstance(error, StudioClosed | WorkerLost):
                return  # the studio is over already: the job waits for the next start
            if self.context.books.ledger.is_open(row.job):
                self.context.release(row.job)
            live = ActiveJob(row, self.logs.open(row.job, row.last_event))
            self._open(live)
            changes = {"state": "failed", "reason": f"after a restart: {error}", "failure": type(error).__name__}
            self._end(live, changes, ())

    # ---- what happens to jobs --------------------------------------------------------------------------------------

    def _happened(self, job: Job, event: Event) -> None:
        live = self.live.get(job.id)
        if live is None:
            return
        if event.kind == "started" and not live.row.started_ms:
            live.row = msgspec.structs.replace(live.row, started_ms=self.context.now_ms())
            self._tell_seen("started", live.row)
        if event.kind == "note":  # of a model whose prompts only its workers can read
            told = live.row.notes.splitlines()
            if event.reason in told:
                return
            live.row = msgspec.structs.replace(live.row, notes="\n".join([*told, event.reason]))
        self._add(live, event.kind, step=event.step, steps=job.steps, reason=event.reason)

    def _show_preview(self, job: Job, step: int, data: bytes) -> None:
        if (live := self.live.get(job.id)) is not None:
            self._add(live, "preview", step=step, steps=job.steps, preview=data)

    def _studio_ended(self, job: Job) -> None:
        """Take note that the studio is done with a job.

        If the studio or the server ends, it goes on after the next start.
        """
        live = self.live.get(job.id)
        if live is None or (job.state is not JobState.DONE and (self.storing.closing or job.left_open)):
            return
        if job.state is JobState.DONE and job.spec.inquiry:
            self._judge_texts(live, job.texts(0))
            return
        if job.state is JobState.DONE:
            self.storing.begin(live, job)
            return
        self._end(live, {"state": str(job.state), "reason": job.reason, "failure": job.failure}, ())

    def _judge_texts(self, live: ActiveJob, texts: tuple[Text, ...]) -> None:
        """End a job that has made texts, once policies have allowed them. If the service ends meanwhile, that is after
        the next start."""
        done: dict[str, Any] = {"state": "done", "texts": packing.pack_texts(texts)}
        if not texts or not self.moderator.judges(PROMPT) or live.row.account == ACCOUNT:  # what the server itself asks
            self._end(live, done, ())
            return

        async def ask() -> None:
            decision = await self.moderator.finished(text_request(live.row, [text.text for text in texts]))
            blocked = {"state": "blocked", "reason": reason_of(decision), "failure": decision.rule}
            self._end(live, blocked if decision.blocks else done, ())

        self.waits.begin(ask())

    def _end(self, live: ActiveJob, changes: dict[str, Any], pictures: tuple[PictureRow, ...]) -> None:
        """Store a job's end, with its charge; then tell it. One that was charged and has nothing to show is repaid."""
        self.storing.done(live)
        job = live.row.job
        if self.live.get(job) is not live:  # its row could not be stored: there is no such job
            self.storing.release(job)
            return
        charged_ms = self.context.charged.get(job, 0)
        if live.handle is not None:
            charged_ms = live.handle.charged_ms or charged_ms
        if changes["state"] != "done" and charged_ms:
            if not live.repaid:
                live.repaid = True
                self.context.repay(live.row, charged_ms)
            charged_ms = 0
        if live.handle is not None:
            changes |= {"charged_ms": charged_ms, "step": live.handle.step, "lane": str(live.handle.lane)}
        last = live.log.last + len(pictures) + 1
        changes |= {"ended_ms": self.context.now_ms(), "started_ms": live.row.started_ms, "last_event": last}
        if live.row.notes:
            changes["notes"] = live.row.notes
        row = msgspec.structs.replace(live.row, **changes)
        writes: list[Write] = [EndJob(job, changes, pictures)]
        if row.lane == Lane.RELAX:
            writes += self.context.relax_use(row.account)

        def stored(error: StoreError | None) -> None:
            self.waits.post(self._stored_end, live, row, pictures, error)

        try:
            self.context.writer.put(writes, stored)
        except StoreError as error:  # the writer is busy, or closed
            self._stored_end(live, row, pictures, error)

    def _stored_end(
        self, live: ActiveJob, row: JobRow, pictures: tuple[PictureRow, ...], error: StoreError | None
    ) -> None:
        if error is not None:
            LOG.error("the end of job %s could not be stored: %s", row.job, error)
            if not self.storing.closing:
                changes = {"state": row.state, "reason": row.reason, "failure": row.failure, "texts": row.texts}
                self._loop.call_later(FULL_S, self._end, live, changes, pictures)
            return
        self.storing.release(row.job)
        row = msgspec.structs.replace(row, private=live.row.private)  # it may have been published meanwhile
        shown = stored_pictures(pictures)
        self.remember(row, tuple(sorted(shown, key=lambda picture: picture.index)))  # in the store's order
        self.forget(live, keep_log=True)
        for one in shown:
            self._add(live, "image", picture=one)
        self._add(live, row.state, step=row.step, steps=row.steps, reason=row.reason)
        self.logs.end(row.job)
        self.ended[row.state] = self.ended.get(row.state, 0) + 1
        self._tell_seen("ended", row)
        self.storing.shrink(one.digest for one in shown)
        fields = {"job": row.job, "account": row.account, "lane": row.lane, "state": row.state, "failure": row.failure}
        LOG.info("ended", extra=fields | {"ms": row.ended_ms - row.made_ms, "charged_ms": row.charged_ms})

    def tell(self, job: str, kind: str, **fields: Any) -> None:
        """Add an event to the log of a job that has not ended. Raise UnknownJob if there is none."""
        if job not in self.live:
            raise no_such_job(job)
        self._add(self.live[job], kind, **fields)

    # ---- lookups ---------------------------------------------------------------------------------------------------

    def cached(self, job: str) -> tuple[JobRow, tuple[StoredPicture, ...]] | None:
        """Return a job that is in memory, with its pictures; None if it is not."""
        if (live := self.live.get(job)) is not None:
            return live.row, ()
        return self._ended_jobs.get(job)

    def fresh(self, row: JobRow) -> JobRow:
        """Return the row of a job; of one that goes on as it is in memory."""
        live = self.live.get(row.job)
        return row if live is None else msgspec.structs.replace(live.row, seq=row.seq)

    def record_of(self, row: JobRow, pictures: tuple[StoredPicture, ...] = ()) -> JobRecord:
        """Return the record of a job. That of a live job has the state of the studio."""
        live = self.live.get(row.job)
        if live is None or live.handle is None:
            return self._ended_jobs.record_of(row, pictures)
        state = live.handle.state
        shown = JobState.RUNNING if state.final else state  # the end is not on disk yet
        fresh: dict[str, Any] = {"state": str(shown), "step": live.handle.step, "last": live.log.last}
        return record_of(live.row, spec=live.handle.spec, **fresh)

    @property
    def working(self) -> bool:
        """Whether a job has a seat, or pictures of one are being stored."""
        handles = [live.handle for live in self.live.values() if live.handle is not None]
        running = self.context.studio.loop.snapshot().running
        return bool(running) or any(handle.state.final and not handle.left_open for handle in handles)

    def counts(self) -> tuple[dict[str, int], dict[str, int]]:
        """Return (the waiting jobs, those that run or whose end is not on disk yet), counted by lane."""
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
        self.moderator.close()
        self.storing.close()

    def _open(self, live: ActiveJob) -> None:
        self.live[live.row.job] = live
        self.idle.clear()
        for call in self.opened:
            call(live)

    def _add(self, live: ActiveJob, kind: str, **fields: Any) -> None:
        live.log.add(kind, self.context.now_ms(), **fields)

    @property
    def drops(self) -> int:
        """How often jobs were forgotten since they had changed; see `EndedJobs`."""
        return self._ended_jobs.drops

    def remember(self, row: JobRow, pictures: tuple[StoredPicture, ...]) -> None:
        """Keep a job that has ended in memory for a while."""
        self._ended_jobs.remember(row, pictures)

    def forget(self, live: ActiveJob, *, keep_log: bool = False) -> None:
        self.live.pop(live.row.job, None)
        if not keep_log:
            self.logs.drop(live.row.job)
        if not self.live:
            self.idle.set()

    def _tell_seen(self, what: str, row: JobRow) -> None:
        for call in self.seen:
            call(what, row)

    def drop(self, job: str) -> None:
        """Forget an ended job, which may still be in the store."""
        self._ended_jobs.drop(job)
        self.logs.drop(job)

    def forget_before(self, ended_ms: int) -> None:
        """Forget the jobs that ended before a time, since the store has deleted them."""
        self._ended_jobs.drops += 1
        for job in self._ended_jobs.before(ended_ms):
            self.drop(job)

    def remove(self, digests: Sequence[str]) -> None:
        """Delete the files among these that no job has. Called on a thread for reads."""
        for digest in dict.fromkeys(digests):
            self.files.delete(digest)
