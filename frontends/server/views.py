"""From what is stored to what is told."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ...engine.spec import GenerationSpec
from ...scheduler.admission import Info, Work
from ...scheduler.entries import Entry
from ...studio.snapshot import WorkerView
from ...studio.store.rows import AccountRow, JobRow, PictureRow
from ..wire.messages import AccountInfo, JobInfo, LedgerEntry, Picture, WorkerInfo

_encoder = msgspec.msgpack.Encoder()
_specs: Final = msgspec.msgpack.Decoder(GenerationSpec)
_works: Final = msgspec.msgpack.Decoder(Work)


def pack(value: GenerationSpec | Work) -> bytes:
    """For the store."""
    return _encoder.encode(value)


def spec_of(row: JobRow) -> GenerationSpec:
    """What was asked for. msgspec.MsgspecError, SpecError: not what `pack` made, or no longer allowed."""
    return _specs.decode(row.spec)


def work_of(row: JobRow) -> Work:
    """What it is on the price list. As `spec_of`."""
    return _works.decode(row.work)


def job_info(
    row: JobRow,
    pictures: tuple[Picture, ...] = (),
    *,
    step: int | None = None,
    last: int = 0,
    spec: GenerationSpec | None = None,
) -> JobInfo:
    """A job for those who may see it; `step`, `last`: fresher than what is stored; `spec`: the row's, unpacked."""
    fields: dict[str, Any] = {}
    if spec is None and row.spec:
        spec = spec_of(row)
    if spec is not None:
        fields = {
            "negative_prompt": spec.negative_prompt,
            "width": spec.width,
            "height": spec.height,
            "seed": spec.seed,
            "images": spec.images,
            "guidance_scale": float(spec.guidance_scale),
            "solver": spec.solver,
        }
    return JobInfo(
        job=row.job,
        account=row.account,
        state=row.state,
        asked_lane=row.asked_lane,
        lane=row.lane,
        note=row.note,
        reason=row.reason,
        failure=row.failure,
        private=row.private,
        prompt=row.prompt,
        steps=row.steps,
        step=row.step if step is None else step,
        made_ms=row.made_ms,
        started_ms=row.started_ms,
        ended_ms=row.ended_ms,
        charged_ms=row.charged_ms,
        pictures=pictures,
        last_event=max(row.last_event, last),
        **fields,
    )


def redacted(info: JobInfo) -> JobInfo:
    """A private job of somebody else's, for an operator: that it is there and how it goes, not what it shows."""
    if not info.private:
        return info
    return msgspec.structs.replace(info, prompt="", negative_prompt="", seed=0, pictures=())


def picture(row: PictureRow) -> Picture:
    """A stored picture."""
    return Picture(
        index=row.index,
        digest=row.digest,
        size=row.size,
        width=row.width,
        height=row.height,
        media_type=row.media_type,
    )


def account_info(row: AccountRow, info: Info, stored_bytes: int, quota_bytes: int) -> AccountInfo:
    """An account, from its row and its books."""
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
        stored_bytes=stored_bytes,
        quota_bytes=row.quota_bytes or quota_bytes,
    )


def ledger_entry(entry: Entry) -> LedgerEntry:
    """A line of the books."""
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
    """A worker."""
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
