"""From the service's records to those of the wire, and back from what is submitted."""

from __future__ import annotations

import msgspec

from ...engine.words import WordList
from ...scheduler import entries
from ...studio.scheduling.snapshot import WorkerView
from ...studio.service.account_service import AccountRecord
from ...studio.service.events import JobEvent
from ...studio.service.job_record import JobRecord
from ...studio.service.request import Request
from ..wire import messages as m
from ..wire.messages import AccountInfo, Event, JobInfo, LedgerEntry, Submit, WorkerInfo

# Records and messages have the same words for the same things; what the wire has besides keeps its default.


def request_of(submit: Submit) -> Request:
    """Return what a client asks for."""
    return Request(**{name: getattr(submit, name) for name in Request.__struct_fields__})  # as it came, to the bit


def job_info(record: JobRecord) -> JobInfo:
    """Return a job for those who may see it."""
    return msgspec.convert(record, JobInfo, from_attributes=True)


def word_list(words: WordList) -> m.WordList:
    """Return what the model draws."""
    near = tuple(m.Near(name=one.name, similarity=one.similarity) for one in words.near)
    return m.WordList(slots=words.slots, drawn=words.drawn, near=near)


def event(happened: JobEvent) -> Event:
    """Return what happened to a job."""
    return msgspec.convert(happened, Event, from_attributes=True)


def account_info(record: AccountRecord) -> AccountInfo:
    """Return an account, from its row and its books."""
    row, info = record.row, record.info
    fast = None if info.fast_ms is None else {str(source): ms for source, ms in info.fast_ms.items()}
    return AccountInfo(
        account=row.account,
        name=row.name,
        role=row.role,
        blocked=row.blocked,
        plan=info.plan,
        renewal_ms=info.renewal_ms,
        fast_ms=fast,
        held_ms=info.held_ms,
        relax_ms=info.relax_ms,
        lifetime_ms=info.lifetime_ms,
        lifetime_jobs=info.lifetime_jobs,
        num_running=len(info.running),
        num_queued=len(info.queued),
        stored_bytes=record.stored_bytes,
        quota_bytes=record.quota_bytes,
    )


def ledger_entry(entry: entries.LedgerEntry) -> LedgerEntry:
    """Return a line of the books."""
    return LedgerEntry(
        seq=entry.seq,
        at_ms=entry.at_ms,
        account=entry.account,
        kind=str(entry.kind),
        amount_ms=entry.amount_ms,
        job=entry.job,
        source=str(entry.source or ""),
        expires_ms=entry.expires_ms,
    )


def worker_info(view: WorkerView) -> WorkerInfo:
    """Return a worker."""
    return WorkerInfo(
        name=view.name,
        state=view.state,
        started_jobs=view.started_jobs,
        steps=view.steps,
        step_ms=view.step_ms,
        busy_share=view.busy_share,
        cost_error=view.cost_error,
        restarts=view.losses,
    )
