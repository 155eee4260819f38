"""Keep the jobs that ended last in memory, since most requests are about them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from ..store.rows import JobRow
from .job_record import JobRecord, StoredPicture, record_of

MANY: Final = 2000  # jobs that are kept in memory beside the store


class EndedJobs:
    """The rows, pictures and records of jobs that have ended. The oldest are dropped first.

    Attributes:
        drops: how often jobs were forgotten since they had changed. What was read before that may be out of date.
    """

    def __init__(self) -> None:
        self.drops = 0
        self._rows: OrderedDict[str, tuple[JobRow, tuple[StoredPicture, ...]]] = OrderedDict()
        self._records: dict[str, tuple[JobRow, JobRecord]] = {}

    def get(self, job: str) -> tuple[JobRow, tuple[StoredPicture, ...]] | None:
        """Return a job and its pictures, or None if it is not kept here."""
        return self._rows.get(job)

    def remember(self, row: JobRow, pictures: tuple[StoredPicture, ...]) -> None:
        """Keep a job."""
        self._rows[row.job] = (row, pictures)
        while len(self._rows) > MANY:
            oldest, _ = self._rows.popitem(last=False)
            self._records.pop(oldest, None)

    def record_of(self, row: JobRow, pictures: tuple[StoredPicture, ...]) -> JobRecord:
        """Return the record of a job. It is made once for each row that is kept here."""
        made = self._records.get(row.job)
        if made is not None and made[0] is row:
            return made[1]
        record = record_of(row, pictures)
        if row.job in self._rows:
            self._records[row.job] = (row, record)
        return record

    def drop(self, job: str) -> None:
        """Forget a job."""
        self.drops += 1
        self._rows.pop(job, None)
        self._records.pop(job, None)

    def before(self, ended_ms: int) -> list[str]:
        """Return the jobs that ended before a time (UTC ms)."""
        return [job for job, (row, _) in self._rows.items() if row.ended_ms < ended_ms]
