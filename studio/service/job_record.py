"""Make the record of a job, for accounts that may see it, from its row and from fresher facts in memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from ...engine.inquiries import Text
from ...engine.spec import GenerationSpec
from ...parameters.job_request import IMAGINE, Source
from ..store.rows import JobRow, PictureRow
from . import packing


class StoredPicture(msgspec.Struct, frozen=True, kw_only=True):
    """A picture that can be fetched.

    Attributes:
        index: index of the image, from 0, or -1 (`GRID`).
        digest: sha256 (hex) of the file.
        size: bytes of the file.
        width, height: size in pixels.
    """

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
        account: the account that owns it.
        state: "queued", "running", "paused", or one of `bounds.FINAL`; a final one is on disk.
        asked_lane: the lane that the request asked for.
        lane: the lane that serves the job; `note` says why it is another one.
        reason, failure: why the job has no pictures: in words, and by the name of the error.
        notes: what of the prompt is left out or replaced, one sentence each.
        private: whether only its owner sees it.
        prompt, negative_prompt, width, height, steps, seed, images, guidance_scale, solver: the request, every default
            filled in; empty once the job was deleted.
        styles: adapter -> weight.
        terms, prompt_weight: texts beside the prompt, text -> weight, and the prompt's own among them.
        step: solver steps done, of `steps`.
        charged_ms: GPU time that the job cost.
        pictures: the grid and the images, once it is done.
        last_event: number of its latest event.
        kind: of job; see docs/using.md.
        sources: the pictures that it started from.
        knobs: those of chaos, weird, experimental, stop, tile, progressive and quality that do something, by name.
        starts: SHA-256 (hex) of the files of pictures that it is drawn from, image prompts too.
        texts: what it made in place of pictures, once it is done.
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
    terms: dict[str, float] = {}
    prompt_weight: float = 1.0
    step: int = 0
    made_ms: int = 0
    started_ms: int = 0
    ended_ms: int = 0
    charged_ms: int = 0
    pictures: tuple[StoredPicture, ...] = ()
    last_event: int = 0
    kind: str = IMAGINE
    sources: tuple[Source, ...] = ()
    notes: tuple[str, ...] = ()
    knobs: dict[str, float] = {}
    starts: tuple[str, ...] = ()
    texts: tuple[Text, ...] = ()


def record_of(
    row: JobRow,
    pictures: tuple[StoredPicture, ...] = (),
    *,
    state: str | None = None,
    step: int | None = None,
    last: int = 0,
    spec: GenerationSpec | None = None,
) -> JobRecord:
    """Return the record of a row.

    Args:
        state, step, last: facts that are fresher than the stored ones.
        spec: the row's spec, unpacked.
    """
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
            "terms": _terms(spec),
            "prompt_weight": spec.prompt_weight,
            "knobs": knobs_of(row, spec),
            "starts": () if spec.start is None else spec.start.pictures,
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
        kind=row.kind,
        sources=packing.sources_of(row),
        texts=packing.texts_of(row),
        **fields,
    )


def redacted(record: JobRecord) -> JobRecord:
    """Return what an operator may see of another account's job: of a private one, how it goes and not what it shows."""
    if not record.private:
        return record
    hidden: dict[str, Any] = {"prompt": "", "negative_prompt": "", "terms": {}, "prompt_weight": 1.0, "styles": {}}
    hidden |= {"knobs": {}, "starts": (), "texts": ()}
    return msgspec.structs.replace(record, **hidden, seed=0, pictures=(), sources=(), notes=())


def knobs_of(row: JobRow, spec: GenerationSpec) -> dict[str, float]:
    """Return the knobs of a job that do something, by name; its work knows how many times the steps were asked for."""
    times = packing.work_of(row).times if row.work else 1
    return {**spec.knobs, **({} if times == 1 else {"quality": float(times)})}


def _terms(spec: GenerationSpec) -> dict[str, float]:
    """Return text -> weight; a text that is there twice acts with the sum."""
    terms: dict[str, float] = {}
    for term in spec.terms:
        terms[term.text] = terms.get(term.text, 0.0) + term.weight
    return terms


def stored_pictures(rows: Iterable[PictureRow]) -> tuple[StoredPicture, ...]:
    """Return the public facts of these pictures, in their order."""
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
