"""Carry out users' requests about their jobs: submit, show, list, cancel, delete. Used on the event loop's thread.

Long because it is one role: the entrance of every request about jobs, each method one of them. What a request means,
and how it is stored and packed, stands in modules of their own.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from ...engine.errors import SpecError
from ...engine.reading import STRICT
from ...engine.spec import GenerationSpec
from ...errors import SalonError, complaint
from ...parameters.job_request import IMAGINE, JobRequest, Source
from ...parameters.known import checked
from ...parameters.references import OF_JOB
from ...scheduler.plans import lane_of
from ..errors import StoreRefused
from ..kinds import Asked, Input, JobKind, kind_of, named
from ..moderation.types import PICTURES
from ..prompt.plan import Plan, plan_of, planned_job
from ..prompt.request import ResolvedRequest
from ..references import OMNI
from ..resources import digests_of
from ..store.domains.prompts import BatchRow
from ..store.retention import check_quota, collect, sweep
from ..store.rows import JobRow, PictureRow
from ..store.writes import DeleteJob, SetJob
from .account_service import AccountService
from .batches import Batches, want_alike
from .chat import ChatService
from .context import ServiceContext
from .entries import Entries
from .errors import Draining, NotEnded, NotFailed, no_such_job
from .files import ServiceFiles
from .inputs import check_sources, file_input, job_input
from .job_record import JobRecord, record_of, stored_pictures
from .linked import Linked
from .lookups import Found, Lookups
from .moderation import WITHHELD, prompt_request
from .organizing import OrganizeService
from .packing import pack, pack_sources
from .pictures import MakeFiles
from .prompts import Prompts
from .repeats import Repeat, asked_again, spec_again
from .request import fingerprint
from .submitted import NewJob, Submitted, reused
from .taste import TasteService
from .taste_uses import uses_of
from .waits import settle

LOG = logging.getLogger("salon.service")
DAY_MS: Final = 86_400_000
PROFILE: Final = "profile"  # a parameter
CANCEL_S: Final = 120.0  # the longest wait for a cancelled job: a step of a large model, and the write


class Service(Lookups):
    """The users' requests; `Lookups` has those that only read. Made and used on the thread of a running event loop.

    Args:
        context: an open context; its studio is on hold until `context.studio.loop.release`.
        new_id: makes the id of a new job.
        make_files: turns pixels into files; None: `pictures.files_of`.

    Attributes:
        accounts: the requests about accounts.
        linked: pictures by their links.
        files: files that are named for later.
        taste: the requests about what accounts like.
        entries: what lets browsers and programs in over HTTP.
        chat: conversations about pictures.
        organize: the requests about many jobs at once.
        prompts: what is said in the prompt language, and the accounts' settings.
        retried: failed jobs that are just being taken back, and whether they have become private or public meanwhile.
        draining: whether nothing is accepted any more.
        accepted: number of jobs accepted since the start.
    """

    def __init__(
        self,
        context: ServiceContext,
        new_id: Callable[[], str] = lambda: secrets.token_hex(12),
        make_files: MakeFiles | None = None,
    ) -> None:
        super().__init__(context, make_files)
        self.accounts = AccountService(context, self.waits, self.jobs.moderator)
        self.prompts = Prompts(context, self.waits)
        self.linked = Linked(self.jobs.references, allowed=context.options.image_links)
        self.files = ServiceFiles(self.jobs.references)
        self.taste = TasteService(self)
        self.entries = Entries(context, self.waits)
        self.chat = ChatService(self)
        self.organize = OrganizeService(self)
        self.draining = False
        self.accepted = 0
        self._new_id = new_id
        self._keys: dict[tuple[str, str], asyncio.Task[tuple[Found, bool]]] = {}  # requests that are not stored yet
        self._batches = Batches(self)
        self.retried: dict[str, bool | None] = {}

    # ---- the beginning and the end ---------------------------------------------------------------------------------

    def restore(self) -> int:
        """Take back the jobs that were accepted before a restart. Return their number."""
        context = self.context
        rows = context.store.open_jobs()
        known = {row.job for row in rows}
        for job in context.ledger.open_jobs():
            if job not in known:  # its time was set aside for a job that was never acknowledged
                context.release(job)
        for row in rows:
            self.jobs.take_back(row)
        if rows:
            LOG.info("taken back after a restart", extra={"jobs": len(rows)})
        self.waits.begin(self.organize.describe_old())
        return len(rows)

    async def leave(self, grace_s: float, hurry: asyncio.Event | None = None) -> None:
        """Accept nothing more, let running jobs finish for `grace_s` seconds or until `hurry`, then stop.

        The other jobs go on after the next start. The caller then calls `close`.
        """
        self.draining = True
        loop, studio = asyncio.get_running_loop(), self.context.studio.loop
        if grace_s > 0 and not studio.snapshot().held:
            end = loop.time() + grace_s
            while self.jobs.working and loop.time() < end and not (hurry is not None and hurry.is_set()):
                await asyncio.sleep(0.05)
        self.jobs.storing.closing = True
        studio.hold()

    async def close(self) -> None:
        """Store the pictures that were made, and close the context. Waiting requests end as cancelled."""
        await self.waits.close()
        self.linked.close()
        self.chat.close()
        await asyncio.to_thread(self.jobs.close)
        await asyncio.to_thread(self.context.close)

    async def clean_up(self) -> None:
        """Delete jobs that are old enough, and files that no job has. Errors are logged."""
        context, files = self.context, self.jobs.files
        days = context.options.keep_days
        keep_ms = None if days is None else round(days * DAY_MS)
        now = context.now_ms()
        try:
            swept = await asyncio.to_thread(sweep, context.store, files, now, keep_ms)
            if keep_ms is not None:
                self.jobs.forget_before(now - keep_ms)
                await asyncio.to_thread(self.prompts.sweep, now - keep_ms)
                await asyncio.to_thread(self.chat.sweep, now - keep_ms)
            left = await asyncio.to_thread(collect, context.store, files)
            specs = [live.handle.spec for live in self.jobs.live.values() if live.handle is not None]
            in_use = {digest for spec in specs for digest in digests_of(spec)}
            in_use |= await asyncio.to_thread(self.taste.in_use)
            await asyncio.to_thread(self.jobs.references.sweep, in_use)
            await asyncio.to_thread(self.jobs.references.loras.sweep, in_use)
            await asyncio.to_thread(self.jobs.storing.thumbnails.sweep)
            await asyncio.to_thread(self.entries.sweep)
            await asyncio.to_thread(self.files.sweep)
            await asyncio.to_thread(context.store.tidy)
            await asyncio.to_thread(self.jobs.moderator.sweep)
            self.taste.sweep()
            await self.taste.bonus.give()
        except SalonError:
            LOG.exception("cleaning up; it is tried again")
        else:
            counts = {"jobs": swept.jobs, "files": swept.blobs + left.blobs, "bytes": swept.bytes + left.bytes}
            LOG.info("cleaned up", extra=counts)

    # ---- submit ----------------------------------------------------------------------------------------------------

    async def submit(self, account: str, request: JobRequest) -> Submitted:
        """Accept a job, once for each key. It is on disk when this returns.

        If this raises, there is no job, except that there may be one after TooSlow, and the same key finds it.

        Raises:
            KeyReused: another request had the key.
            Draining: nothing is accepted any more.
            UnknownJob: it starts from a picture of a job that this account cannot see.
            TasteRefused: it names a profile or a code that this account cannot use.
            PolicyBlocked, PolicyTimeout, PolicyDown: see `Moderator.want_allowed`.
            UnknownLane, SpecError, LimitError, Refused, QuotaExceeded, StoreError, StudioClosed, WorkerLost: see there.
        """
        print_ = fingerprint(request)
        return await self._once(account, request.key, print_, lambda: self.prepare(account, request, print_))

    async def again(self, account: str, repeat: Repeat) -> Submitted:
        """Accept a job of the account's own once more, as a new job at today's price, once for each key.

        The new job is of the same kind as the old one, and has its words, styles, pictures, lane and privacy. The old
        one may be in any state. Which seed the new one has, `Repeat` says; everything else is as with `submit`.

        Raises:
            UnknownJob: the account has no such job, or it was deleted.
            SpecError: it cannot have this seed, or a picture, a style or a LoRA of it is gone.
            As `submit`.
        """

        async def prepare() -> NewJob:
            row, _ = await self._own(repeat.job, account, operator=False)
            kind = named(row.kind)
            spec = spec_again(row, kind, repeat.seed, self.context.studio.loop.model)
            return await self._new_job(account, kind, asked_again(row, repeat), spec, repeat.fingerprint)

        return await self._once(account, repeat.key, repeat.fingerprint, prepare)

    async def _once(self, account: str, key: str, print_: bytes, prepare: Callable[[], Awaitable[NewJob]]) -> Submitted:
        """Accept a job, once for each key. `print_`: the request's fingerprint. Raises as `submit`."""
        name = (account, key)
        task = self._keys.get(name)
        pending = task is not None
        if task is None:
            task = self._keys[name] = self.waits.begin(self._submit(account, key, prepare))
            task.add_done_callback(lambda _: self._keys.pop(name))
        found, existing = await self.waits.outlast(task)
        existing = existing or pending
        row, pictures = self.jobs.cached(found[0].job) or found  # the job may have gone on meanwhile
        if row.request != print_:
            raise reused(key)
        return Submitted(self.jobs.record_of(row, pictures), existing)

    async def submit_all(self, account: str, request: JobRequest) -> tuple[Submitted, ...]:
        """Accept the jobs of a request, of which a prompt of the language may make several: all or none, once for each
        key; see `submit`.

        Raises:
            PromptRefused, ParameterError: the prompt, or what is said beside it.
            As `submit`.
        """
        if not request.language:
            return (await self.submit(account, request),)
        children = self.prompts.children(account, request)
        if len(children.requests) == 1:
            return (await self.submit(account, children.requests[0]),)
        return await self._batches.submit(account, children)

    async def plan(self, account: str, request: JobRequest) -> Plan:
        """Return what `submit_all` would do, or raise what it would; this makes and charges nothing, and what policies
        would block counts for nothing. What is random is drawn anew each time."""
        children = self.prompts.children(account, request)
        jobs = [await self.prepare(account, child, b"") for child in children.requests]
        lane, _ = want_alike(jobs)
        await self.want_allowed(account, jobs, kept=False)
        loop, book = self.context.studio.loop, self.context.books.book
        specs, works = {job.row.job: job.spec for job in jobs}, {job.row.job: job.work for job in jobs}
        admission = loop.quote(account, lane, specs, works)
        planned = []
        for job in jobs:
            assert job.resolved is not None, "children are of the language"
            listed = book.prices.charge(job.work, lane)
            cost = listed if admission is None else admission.prices[job.row.job]
            remade = request.kind != IMAGINE
            planned.append(planned_job(job.resolved, job.spec, cost_ms=cost, list_ms=listed, remade=remade))
        return plan_of(planned, loop.snapshot().queued.get(str(lane), 0))

    async def _submit(self, account: str, key: str, prepare: Callable[[], Awaitable[NewJob]]) -> tuple[Found, bool]:
        """Return (the job, whether it was there already)."""
        context = self.context
        owner = context.accounts.rows[account]

        def look() -> tuple[JobRow, tuple[PictureRow, ...]] | None:
            row = context.store.job_by_key(account, key)
            if row is not None:
                return row, context.store.pictures(row.job)
            if context.store.row(BatchRow, account, key) is not None:
                raise reused(key)
            if context.accounts.quota(owner):
                check_quota(context.store, owner, 0, context.options.quota_bytes)
            return None

        stored = await self.waits.read(look)
        if stored is not None:
            return (stored[0], stored_pictures(stored[1])), True
        self.want_open()
        new = await prepare()
        await self.want_allowed(account, [new])
        live = self.jobs.start(new.row, new.spec, new.work, new.lane, new.references)
        await self.jobs.add(live, *uses_of(live.row, new.spec))
        self.count(live.row, new.spec)
        return (live.row, ()), False

    def want_open(self) -> None:
        """Raise Draining, or the StoreError that keeps finished pictures waiting."""
        if self.draining:
            raise Draining("server: it is draining and accepts nothing; try again later")
        if (storing := self.jobs.storing).stuck and (trouble := storing.trouble) is not None:
            raise type(trouble)(f"disk: finished pictures wait until it takes them; try again later ({trouble})")

    async def prepare(self, account: str, request: JobRequest, print_: bytes) -> NewJob:
        """Return the job of a request, as it can be started. Raises as `submit`."""
        context, understood = self.context, None
        if request.language:
            request, understood = await self.prompts.resolve(account, request)
        lane = lane_of(request.lane)
        kind = kind_of(request, context.studio.loop.model.family)
        resolved = await self._resolved(account, request)
        if understood is not None and PROFILE in understood.values:
            understood = understood.with_data(PROFILE, (resolved.parameters or {})[PROFILE])
        asked = Asked(request=resolved, lane=lane, inputs=await self._inputs(account, request))
        spec = kind.spec(asked, context.studio.loop.model)
        return await self._new_job(account, kind, asked, spec, print_, understood)

    async def _new_job(
        self,
        account: str,
        kind: JobKind,
        asked: Asked,
        spec: GenerationSpec,
        print_: bytes,
        understood: ResolvedRequest | None = None,
    ) -> NewJob:
        """Return a job, as it can be started. `understood`: how its prompt was. Raises as `submit`."""
        context, request = self.context, asked.request
        references = await self.jobs.references.needed(account, spec)
        work = kind.work(asked, spec, context.studio.loop.model)
        notes = list(context.studio.notes_of(spec, strict=(request.parameters or {}).get(STRICT, False)))
        if request.preview_every and self.jobs.moderator.judges(PICTURES):
            notes.append(WITHHELD)
        return NewJob(JobRow(
            job=self._new_id(),
            account=account,
            key=request.key,
            request=print_,
            spec=pack(spec),
            work=pack(work),
            prompt=spec.prompt,
            asked_lane=str(asked.lane),
            private=request.private,
            preview_every=request.preview_every,
            made_ms=context.now_ms(),
            steps=context.studio.loop.model.steps(spec),
            kind=request.kind,
            sources=pack_sources(request.sources),
            notes="\n".join(notes),
        ), spec, work, asked.lane, references, understood)  # fmt: skip

    async def want_allowed(self, account: str, jobs: Sequence[NewJob], *, kept: bool = True) -> None:
        """Ask the operator's policies about jobs that are to be accepted, or with `kept` False only planned. Raises as
        `Moderator.want_allowed`, and as `want_open`, since that may take a while."""
        asked = [prompt_request(job.row, job.spec) for job in jobs]
        await self.jobs.moderator.want_allowed(account, asked, kept=kept)
        if kept:
            self.want_open()

    def count(self, row: JobRow, spec: GenerationSpec) -> None:
        """Take note of a job that is on disk."""
        self.accepted += 1
        extra = {"job": row.job, "account": row.account, "lane": row.lane, "images": spec.images}
        LOG.info("accepted", extra=extra)

    async def _resolved(self, account: str, request: JobRequest) -> JobRequest:
        """Return a request with digests in place of jobs' pictures, codes in place of taste profiles, and the
        proportions of what it starts from, and the sizes of what the model looks at.

        Raises:
            TasteRefused: it names a profile or a code that the account cannot use.
            UnknownJob: it names a job that the account cannot see.
            SpecError: a job has no such picture.
            ReferenceRefused: the file that it starts from is no picture.
        """
        said = dict(request.parameters or {})
        for name in ("image", "mask"):
            if name in said:
                said[name] = await self._brought(account, name, said[name])
        if said.get("image_prompts"):
            said["image_prompts"] = tuple(
                [await self._brought(account, "image prompt", each) for each in said["image_prompts"]]
            )
        if said.get("loras"):
            said["loras"] = await self.jobs.references.loras.resolve(said["loras"])
        if said.get("style_references"):
            styles = [each if isinstance(each, tuple | list) else (each, 1.0) for each in said["style_references"]]
            said["style_references"] = tuple(
                [(await self.linked.brought(account, source), weight) for source, weight in styles]
            )
        if said.get(PROFILE) is not None:
            if said.get("style_weight") is not None and not said.get("style_references"):
                got, remedy = "it with a taste profile alone", "use --s, which is the strength of a profile"
                raise SpecError(complaint("--sw", got, "it with --sref", remedy))
            named: Any = checked({PROFILE: said[PROFILE]})[PROFILE]
            said[PROFILE] = await self.taste.resolve(account, named)
        if said.get(OMNI):
            pictures = [each if isinstance(each, str) else each[0] for each in said[OMNI]]
            said[OMNI] = tuple([await self._brought(account, "omni reference", each) for each in pictures])
        rule = self.context.studio.loop.model.architecture.references
        said = await self.jobs.references.sized(account, said, rule, proportions=request.kind == IMAGINE)
        return request if said == (request.parameters or {}) else msgspec.structs.replace(request, parameters=said)

    async def _brought(self, account: str, name: str, picture: str) -> str:
        """Return the digest of a picture that a request names. Raises as `_resolved`."""
        match = OF_JOB.fullmatch(str(picture))
        if match is None:
            return str(await self.linked.brought(account, picture))
        pictures = {each.index + 1: each.digest for each in (await self._find(match[1], account))[1]}
        if (number := int(match[2])) not in pictures:
            made = f"1 to {max(pictures)}" if pictures else "none (it has none)"
            got = f"picture {number} of job {match[1]}"
            raise SpecError(complaint(name, got, made, "name one that is there"))
        return pictures[number]

    async def _inputs(self, account: str, request: JobRequest) -> tuple[Input, ...]:
        """Return the pictures that a request starts from. UnknownJob, SpecError: one that this account has not."""
        check_sources(request)
        found = []
        for source in request.sources:
            if source.job:
                found.append(job_input(source, await self._find(source.job, account)))
            else:
                found.append(await self.waits.read(partial(self._file, account, source)))
        return tuple(found)

    def _file(self, account: str, source: Source) -> Input:
        return file_input(source, self.jobs.references.file(account, source.digest))

    async def retry(self, job: str) -> JobRecord:
        """Run a failed job again, free of charge, and once, however many requests ask at the same time.

        Raises:
            UnknownJob: the job does not exist.
            NotFailed: the job has not failed.
        """
        return record_of(await self.waits.outlast(self.waits.begin(self._retry(job))))

    async def _retry(self, job: str) -> JobRow:
        if job in self.retried:
            raise _not_failed("being tried again already")
        self.retried[job] = None  # before any wait: two requests would both take it back, and the job be lost
        try:
            store = self.context.store
            row = await self.waits.read(lambda: store.job(job))
            if row is None:
                raise no_such_job(job)
            if job in self.jobs.live or row.state != "failed" or row.deleted:
                raise _not_failed(row.state)
            fresh = {"state": "queued", "reason": "", "failure": "", "started_ms": 0, "ended_ms": 0}
            try:
                await self.waits.stored([SetJob(job, fresh)])
            except StoreRefused:  # it was deleted just now
                raise no_such_job(job) from None
            self.jobs.drop(job)
            private = self.retried[job]
            row = msgspec.structs.replace(row, **fresh, private=row.private if private is None else private)
            self.jobs.take_back(row)
            live = self.jobs.live.get(job)
            return row if live is None else live.row  # without a studio the job waits for the next start
        finally:
            del self.retried[job]

    # ---- cancel, delete --------------------------------------------------------------------------------------------

    async def cancel(self, job: str, account: str, *, operator: bool = False) -> bool:
        """End exactly this job, of the account or, for an operator, of any.

        Return, when it is on disk, whether that ended it.

        Raises:
            UnknownJob: there is no such job.
            TimeoutError: the job's present step takes too long.
        """
        await self._own(job, account, operator=operator)
        live = self.jobs.live.get(job)
        paid = job in self.context.charged  # it was finished before a restart, and only its pictures are missing
        if paid or live is None or live.handle is None or not live.handle.cancel():
            return False
        ended = asyncio.get_running_loop().create_future()
        live.log.waiting.append(lambda: settle(ended, None))
        await asyncio.wait_for(ended, CANCEL_S)
        return live.log.events[-1].kind == "cancelled"

    async def delete(self, job: str, account: str, *, operator: bool = False) -> bool:
        """Remove an ended job's pictures and words, of the account or, for an operator, of any.

        Return whether it had any.

        Raises:
            UnknownJob: there is no such job.
            NotEnded: the job has not ended.
        """
        row, pictures = await self._own(job, account, operator=operator, deleted=True)
        if row.deleted:
            return False
        if job in self.jobs.live:
            text = complaint("job", f"one that is {row.state}", "one that has ended", "cancel it first")
            raise NotEnded(text)
        await self.waits.outlast(self.waits.begin(self._delete(row, [picture.digest for picture in pictures])))
        return True

    async def _delete(self, row: JobRow, digests: list[str]) -> None:
        await self.waits.stored([DeleteJob(row.job)])
        self.jobs.drop(row.job)
        for call in self.jobs.deleted:
            call(row.account, row.job)
        await self.waits.read(lambda: self.jobs.remove(digests))


def _not_failed(state: str) -> NotFailed:
    return NotFailed(complaint("job", f"one that is {state}", "a failed one", "see `jobs`"))
