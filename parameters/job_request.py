"""A request for a job: what a client sends, what a program says, and what the service keeps the fingerprint of."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..bounds import GRID

IMAGINE: Final = "imagine"  # the kind of a request that names none


class Source(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A picture that a request starts from: one of a job, or one that was brought.

    Attributes:
        job: id of the job that made it; "": it was brought.
        index: which of that job's pictures, from 0; -1 (`GRID`): the job as a whole.
        digest: sha256 (hex) of a file that was brought; "": it is of a job.
    """

    job: str = ""
    index: int = GRID
    digest: str = ""

    def __str__(self) -> str:
        if not self.job:
            return f"picture {self.digest}"
        return f"job {self.job!r}" if self.index == GRID else f"picture {self.index} of job {self.job!r}"


class JobRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request for a job. The order of the fields decides the fingerprints that are stored: new ones go last.

    Attributes:
        key: the caller's own name for it; the same key again is the same job, and no second one.
        prompt, negative_prompt: what to draw, and what not.
        lane: that is wanted; one of `bounds.LANES`.
        aspect: width to height, in place of both.
        width, height: pixels; None, as for the next ones: as the model's defaults say.
        steps, guidance_scale, solver, shift: see `GenerationSpec`.
        seed: None: a random one.
        images: pictures that are made together.
        private: only its owner sees it.
        preview_every: solver steps between previews; 0: none.
        parameters: what it says, by the names of `parameters/known`, in place of everything from `negative_prompt` to
            `shift`; None: a request from before there were styles.
        kind: of job, a module of `studio/jobs`.
        sources: the pictures that it starts from, where its kind takes any.
        language: the prompt is one of the prompt language (`parameters/language`), and `parameters` say what it says,
            lane and privacy among them; what both leave out, the account's settings say.
    """

    key: str
    prompt: str
    lane: str = "fast"
    negative_prompt: str = ""
    aspect: tuple[float, float] | None = None
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    seed: int | None = None
    images: int = 4
    guidance_scale: float | None = None
    solver: str | None = None
    shift: float | None = None
    private: bool = False
    preview_every: int = 0
    parameters: dict[str, Any] | None = None
    kind: str = IMAGINE
    sources: tuple[Source, ...] = ()
    language: bool = False
