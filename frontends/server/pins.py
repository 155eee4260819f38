"""Files whose rows are not stored yet: nobody may delete them, though no row has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


class Pins:
    """Digests of files, held by the jobs that are about to have them."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[str, ...]] = {}  # by job
        self._counts: Counter[str] = Counter()

    def __contains__(self, digest: str) -> bool:
        """From any thread."""
        return digest in self._counts

    def hold(self, job: str, digests: Sequence[str]) -> None:
        """Once for each job; another time changes nothing."""
        if job not in self._held:
            self._held[job] = tuple(digests)
            self._counts.update(digests)

    def release(self, job: str) -> None:
        """Its rows are stored."""
        for digest in self._held.pop(job, ()):
            self._counts[digest] -= 1
            if not self._counts[digest]:
                del self._counts[digest]
