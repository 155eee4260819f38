"""Ledger entries that are made and not stored yet: they ride in the writer's next transaction."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from ...scheduler.entries import LedgerEntry
from ..store.writes import AddEntries, SetMeta, Write


class Outbox:
    """What the ledger has made meanwhile, in its order. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: deque[LedgerEntry] = deque()
        self._marks: deque[SetMeta] = deque()  # of grants, with their entries in one transaction
        self._mark: SetMeta | None = None
        self._taken = (0, 0)

    def mark_next(self, mark: SetMeta) -> None:
        """Store this exactly if the entries of the next `add` are stored. Called under the lock that orders `add`."""
        self._mark = mark

    def add(self, entries: Sequence[LedgerEntry]) -> None:
        """Have entries stored; see `Billing`, whose `keep` this is."""
        with self._lock:
            self._entries.extend(entries)
            if self._mark is not None:
                self._marks.append(self._mark)
                self._mark = None

    def take(self) -> list[Write]:
        """Return what waits, for a transaction; see `Writer`, whose `before` this is."""
        with self._lock:
            entries, marks = tuple(self._entries), tuple(self._marks)
        self._taken = len(entries), len(marks)
        return [*([AddEntries(entries)] if entries else []), *marks]

    def taken(self, ok: bool) -> None:
        """Forget what that transaction stored; see `Writer`, whose `after` this is."""
        if ok:
            with self._lock:
                entries, marks = self._taken
                for _ in range(entries):
                    self._entries.popleft()
                for _ in range(marks):
                    self._marks.popleft()
