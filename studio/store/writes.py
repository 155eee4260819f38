"""Define the writes, as a closed union. A batch of writes is one transaction, applied in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import msgspec

from ...scheduler.entries import LedgerEntry
from .rows import FINAL, STATES, AccountRow, JobRow, PictureRow

FIXED: Final = frozenset({"job", "account", "key", "request", "seq", "deleted"})  # `SetJob` may not set these
CHANGEABLE: Final = frozenset(JobRow.__struct_fields__) - FIXED


@dataclass(frozen=True, slots=True)
class AddJob:
    """Add a job. The store assigns its `seq`. Refused if the job, or a job of the account with this key, exists.

    `model`: that is to draw it, by name. `words`: by which `Reads.names` finds it; None: `Describe` says them.
    """

    row: JobRow
    model: str = ""
    words: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SetJob:
    """Change fields of a job. Refused if it does not exist, or was deleted."""

    job: str
    changes: Mapping[str, Any]

    def __post_init__(self) -> None:
        _check(self.changes)


@dataclass(frozen=True, slots=True)
class EndJob:
    """End a job, with these pictures in place of any that it had. Refused as `SetJob`."""

    job: str
    changes: Mapping[str, Any]
    pictures: tuple[PictureRow, ...] = ()

    def __post_init__(self) -> None:
        _check(self.changes)
        assert self.changes.get("state") in FINAL, self.changes
        assert all(picture.job == self.job for picture in self.pictures), self.pictures


@dataclass(frozen=True, slots=True)
class DeleteJob:
    """Make an ended job a tombstone: its state stays; prompt, spec, notes, texts, reason and picture rows go.

    A tombstone stays as it is. Refused if the job does not exist, or is open.
    """

    job: str


@dataclass(frozen=True, slots=True)
class Describe:
    """Say by which words `Reads.names` finds a job. Of a job that was deleted, or never was, nothing is kept."""

    job: str
    words: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AddEntries:
    """Add ledger entries that follow the stored ones, with whole operations."""

    entries: tuple[LedgerEntry, ...]


@dataclass(frozen=True, slots=True)
class PutAccount:
    """Add an account, or give it new values."""

    row: AccountRow


@dataclass(frozen=True, slots=True)
class SetMeta:
    """Store a value under a key of the caller's own."""

    key: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Put:
    """Add a row to a domain's table, or replace the row with its key."""

    row: msgspec.Struct


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the row with this key from a domain's table, if it exists."""

    rows: type[msgspec.Struct]
    key: tuple[Any, ...]


Write: TypeAlias = AddJob | SetJob | EndJob | DeleteJob | Describe | AddEntries | PutAccount | SetMeta | Put | Remove


def _check(changes: Mapping[str, Any]) -> None:
    assert changes, "no changes"
    assert changes.keys() <= CHANGEABLE, f"cannot change {sorted(changes.keys() - CHANGEABLE)}"
    assert changes.get("state", "queued") in STATES, changes
