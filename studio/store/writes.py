"""What can be written: a closed union. A batch of writes is one transaction, applied in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import msgspec

from ...scheduler.entries import LedgerEntry
from .rows import FINAL, STATES, AccountRow, JobRow, PictureRow

FIXED: Final = frozenset({"job", "account", "key", "request", "seq", "deleted"})  # in a job row, for `SetJob`
CHANGEABLE: Final = frozenset(JobRow.__struct_fields__) - FIXED


@dataclass(frozen=True, slots=True)
class AddJob:
    """A new job. Its `seq` is assigned, whatever the row says. Refused: a job, or a key of the account, that exists."""

    row: JobRow


@dataclass(frozen=True, slots=True)
class SetJob:
    """Change fields of a job. Refused: one that does not exist, or was deleted."""

    job: str
    changes: Mapping[str, Any]

    def __post_init__(self) -> None:
        _check(self.changes)


@dataclass(frozen=True, slots=True)
class EndJob:
    """A job has ended, with these pictures in place of any that it had. Refused as `SetJob`."""

    job: str
    changes: Mapping[str, Any]
    pictures: tuple[PictureRow, ...] = ()

    def __post_init__(self) -> None:
        _check(self.changes)
        assert self.changes.get("state") in FINAL, self.changes
        assert all(picture.job == self.job for picture in self.pictures), self.pictures


@dataclass(frozen=True, slots=True)
class DeleteJob:
    """Make an ended job a tombstone: its state stays; prompt, spec, notes, reason, recipes and picture rows go. Nothing
    happens to a tombstone. Refused: a job that does not exist, or is open."""

    job: str


@dataclass(frozen=True, slots=True)
class AddEntries:
    """Ledger entries, following those that are stored, operations whole."""

    entries: tuple[LedgerEntry, ...]


@dataclass(frozen=True, slots=True)
class PutAccount:
    """A new account, or new values of one."""

    row: AccountRow


@dataclass(frozen=True, slots=True)
class SetMeta:
    """A value under a key of the caller's own."""

    key: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Put:
    """A row of a domain's table: a new one, or in place of that with its key."""

    row: msgspec.Struct


@dataclass(frozen=True, slots=True)
class Remove:
    """Take away the row with this key of a domain's table. Nothing happens if there is none."""

    rows: type[msgspec.Struct]
    key: tuple[Any, ...]


Write: TypeAlias = AddJob | SetJob | EndJob | DeleteJob | AddEntries | PutAccount | SetMeta | Put | Remove


def _check(changes: Mapping[str, Any]) -> None:
    assert changes, "no changes"
    assert changes.keys() <= CHANGEABLE, f"cannot change {sorted(changes.keys() - CHANGEABLE)}"
    assert changes.get("state", "queued") in STATES, changes
