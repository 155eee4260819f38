"""Run jobs again, of any kind and style, each as a new job of the same request."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from ...bounds import FINAL, random_seed
from ...engine.errors import SpecError
from ...engine.spec import GenerationSpec
from ...errors import complaint
from ...parameters.job_request import JobRequest
from ...scheduler.plans import lane_of
from ..kinds import Asked, JobKind
from ..store.rows import JobRow
from .packing import sources_of, spec_of, work_of

if TYPE_CHECKING:
    from ...engine.info import ModelInfo


class Repeat(NamedTuple):
    """A wish for a job of before once more.

    Attributes:
        key: the caller's own name for the new job, as of `JobRequest`.
        job: the id of the one of before.
        seed: None: the same, where that one ended without pictures, else a random one.
        preview_every: solver steps between previews; None: as before.
    """

    key: str
    job: str
    seed: int | None = None
    preview_every: int | None = None

    @property
    def fingerprint(self) -> bytes:
        """A hash of everything but the key, as `request.fingerprint` is of other requests."""
        return hashlib.sha256(msgspec.msgpack.encode(("again", self.job, self.seed, self.preview_every))).digest()


def asked_again(row: JobRow, repeat: Repeat) -> Asked:
    """Return what the kind of a job prices the new one by: the request of before, as far as that decides it."""
    work = work_of(row)
    said = {"draft": work.draft, "quality": work.times}
    request = JobRequest(
        key=repeat.key,
        prompt=row.prompt,
        lane=row.asked_lane,
        private=row.private,
        preview_every=row.preview_every if repeat.preview_every is None else repeat.preview_every,
        parameters=said,
        kind=row.kind,
        sources=sources_of(row),
    )
    return Asked(request=request, lane=lane_of(row.asked_lane))


def spec_again(row: JobRow, kind: JobKind, seed: int | None, model: ModelInfo) -> GenerationSpec:
    """Return what the new job draws: what the one of before did, perhaps by another seed.

    Raises:
        SpecError: the version of before allowed what is not allowed now, or jobs of this kind have no seed.
    """
    try:
        spec = spec_of(row)
    except msgspec.MsgspecError as error:
        got = f"job {row.job!r}, whose request is of another version"
        raise SpecError(complaint("again", got, "one of this version", "ask for it in words")) from error
    if kind.PARAMETERS is not None and "seed" not in kind.PARAMETERS:
        if seed not in (None, spec.seed):
            got = f"{seed} for {row.kind!r}"
            raise SpecError(complaint("seed", got, "none there: the same comes of it each time", "leave it out"))
        return spec
    if seed is None:
        seed = spec.seed if row.state in FINAL and row.state != "done" else random_seed()
    return replace(spec, seed=seed)
