"""What users may ask of their jobs: submit, show, list, cancel, delete. On the loop's thread."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from typing import Final

import msgspec

from ...engine.spec import GenerationSpec
from ...errors import complaint
from ...scheduler.admission import Work
from ...scheduler.plans import Kind
from ...scheduler.tickets import Lane
from ...studio.store.retention import check_quota
from ...studio.store.rows import FINAL, OPEN, JobRow, PictureRow
from ...studio.store.writes import DeleteJob, SetJob
from ..wire.messages import Accepted, Done, JobInfo, JobList, ListJobs, Picture, Submit
from . import views
from .events import JobLog, told_again
from .failures import RequestRefused, no_such_job
from .keeper import Keeper, lane_of
from .waits import settle

LOG = logging.getLogger("salon.server")
MAX_PAGE_BYTES: Final = 1 << 17  # of a list; who does not read has hundreds of them waiting
Found = tuple[JobRow, tuple[Picture, ...]]
CANCEL_S: Final = 120.0  # a step of a large model, and the write


class Service:
    """The users' requests.

    Attributes:
        draining: nothing is accepted any more.
        accepted: jobs since the start.
    """

    def __init__(self, keeper: Keeper) -> None:
        self.keeper = keeper
        self.house = keeper.house
        self.draining = False
        self.accepted = 0
        self.waits = keeper.waits
        self._keys: dict[tuple[str, str], asyncio.Task[tuple[Found, bool]]] = {}  # submits that are not stored yet
        self._retried: set[str] = set()  # jobs that are just being taken back

    # ---- submit ----------------------------------------------------------------------------------------------------

    async def submit(self, account: str, request: Submit) -> Accepted:
        """Accept a job, once for each key. Whatever this raises, there is none; but if the store is too slow (`busy`),
        there may be one, and the same key finds it."""
        key, print_ = (account, request.key), fingerprint(request)
        task = self._keys.get(key)
        pending = task is not None
        if task is None:
            task = self._keys[key] = self.waits.begin(self._submit(account, request, print_))
            task.add_done_callback(lambda _: self._keys.pop(key))
        found, existing = await self.waits.outlast(task)
        existing = existing or pending
        row, pictures = self.keeper.at_hand(found[0].job) or found  # it may have gone on meanwhile
        if row.request != print_:
            text = complaint(
                "key", f"{request.key!r} again, with another request", "a key for each job", "make a new one"
            )
            raise RequestRefused("invalid", text, kind="KeyReused")
        return Accepted(job=self.keeper.info_of(row, pictures), existing=existing)

    async def _submit(self, account: str, request: Submit, print_: bytes) -> tuple[Found, bool]:
        """(the job, whether it was there already)."""
        house = self.house
        owner = house.accounts[account]

        def look() -> tuple[JobRow, tuple[PictureRow, ...]] | None:
            row = house.store.job_by_key(account, request.key)
            if row is not None:
                return row, house.store.pictures(row.job)
            if house.quota(owner):
                check_quota(house.store, owner, 0, house.options.quota_bytes)
            return None

        stored = await self.waits.read(look)
        if stored is not None:
            return (stored[0], tuple(map(views.picture, stored[1]))), True
        if self.draining:
            raise RequestRefused("draining", "server: it is draining and accepts nothing; try again later", 2000)
        if self.keeper.stuck and (trouble := self.keeper.trouble) is not None:
            raise type(trouble)(f"disk: finished pictures wait until it takes them; try again later ({trouble})")
        lane = lane_of(request.lane)
        spec = self._spec(request, lane)
        work = Work(kind=Kind.GRID, images=spec.images, stealth=request.private)
        job = secrets.token_hex(12)
        live = self.keeper.start(JobRow(
            job=job,
            account=account,
            key=request.key,
            request=print_,
            spec=views.pack(spec),
            work=views.pack(work),
            prompt=request.prompt,
            asked_lane=str(lane),
            private=request.private,
            preview_every=request.preview_every,
            made_ms=house.now_ms(),
            steps=spec.steps,
        ), spec, work, lane)  # fmt: skip
        await self.keeper.add(live)
        self.accepted += 1
        LOG.info("accepted", extra={"job": job, "account": account, "lane": live.row.lane, "images": spec.images})
        return (live.row, ()), False

    def _spec(self, request: Submit, lane: Lane) -> GenerationSpec:
        names = ("width", "height", "steps", "seed", "guidance_scale", "solver", "shift")
        fields = {name: value for name in names if (value := getattr(request, name)) is not None}
        return self.house.studio.make_spec(
            request.prompt,
            lane=lane,
            aspect=request.aspect,
            negative_prompt=request.negative_prompt,
            images=request.images,
            **fields,
        )

    async def retry(self, job: str) -> JobRow:
        """Run a failed job again, for nothing. Once, however many ask for it at the same time."""
        return await self.waits.outlast(self.waits.begin(self._retry(job)))

    async def _retry(self, job: str) -> JobRow:
        if job in self._retried:
            raise _not_failed("being tried again already")
        self._retried.add(job)  # before anything is waited for: two would each take it back, and the job be lost
        try:
            store = self.house.store
            row = await self.waits.read(lambda: store.job(job))
            if row is None:
                raise no_such_job(job)
            if job in self.keeper.live or row.state != "failed" or row.deleted:
                raise _not_failed(row.state)
            fresh = {"state": "queued", "reason": "", "failure": "", "started_ms": 0, "ended_ms": 0}
            await self.waits.stored([SetJob(job, fresh)])
            self.keeper.drop(job)
            row = msgspec.structs.replace(row, **fresh)
            self.keeper.take_back(row)
            live = self.keeper.live.get(job)
            return row if live is None else live.row  # without a studio it waits for the next start
        finally:
            self._retried.discard(job)

    # ---- looking at jobs -------------------------------------------------------------------------------------------

    async def find(self, job: str, account: str) -> Found:
        """A job and its pictures, for somebody who may see it. RequestRefused: there is none for this account."""
        found = await self._look(job)
        if not may_see(found[0], account):
            raise no_such_job(job)
        return found

    async def _own(self, job: str, account: str, *, operator: bool, deleted: bool = False) -> Found:
        """A job and its pictures, for its owner or an operator; with `deleted`, also one that was. RequestRefused."""
        found = await self._look(job, deleted=deleted)
        if not (operator or may_see(found[0], account, owner=True)):
            raise no_such_job(job)
        return found

    async def _look(self, job: str, *, deleted: bool = False) -> Found:
        """Whoever asks must not be told before `may_see`. RequestRefused: there is no such job."""
        found = self.keeper.at_hand(job)
        if found is not None:
            return found
        store = self.house.store

        def look() -> tuple[JobRow | None, tuple[PictureRow, ...]]:
            row = store.job(job)
            return row, store.pictures(job) if row is not None else ()

        row, pictures = await self.waits.read(look)
        if row is None or (row.deleted and not deleted):
            raise no_such_job(job)
        found = row, tuple(map(views.picture, pictures))
        if row.state in FINAL and not row.deleted:
            self.keeper.remember(*found)
        return found

    async def show(self, job: str, account: str, *, operator: bool) -> JobInfo:
        """A job as this account may see it."""
        found = await self._look(job)
        if may_see(found[0], account):
            return self.keeper.info_of(*found)
        if not operator:
            raise no_such_job(job)
        return views.redacted(self.keeper.info_of(*found))

    async def log(self, job: str, account: str) -> JobLog:
        """The events of a job that this account may see."""
        return self._log_of(*await self.find(job, account))

    def log_at_hand(self, job: str, account: str) -> JobLog | None:
        """`log` without waiting; None: the job has to be looked up first."""
        found = self.keeper.at_hand(job)
        if found is None:
            return None
        if not may_see(found[0], account):
            raise no_such_job(job)
        return self._log_of(*found)

    def _log_of(self, row: JobRow, pictures: tuple[Picture, ...]) -> JobLog:
        log = self.keeper.logs.get(row.job)
        if log is None:
            log = told_again(row.job, row.state, row.ended_ms, row.reason, pictures, row.last_event)
        return log

    async def page(self, account: str, request: ListJobs, *, everybody: bool) -> JobList:
        """A page of jobs; `everybody`: of all accounts."""
        store, states = self.house.store, set(request.states)
        stored = tuple(states & set(FINAL)) + (OPEN if states - set(FINAL) else ())  # how open jobs stand, memory knows
        jobs: list[JobInfo] = []
        room, before = MAX_PAGE_BYTES, request.before
        while True:

            def look(before: int = before) -> list[tuple[JobRow, tuple[PictureRow, ...]]]:
                rows = store.jobs(None if everybody else account, before, request.limit + 1, stored)
                return [(row, store.pictures(row.job) if row.state == "done" else ()) for row in rows]

            found = await self.waits.read(look)
            for row, pictures in found:
                live = self.keeper.live.get(row.job)
                fresh = row if live is None else msgspec.structs.replace(live.row, seq=row.seq)
                info = self.keeper.info_of(fresh, tuple(map(views.picture, pictures)))
                words = len(info.prompt) + len(info.negative_prompt) + len(info.reason)
                room -= 600 + 4 * words + 200 * len(pictures)
                if len(jobs) == request.limit or (jobs and room < 0):
                    return JobList(jobs=tuple(jobs), next=before)
                before = row.seq
                if not states or info.state in states:
                    jobs.append(info)
            if len(found) <= request.limit:
                return JobList(jobs=tuple(jobs))

    # ---- cancel, delete --------------------------------------------------------------------------------------------

    async def cancel(self, job: str, account: str, *, operator: bool) -> Done:
        """End exactly this job, one's own or, as an operator, anybody's. Answers when that is on disk."""
        await self._own(job, account, operator=operator)
        live = self.keeper.live.get(job)
        paid = job in self.house.charged  # before a restart; it is finished, and only its pictures are missing
        if paid or live is None or live.handle is None or not live.handle.cancel():
            return Done(changed=False)
        ended = asyncio.get_running_loop().create_future()
        live.log.waiting.append(lambda: settle(ended, None))
        await asyncio.wait_for(ended, CANCEL_S)
        return Done(changed=live.log.events[-1].kind == "cancelled")

    async def delete(self, job: str, account: str, *, operator: bool) -> Done:
        """Remove an ended job's pictures and words: one's own or, as an operator, anybody's. Another time changes
        nothing."""
        row, pictures = await self._own(job, account, operator=operator, deleted=True)
        if row.deleted:
            return Done(changed=False)
        if job in self.keeper.live:
            text = complaint("job", f"one that is {row.state}", "one that has ended", "cancel it first")
            raise RequestRefused("invalid", text, kind="NotEnded")
        await self.waits.outlast(self.waits.begin(self._delete(job, [picture.digest for picture in pictures])))
        return Done()

    async def _delete(self, job: str, digests: list[str]) -> None:
        await self.waits.stored([DeleteJob(job)])
        self.keeper.drop(job)
        await self.waits.read(lambda: self.keeper.remove(digests))


def fingerprint(request: Submit) -> bytes:
    """Of everything but the key: to tell a repeated request from another one under the same key."""
    values = [getattr(request, name) for name in request.__struct_fields__ if name != "key"]
    return hashlib.sha256(msgspec.msgpack.encode(values)).digest()  # not of the record, which may leave defaults out


def _not_failed(state: str) -> RequestRefused:
    return RequestRefused("invalid", complaint("job", f"one that is {state}", "a failed one", "see `jobs`"))


def may_see(row: JobRow, account: str, *, owner: bool = False) -> bool:
    """Whether an account may see a job: its own, and others' that are not private."""
    return row.account == account or not (owner or row.private)
