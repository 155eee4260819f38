"""Define the store's rows, as plain data. Times are UTC ms; 0: not yet."""

from __future__ import annotations

from typing import Final

import msgspec

from ...bounds import FINAL as FINAL
from ...bounds import GRID as GRID
from ...bounds import OPEN as OPEN
from ...parameters.job_request import IMAGINE

STATES: Final = (*OPEN, *FINAL)


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """A job.

    Attributes:
        job: its id, unique.
        account, key: the owner, and the client's name for the job; unique together.
        request: hash of the request, to tell another request under the same key.
        spec, work: bytes that the caller packs; the store does not read them.
        asked_lane: the lane that the request asked for.
        lane: the lane that serves the job; `note` says why it is another one.
        preview_every: solver steps between previews; 0: none.
        state: one of `STATES`.
        reason, failure: why the job has no pictures: in words, and by the name of the error.
        charged_ms: GPU time that the job cost.
        last_event: number of its latest event.
        step, steps: solver steps done, and in all.
        deleted: a tombstone: its prompt, spec, sources, notes, texts, reason and pictures are gone.
        kind: of job, a module of `studio/jobs`; a tombstone keeps it.
        sources: the pictures that it starts from, as the caller packs them; the store does not look inside.
        notes: what of its prompt is left out or replaced, a line each.
        texts: what it made in place of pictures, as the caller packs them.
        seq: assigned by the store, rises with acceptance; 0 before.
    """

    job: str
    account: str
    key: str
    request: bytes = b""
    spec: bytes = b""
    work: bytes = b""
    prompt: str = ""
    lane: str = "fast"
    asked_lane: str = "fast"
    private: bool = False
    preview_every: int = 0
    state: str = "queued"
    note: str = ""
    reason: str = ""
    failure: str = ""
    made_ms: int = 0
    started_ms: int = 0
    ended_ms: int = 0
    charged_ms: int = 0
    last_event: int = 0
    steps: int = 0
    step: int = 0
    deleted: bool = False
    kind: str = IMAGINE
    sources: str = ""
    notes: str = ""
    texts: str = ""
    seq: int = 0


class PictureRow(msgspec.Struct, frozen=True, kw_only=True):
    """A picture of a job.

    Attributes:
        index: index of the image, from 0, or -1 (`GRID`).
        digest: sha256 (hex) of the file.
        size: bytes of the file.
    """

    job: str
    index: int
    digest: str
    size: int
    width: int
    height: int
    media_type: str = "image/png"
    recipe: str | None = None


class AccountRow(msgspec.Struct, frozen=True, kw_only=True):
    """An account.

    Attributes:
        plan: name of its plan; None: it has none.
        anchor_ms: when its first billing period began.
        quota_bytes: bound of its pictures on disk, bytes; 0: the server's default.
    """

    account: str
    name: str = ""
    role: str = "user"
    plan: str | None = None
    anchor_ms: int = 0
    blocked: bool = False
    made_ms: int = 0
    quota_bytes: int = 0
