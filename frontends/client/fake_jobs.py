"""The jobs, accounts and books of a fake server, and what it answers about them. No socket, no engine, no disk."""

from __future__ import annotations

import hashlib
import struct
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec.structs import replace

from ...bounds import FINAL, random_seed
from ...errors import complaint
from ..wire import messages as m

MODEL: Final = "fake"
_STEP_MS: Final = 10  # what a step costs


def make_png(red: int, green: int, blue: int, width: int = 8, height: int = 8) -> bytes:
    """A PNG of one colour; values from 0 to 255."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = (b"\0" + bytes((red, green, blue)) * width) * height
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


PREVIEW: Final = b"\xff\xd8\xff\xe0 a preview \xff\xd9"  # looks like a JPEG from afar


def now_ms() -> int:
    """UTC."""
    return time.time_ns() // 1_000_000


class Refusal(Exception):
    """A request is answered with that Failure."""

    def __init__(self, code: str, kind: str, text: str) -> None:
        self.failure = m.Failure(code=code, kind=kind, text=text)


class FakeJob:
    """A job: what is known of it, and the list of its events, which is its whole life.

    Attributes:
        info: as told.
        events: (event, preview), in the order of their numbers.
        files: its pictures, by index.
        due: when it goes on (monotonic).
    """

    def __init__(self, info: m.JobInfo, preview_every: int) -> None:
        self.info, self._preview_every = info, preview_every
        self.events: list[tuple[m.Event, bytes | None]] = []
        self.files: dict[int, bytes] = {}
        self.due = 0.0
        self.tell("queued")

    def tell(self, kind: str, *, payload: bytes | None = None, state: str = "", **fields: Any) -> None:
        """Something happens."""
        number = self.info.last_event + 1
        self.events.append((m.Event(number=number, kind=kind, at_ms=now_ms(), **fields), payload))
        self.info = replace(self.info, last_event=number, state=state or self.info.state)

    def go_on(self, pictures: Sequence[bytes], fail: str, block: str) -> None:
        """One step further."""
        info = self.info
        if info.state == "queued":
            self.info = replace(info, started_ms=now_ms())
            self.tell("started", state="running")
            return
        if info.step < info.steps:
            step = info.step + 1
            self.info = replace(info, step=step)
            self.tell("step", step=step, steps=info.steps)
            if self._preview_every and step % self._preview_every == 0:
                self.tell("preview", payload=PREVIEW, step=step, steps=info.steps)
            return
        if fail or block:
            self.end("failed" if fail else "blocked", fail or block)
            return
        self._store(pictures)
        self.info = replace(self.info, charged_ms=_STEP_MS * info.steps)
        self.end("done")

    def end(self, kind: str, reason: str = "") -> None:
        """The final event."""
        failure = "FakeFailure" if kind == "failed" else ""
        self.info = replace(self.info, ended_ms=now_ms(), reason=reason, failure=failure)
        self.tell(kind, state=kind, reason=reason)

    def _store(self, pictures: Sequence[bytes]) -> None:
        for index in range(self.info.images):
            self.files[index] = pictures[index % len(pictures)]
        self.files[m.GRID] = pictures[0]
        for index in sorted(self.files):
            data, info = self.files[index], self.info
            digest = hashlib.sha256(data).hexdigest()
            picture = m.Picture(index=index, digest=digest, size=len(data), width=info.width, height=info.height)
            self.info = replace(info, pictures=(*info.pictures, picture))
            self.tell("image", picture=picture)


class FakeHouse:
    """Everything that outlives a fake server's connections; hand it to the next one, and that is a restart.

    Attributes:
        jobs: by id, oldest first.
        state: running, paused or draining.
        accounts, entries: the books.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, FakeJob] = {}
        self.state = "running"
        self.accounts: dict[str, m.AccountInfo] = {}
        self.entries: list[m.LedgerEntry] = []
        self._keys: dict[tuple[str, str], str] = {}
        self._deleted: set[str] = set()

    def answer(self, request: m.Request, account: str, steps: int) -> m.Reply:
        """The one answer to a request that has one. Raises `Refusal`."""
        handle: Callable[..., m.Reply] | None = getattr(self, f"_{type(request).__name__.lower()}", None)
        if handle is None:
            text = complaint("request", type(request).__name__, "what a fake server knows", "use a real one")
            raise Refusal("unsupported", "UnknownMessage", text)
        return self._submit(request, account, steps) if isinstance(request, m.Submit) else handle(request, account)

    def find(self, job: str, account: str) -> FakeJob:
        """A job of that account. Raises `Refusal`."""
        found = self.jobs.get(job)
        if found is None or found.info.account != account or job in self._deleted:
            raise Refusal("not_found", "UnknownJob", complaint("job", repr(job), "a job of yours", "see `jobs`"))
        return found

    def _submit(self, request: m.Submit, account: str, steps: int) -> m.Accepted:
        known = self._keys.get((account, request.key))
        if known is not None:
            return m.Accepted(job=self.jobs[known].info, existing=True)
        if self.state == "draining":
            raise Refusal("draining", "StudioClosed", "the server takes no more jobs; ask another, or later")
        if not request.prompt.strip():
            raise Refusal(
                "invalid", "PromptError", complaint("prompt", repr(request.prompt), "some words", "write some")
            )
        info = m.JobInfo(
            job=f"job-{len(self.jobs) + 1}",
            account=account,
            asked_lane=request.lane,
            lane=request.lane,
            private=request.private,
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            width=request.width or 8,
            height=request.height or 8,
            steps=request.steps or steps,
            seed=random_seed() if request.seed is None else request.seed,
            images=request.images,
            guidance_scale=request.guidance_scale or 1.0,
            solver=request.solver or "euler",
            made_ms=now_ms(),
        )
        self.jobs[info.job] = FakeJob(info, request.preview_every)
        self._keys[account, request.key] = info.job
        return m.Accepted(job=self.jobs[info.job].info)

    def _show(self, request: m.Show, account: str) -> m.JobInfo:
        return self.find(request.job, account).info

    def _listjobs(self, request: m.ListJobs, account: str) -> m.JobList:
        numbered = [(number, job.info) for number, job in enumerate(self.jobs.values(), 1)]
        found = [
            (number, info)
            for number, info in reversed(numbered)
            if info.job not in self._deleted
            and (info.account in (account, request.account) or request.account == "*")
            and (not request.states or info.state in request.states)
            and (not request.before or number < request.before)
        ]
        page = found[: request.limit]
        return m.JobList(
            jobs=tuple(info for _, info in page), next=page[-1][0] if len(found) > len(page) and page else 0
        )

    def _cancel(self, request: m.Cancel, account: str) -> m.Done:
        job = self.find(request.job, account)
        if job.info.state in FINAL:
            return m.Done(changed=False)
        job.end("cancelled", "cancelled by its owner")
        return m.Done()

    def _delete(self, request: m.Delete, account: str) -> m.Done:
        if request.job in self._deleted and self.jobs[request.job].info.account == account:
            return m.Done(changed=False)
        job = self.find(request.job, account)
        if job.info.state not in FINAL:
            raise Refusal("invalid", "JobNotEnded", complaint("job", job.info.state, "an ended one", "cancel it first"))
        self._deleted.add(request.job)
        job.files.clear()
        return m.Done()

    def _info(self, request: m.Info, account: str) -> m.AccountInfo:
        name = request.account or account
        running = sum(job.info.state == "running" for job in self.jobs.values() if job.info.account == name)
        queued = sum(job.info.state == "queued" for job in self.jobs.values() if job.info.account == name)
        return replace(self._account(name), num_running=running, num_queued=queued)

    def _account(self, name: str) -> m.AccountInfo:
        return self.accounts.setdefault(name, m.AccountInfo(account=name, plan="standard", fast_ms={}))

    # ---- for operators ---------------------------------------------------------------------------------------------

    def _opsstatus(self, request: m.OpsStatus, account: str) -> m.Status:
        ended: dict[str, int] = {}
        for job in self.jobs.values():
            if job.info.state in FINAL:
                ended[job.info.state] = ended.get(job.info.state, 0) + 1
        return m.Status(
            state=self.state, server=MODEL, model=MODEL, accepted=len(self.jobs), ended=ended, workers=self._workers()
        )

    def _workers(self) -> tuple[m.WorkerInfo, ...]:
        return (m.WorkerInfo(name="worker-1", state="idle", started_jobs=len(self.jobs)),)

    def _opsworkers(self, request: m.OpsWorkers, account: str) -> m.WorkerList:
        return m.WorkerList(workers=self._workers())

    def _become(self, state: str) -> m.Done:
        changed, self.state = self.state != state, state
        return m.Done(changed=changed)

    def _opspause(self, request: m.OpsPause, account: str) -> m.Done:
        return self._become("paused")

    def _opsresume(self, request: m.OpsResume, account: str) -> m.Done:
        return self._become("running")

    def _opsdrain(self, request: m.OpsDrain, account: str) -> m.Done:
        return self._become("draining")

    def _opsaccounts(self, request: m.OpsAccounts, account: str) -> m.AccountList:
        found = [info for name, info in sorted(self.accounts.items()) if name > request.after]
        return m.AccountList(accounts=tuple(found[: request.limit]), more=len(found) > request.limit)

    def _opssetaccount(self, request: m.OpsSetAccount, account: str) -> m.AccountInfo:
        fields = {name: getattr(request, name) for name in ("name", "plan", "role", "blocked")}
        changes = {name: value for name, value in fields.items() if value is not None}
        self.accounts[request.account] = replace(self._account(request.account), **changes)
        return self.accounts[request.account]

    def _opsgrant(self, request: m.OpsGrant, account: str) -> m.AccountInfo:
        info = self._account(request.account)
        if (request.account, request.key) not in self._keys:
            self._keys[request.account, request.key] = "grant"
            self.entries.append(
                m.LedgerEntry(
                    seq=len(self.entries) + 1,
                    at_ms=now_ms(),
                    account=request.account,
                    kind="grant",
                    amount_ms=request.amount_ms,
                    source=request.source,
                    expires_ms=request.expires_ms,
                )
            )
            had = info.fast_ms or {}
            info = replace(info, fast_ms=had | {request.source: had.get(request.source, 0) + request.amount_ms})
            self.accounts[request.account] = info
        return info

    def _opsledger(self, request: m.OpsLedger, account: str) -> m.LedgerPage:
        mine = [entry for entry in self.entries if not request.account or entry.account == request.account]
        found = [entry for entry in mine if entry.seq > request.after]
        balance = sum(entry.amount_ms for entry in mine)
        return m.LedgerPage(entries=tuple(found[: request.limit]), balance_ms=balance, more=len(found) > request.limit)

    def _opsretry(self, request: m.OpsRetry, account: str) -> m.JobInfo:
        job = self.find(request.job, account)
        if job.info.state != "failed":
            raise Refusal("invalid", "NotFailed", complaint("job", job.info.state, "a failed one", "submit a new one"))
        job.info = replace(job.info, step=0, reason="", failure="", ended_ms=0)
        job.tell("queued", state="queued")
        return job.info
