"""Remove what does not stay: jobs that are old enough, pictures that no job has, and what is beyond a quota."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, Protocol

import msgspec

from ...errors import complaint
from ..errors import QuotaExceeded, StoreRefused
from .rows import AccountRow
from .store import Store
from .writes import DeleteJob

BATCH: Final = 50  # jobs in one transaction, so that other writes can come in between
PAGE: Final = 500  # pictures that are looked up at a time
# A picture is put before its job's row is stored. When it is older than that takes, no job can be about to refer to it.
GRACE_S: Final = 10.0
ORPHAN_S: Final = 3600.0


class Removable(Protocol):
    """Pictures that may be deleted: `Blobs`, or a view of them that keeps those that a job is about to need."""

    def delete(self, digest: str, min_age_s: float = 0.0) -> int:
        """See `Blobs.delete`."""

    def digests(self) -> Iterator[str]:
        """See `Blobs.digests`."""


class Swept(msgspec.Struct, frozen=True, kw_only=True):
    """The number of jobs and pictures that were removed, and the bytes that this freed."""

    jobs: int = 0
    blobs: int = 0
    bytes: int = 0


def sweep(store: Store, blobs: Removable, now_ms: int, keep_ms: int | None) -> Swept:
    """Delete the jobs that ended more than `keep_ms` before `now_ms` (None: jobs stay for ever), with their pictures.

    Raises as `Store.write` and `Blobs.delete`. Jobs that were deleted until then stay so, and the next sweep goes on.
    """
    removed = Swept()
    while keep_ms is not None and (old := store.old_jobs(now_ms - keep_ms, BATCH)):
        number, freed = _delete(store, [row.job for row in old])
        removed = _sum(removed, msgspec.structs.replace(discard(blobs, freed), jobs=number))
    return removed


def discard(blobs: Removable, freed: Iterable[str], min_age_s: float = GRACE_S) -> Swept:
    """Remove pictures that a write has freed (`Store.write`, `Writer(freed=...)`).

    A picture that was put in the last `min_age_s` may be meant for another job, which has the very same picture;
    `collect` removes it later.
    """
    sizes = [size for digest in freed if (size := blobs.delete(digest, min_age_s))]
    return Swept(blobs=len(sizes), bytes=sum(sizes))


def collect(store: Store, blobs: Removable, min_age_s: float = ORPHAN_S) -> Swept:
    """Remove the pictures that no job has, as a crash between a picture and its job's row leaves them.

    Pictures of the last hour may be about to get a row, and stay. The call looks at every picture: once a day is
    enough.
    """
    removed = Swept()
    digests = blobs.digests()
    while part := list(islice(digests, PAGE)):
        kept = store.referenced(part)
        removed = _sum(removed, discard(blobs, (digest for digest in part if digest not in kept), min_age_s))
    return removed


def check_quota(store: Store, account: AccountRow, more_bytes: int, default_quota: int) -> None:
    """Raise QuotaExceeded unless the account may keep `more_bytes` more. A quota of 0 is no bound."""
    quota = account.quota_bytes or default_quota
    used = store.usage(account.account)
    if quota and used + more_bytes > quota:
        got = f"{_megabytes(used)} kept and {_megabytes(more_bytes)} more"
        remedy = "delete jobs that you do not need any more, or ask the operator for more"
        raise QuotaExceeded(complaint("pictures on disk", got, f"{_megabytes(quota)} for this account", remedy))


def _delete(store: Store, jobs: list[str]) -> tuple[int, tuple[str, ...]]:
    """Delete jobs.

    Return their number, and the digests that this freed. A job that has just been opened again stays.
    """
    try:
        return len(jobs), store.write([DeleteJob(job) for job in jobs])
    except StoreRefused:
        if len(jobs) == 1:
            return 0, ()
        parts = [_delete(store, [job]) for job in jobs]
        return sum(number for number, _ in parts), tuple(digest for _, freed in parts for digest in freed)


def _sum(one: Swept, other: Swept) -> Swept:
    return Swept(jobs=one.jobs + other.jobs, blobs=one.blobs + other.blobs, bytes=one.bytes + other.bytes)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
