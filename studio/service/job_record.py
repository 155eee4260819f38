"""What a job is for those who may see it: made from its row, and from what memory knows that is fresher."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from ...engine.spec import GenerationSpec
from ..store.rows import JobRow, PictureRow
from . import packing


class StoredPicture(msgspec.Struct, frozen=True, kw_only=True):
    """A picture that can be fetched. `index` from 0, or -1 (`GRID`); `digest` sha256 (hex) of the file's `size` bytes;
    `width` and `height` in pixels."""

    index: int
    digest: str
    size: int
    width: int
    height: int
    media_type: str = "image/png"


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A job. Times are UTC ms; 0: not yet.

    Attributes:
        job: its id, unique.
        account: whose it is.
        state: "queued", "running", "paused", or one of `bounds.FINAL`; a final one is on disk.
        asked_lane, lane: that was asked for, and that it is served in; `note` says why they differ.
        reason, failure: why it has no pictures: words, and the name of the error.
        notes: what of its prompt is left out or replaced, one sentence each.
        private: only its owner sees it.
        prompt, negative_prompt, width, height, steps, seed, images, guidance_scale, solver: what is made, every default
            filled in; empty, once it was deleted.
        styles: adapter -> weight.
        step: solver steps done, of `steps`.
        charged_ms: GPU time that it cost.
        pictures: the grid and the images, once it is done.
        last_event: number of its latest event.
    """

    job: str
    account: str
    state: str
    asked_lane: str
    lane: str
    note: str = ""
    reason: str = ""
    failure: str = ""
    private: bool = False
    prompt: str = ""
    negative_prompt: str = ""
    width: int = 0
    height: int = 0
    steps: int = 0
    seed: int = 0
    images: int = 0
    guidance_scale: float = 0.0
    solver: str = ""
    styles: dict[str, float] = {}
    step: int = 0
    made_ms: int = 0
    started_ms: int = 0
    ended_ms: int = 0
    charged_ms: int = 0
    pictures: tuple[StoredPicture, ...] = ()
    last_event: int = 0
    notes: tuple[str, ...] = ()


def record_of(
    row: JobRow,
    pictures: tuple[StoredPicture, ...] = (),
    *,
    state: str | None = None,
    step: int | None = None,
    last: int = 0,
    spec: GenerationSpec | None = None,
) -> JobRecord:
    """Return the record of a row. `state`, `step`, `last`: fresher than what is stored; `spec`: the row's, unpacked."""
    fields: dict[str, Any] = {}
    if spec is None and row.spec:
        spec = packing.spec_of(row)
    if spec is not None:
        fields = {
            "negative_prompt": spec.negative_prompt,
            "width": spec.width,
            "height": spec.height,
            "seed": spec.seed,
            "images": spec.images,
            "guidance_scale": float(spec.guidance_scale),
            "solver": spec.solver,
            "styles": {use.adapter: use.weight for use in spec.adapters},
        }
    return JobRecord(
        job=row.job,
        account=row.account,
        state=row.state if state is None else state,
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
        notes=tuple(row.notes.splitlines()),
        last_event=max(row.last_event, last),
        **fields,
    )


def redacted(record: JobRecord) -> JobRecord:
    """Return what an operator may know of somebody else's job: of a private one, how it goes and not what it shows."""
    if not record.private:
        return record
    return msgspec.structs.replace(record, prompt="", negative_prompt="", seed=0, styles={}, pictures=(), notes=())


def stored_pictures(rows: Iterable[PictureRow]) -> tuple[StoredPicture, ...]:
    """Return what is told of these pictures, in their order."""
    return tuple(
        StoredPicture(
            index=row.index,
            digest=row.digest,
            size=row.size,
            width=row.width,
            height=row.height,
            media_type=row.media_type,
        )
        for row in rows
    )
