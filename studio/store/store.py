"""Jobs, pictures, accounts and ledger entries on disk: in SQLite, or in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ...scheduler.entries import Entry
from .rows import AccountRow, JobRow, PictureRow
from .writes import Write


class Store:
    """What is stored. Reads may run in any thread, beside a write."""

    @classmethod
    def open(cls, url: str | None, folder: Path, *, busy_s: float = 5.0) -> Store:
        """Open or make a store. `url` None: SQLite in folder/salon.db; or postgresql://..."""
        raise NotImplementedError

    def close(self) -> None: ...

    def write(self, writes: Sequence[Write]) -> tuple[str, ...]:
        """One transaction, all or nothing. The digests whose last reference went."""
        raise NotImplementedError

    def begin_life(self) -> int:
        """A number that rises by one, durably, with every call."""
        raise NotImplementedError

    def job(self, job: str) -> JobRow | None: ...
    def job_by_key(self, account: str, key: str) -> JobRow | None: ...
    def jobs(
        self, account: str | None, before_seq: int = 0, limit: int = 20, states: Sequence[str] = ()
    ) -> tuple[JobRow, ...]:
        """Newest first, tombstones left out; `before_seq` 0: from the newest."""
        raise NotImplementedError

    def open_jobs(self) -> tuple[JobRow, ...]: ...
    def old_jobs(self, before_ms: int, limit: int) -> tuple[JobRow, ...]: ...
    def pictures(self, job: str) -> tuple[PictureRow, ...]: ...
    def accounts(self, after: str = "", limit: int = 50) -> tuple[AccountRow, ...]: ...
    def account(self, account: str) -> AccountRow | None: ...
    def entries(self, account: str | None, after: int = 0, limit: int = 100) -> tuple[Entry, ...]: ...
    def all_entries(self) -> Iterator[Entry]: ...
    def meta(self, key: str) -> str | None: ...
    def usage(self, account: str) -> int: ...
    def stored_bytes(self) -> int: ...
    def referenced(self, digests: Sequence[str]) -> set[str]: ...
    def check(self) -> None:
        """Raises StoreBroken."""
