"""Files whose rows are not stored yet: nobody may delete them, though no row has them."""

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

HOLD_S: Final = 30.0  # a file that is being deleted: a question to the store, and the end of a name


class Pins:
    """Digests of files, held by the jobs that are about to have them. From any thread.

    A job holds its files before it puts them, so that of two jobs with the same pixels either the one that is deleted
    finds the other's hold, or the other one finds the file gone and writes it again.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: dict[str, tuple[str, ...]] = {}  # by job
        self._counts: Counter[str] = Counter()
        self._going: set[str] = set()  # being deleted just now

    def hold(self, job: str, digests: Sequence[str]) -> None:
        """Keep these from being deleted; waits for the end of those deletions that have begun. Once for each job:
        another time changes nothing. StoreBusy: a deletion did not end, and nothing is held."""
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
        """Its rows are stored, or it has none. Never waits for a deletion."""
        with self._changed:
            self._let_go(job)

    def delete(self, digest: str, delete: Callable[[], int]) -> int:
        """What `delete` returns, while nobody can hold the file; 0, without a call, if somebody does already."""
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
    """The files as whoever deletes may see them: what a job holds or a row has stays. See `retention.Removable`.

    Args:
        store, blobs, pins: who may need a file, and where it is.
        gone: told the digest of a file that goes.
    """

    def __init__(
        self, store: Store, blobs: Blobs, pins: Pins, gone: Callable[[str], object] = lambda digest: None
    ) -> None:
        self._store, self._blobs, self._pins, self._gone = store, blobs, pins, gone

    def delete(self, digest: str, min_age_s: float = 0.0) -> int:
        """As `Blobs.delete`; 0 also for a file that somebody needs. The rows are asked while nobody can take hold of
        it: a job lets go when its row is stored, so it is found in one place or the other."""

        def unless_needed() -> int:
            if self._store.referenced([digest]):
                return 0
            self._gone(digest)
            return self._blobs.delete(digest, min_age_s)

        return self._pins.delete(digest, unless_needed)

    def digests(self) -> Iterator[str]:
        """As `Blobs.digests`."""
        return self._blobs.digests()
