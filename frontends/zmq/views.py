"""From the service's records to those of the wire. What is submitted needs none: a Submit is a `JobRequest`."""

from __future__ import annotations

from typing import Final

import msgspec

from ...engine.words import WordList
from ...parameters.records import records
from ...scheduler import entries
from ...studio.prompt import plan as plans
from ...studio.prompt.settings import Settings
from ...studio.scheduling.snapshot import WorkerView
from ...studio.service.account_service import AccountRecord
from ...studio.service.events import JobEvent
from ...studio.service.job_record import JobRecord
from ..wire import messages as m
from ..wire.messages import (
    AccountInfo,
    Event,
    JobInfo,
    LedgerEntry,
    ParameterInfo,
    ParameterList,
    Planned,
    SettingsInfo,
    WorkerInfo,
)

WORDS_BYTES: Final = 1 << 15  # of the words of a list in one message

# Fields of the same name mean the same in records and messages. Further fields of the wire keep their defaults.


def planned(plan: plans.Plan) -> Planned:
    """Return the wire's form of what a prompt would do."""
    return msgspec.convert(plan, Planned, from_attributes=True)


def settings_info(settings: Settings) -> SettingsInfo:
    """Return the wire's form of an account's settings."""
    return SettingsInfo(parameters=settings.parameters, suffix=settings.suffix)


def wildcards(words: tuple[str, ...], after: int) -> m.Wildcards:
    """Return as many words of a list from number `after` on as fit into a message."""
    room, end = WORDS_BYTES, after
    while end < len(words) and (room := room - len(words[end].encode()) - 5) >= 0:
        end += 1
    return m.Wildcards(words=words[after:end], next=end if end < len(words) else 0)


def parameter_list() -> ParameterList:
    """Return what a request can say."""
    return ParameterList(parameters=tuple(ParameterInfo(**record) for record in records()))


def job_info(record: JobRecord) -> JobInfo:
    """Return the wire's form of a job."""
    return msgspec.convert(record, JobInfo, from_attributes=True)


def word_list(words: WordList) -> m.WordList:
    """Return what the model draws."""
    near = tuple(m.Near(name=one.name, similarity=one.similarity) for one in words.near)
    return m.WordList(slots=words.slots, drawn=words.drawn, near=near)


def event(happened: JobEvent) -> Event:
    """Return the wire's form of a job's event."""
    return msgspec.convert(happened, Event, from_attributes=True)


def account_info(record: AccountRecord) -> AccountInfo:
    """Return the wire's form of an account, from its row and its balances."""
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
        timeout_ms=record.timeout_ms,
    )


def ledger_entry(entry: entries.LedgerEntry) -> LedgerEntry:
    """Return the wire's form of an entry of the ledger."""
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
    """Return the wire's form of a worker."""
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
