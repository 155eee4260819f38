"""Protect files whose rows are not stored yet from being deleted."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from ...errors import complaint
from ..errors import StoreBusy

if TYPE_CHECKING:
    from ..store.blobs import Blobs
    from ..store.store import Store

HOLD_S: Final = 30.0  # the longest wait for a deletion, which reads the store and removes a name


class Pins:
    """Digests of files, held by the jobs that are about to have them. Safe to use from any thread.

    A job holds its files before it puts them. So of two jobs with the same pixels, either the deletion of one finds the
    hold of the other, or the other finds the file gone and writes it again.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: dict[str, tuple[str, ...]] = {}  # by job
        self._counts: Counter[str] = Counter()
        self._going: set[str] = set()  # digests that are being deleted just now

    def hold(self, job: str, digests: Sequence[str]) -> None:
        """Keep files from being deleted, and wait for the end of deletions that have begun.

        A job holds once; a further call changes nothing.

        Raises:
            StoreBusy: a deletion did not end. Nothing is held then.
        """
        with self._changed:
            if job in self._held:
                return
            self._held[job] = tuple(digests)
            self._counts.update(digests)
            if not self._changed.wait_for(lambda: self._going.isdisjoint(digests), HOLD_S):
                self._let_go(job)
                got, allowed = f"a picture that is still being deleted after {HOLD_S:g} s", "that deleting ends"
                raise StoreBusy(complaint("pictures", got, allowed, "look after the disk; it is tried again"))

    def release(self, job: str) -> None:
        """Release the files of a job: its rows are stored, or it has none. This never waits for a deletion."""
        with self._changed:
            self._let_go(job)

    def delete(self, digest: str, delete: Callable[[], int]) -> int:
        """Call `delete` while no job can hold the file, and return its result.

        If a job holds the file already, return 0 without a call.
        """
        with self._changed:
            if digest in self._counts or digest in self._going:
                return 0
            self._going.add(digest)
        try:
            return delete()
        finally:
            with self._changed:
                self._going.discard(digest)
                self._changed.notify_all()

    def _let_go(self, job: str) -> None:
        for digest in self._held.pop(job, ()):
            self._counts[digest] -= 1
            if not self._counts[digest]:
                del self._counts[digest]


class Unpinned:
    """A `retention.Removable` that deletes no file which a job holds or a row has.

    Args:
        store: knows the rows.
        blobs: has the files.
        pins: knows the holds.
        gone: called with the digest of a file that is deleted, before and after.
    """

    def __init__(
        self, store: Store, blobs: Blobs, pins: Pins, gone: Callable[[str], object] = lambda digest: None
    ) -> None:
        self._store, self._blobs, self._pins, self._gone = store, blobs, pins, gone

    def delete(self, digest: str, min_age_s: float = 0.0) -> int:
        """Do as `Blobs.delete`, but return 0 for a file that a job needs.

        The rows are read while no job can begin to hold the file. A job releases it when its row is stored, so it is
        found in one place or the other.
        """

        def unless_needed() -> int:
            if self._store.referenced([digest]):
                return 0
            self._gone(digest)
            size = self._blobs.delete(digest, min_age_s)
            self._gone(digest)  # what was made of it meanwhile
            return size

        return self._pins.delete(digest, unless_needed)

    def digests(self) -> Iterator[str]:
        """See `Blobs.digests`."""
        return self._blobs.digests()
