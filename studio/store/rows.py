"""What the store keeps, as plain rows. Times are UTC ms; 0: not yet."""

from __future__ import annotations

from typing import Final

import msgspec

from ...bounds import FINAL as FINAL
from ...bounds import GRID as GRID
from ...bounds import OPEN as OPEN

STATES: Final = (*OPEN, *FINAL)


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """A job.

    Attributes:
        job: its id, unique.
        account, key: whose it is, and the client's name for it; unique together.
        request: hash of what was submitted, to tell another request under the same key.
        spec, work: as the caller packs them; the store does not look inside.
        lane, asked_lane: that it is served in, and that was asked for; `note` says why they differ.
        preview_every: solver steps between previews; 0: none.
        state: one of `STATES`.
        reason, failure: why it has no pictures: words, and the name of the error.
        charged_ms: GPU time that it cost.
        last_event: number of its latest event.
        step, steps: solver steps done, and in all.
        notes: what of its prompt is left out or replaced, a line each.
        deleted: a tombstone: its prompt, spec, notes, reason and pictures are gone.
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
    notes: str = ""
    seq: int = 0


class PictureRow(msgspec.Struct, frozen=True, kw_only=True):
    """A picture of a job. `index` from 0, or -1 (`GRID`); `digest` sha256 (hex) of the file's `size` bytes."""

    job: str
    index: int
    digest: str
    size: int
    width: int
    height: int
    media_type: str = "image/png"
    recipe: str | None = None


class AccountRow(msgspec.Struct, frozen=True, kw_only=True):
    """An account. `plan` None: none; `anchor_ms`: when its first billing period began; `quota_bytes` of pictures on
    disk, 0: the server's default."""

    account: str
    name: str = ""
    role: str = "user"
    plan: str | None = None
    anchor_ms: int = 0
    blocked: bool = False
    made_ms: int = 0
    quota_bytes: int = 0
