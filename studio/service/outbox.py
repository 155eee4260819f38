"""Keep ledger entries that are not stored yet, until the writer's next transaction takes them along."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from ...scheduler.entries import LedgerEntry
from ..store.writes import AddEntries, SetMeta, Write


class Outbox:
    """New entries of the ledger, in order. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: deque[LedgerEntry] = deque()
        self._marks: deque[SetMeta] = deque()  # marks of grants, stored with their entries in one transaction
        self._mark: SetMeta | None = None
        self._taken = (0, 0)

    def mark_next(self, mark: SetMeta) -> None:
        """Store this mark together with the entries of the next `add`. Called under the lock that orders `add`."""
        self._mark = mark

    def add(self, entries: Sequence[LedgerEntry]) -> None:
        """Take entries to be stored. This is the `keep` of `Billing`."""
        with self._lock:
            self._entries.extend(entries)
            if self._mark is not None:
                self._marks.append(self._mark)
                self._mark = None

    def take(self) -> list[Write]:
        """Return the waiting writes, for a transaction. This is the `before` of `Writer`."""
        with self._lock:
            entries, marks = tuple(self._entries), tuple(self._marks)
        self._taken = len(entries), len(marks)
        return [*([AddEntries(entries)] if entries else []), *marks]

    def taken(self, ok: bool) -> None:
        """Forget the writes that the transaction stored. This is the `after` of `Writer`."""
        if ok:
            with self._lock:
                entries, marks = self._taken
                for _ in range(entries):
                    self._entries.popleft()
                for _ in range(marks):
                    self._marks.popleft()
