"""From the service's records to those of the wire, and back from what is submitted."""

from __future__ import annotations

from operator import attrgetter
from typing import Final

from ...scheduler.entries import Entry
from ...studio.service.account_service import AccountRecord
from ...studio.service.events import JobEvent
from ...studio.service.job_record import JobRecord, StoredPicture
from ...studio.service.request import Request
from ...studio.snapshot import WorkerView
from ..wire.messages import AccountInfo, Event, JobInfo, LedgerEntry, Picture, Submit, WorkerInfo

# Records and messages have the same words for the same things; what the wire has besides keeps its default.
_JOB: Final = tuple(
    name for name in JobInfo.__struct_fields__ if name in JobRecord.__struct_fields__ and name != "pictures"
)
_job_values: Final = attrgetter(*_JOB)
_PICTURE: Final = Picture.__struct_fields__
_picture_values: Final = attrgetter(*_PICTURE)
_REQUEST: Final = Request.__struct_fields__
_request_values: Final = attrgetter(*_REQUEST)


def request_of(submit: Submit) -> Request:
    """Return what a client asks for."""
    return Request(**dict(zip(_REQUEST, _request_values(submit), strict=True)))


def job_info(record: JobRecord) -> JobInfo:
    """Return a job for those who may see it."""
    pictures = tuple(map(picture, record.pictures))
    return JobInfo(pictures=pictures, **dict(zip(_JOB, _job_values(record), strict=True)))


def picture(stored: StoredPicture) -> Picture:
    """Return a stored picture."""
    return Picture(**dict(zip(_PICTURE, _picture_values(stored), strict=True)))


def event(happened: JobEvent) -> Event:
    """Return what happened to a job."""
    shown = happened.picture
    return Event(
        number=happened.number,
        kind=happened.kind,
        at_ms=happened.at_ms,
        step=happened.step,
        steps=happened.steps,
        reason=happened.reason,
        picture=None if shown is None else picture(shown),
    )


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


def ledger_entry(entry: Entry) -> LedgerEntry:
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
