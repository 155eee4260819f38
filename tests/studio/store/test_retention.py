"""Old jobs, orphans and quotas."""

from __future__ import annotations

from pathlib import Path

import pytest

from salon.studio.errors import QuotaExceeded
from salon.studio.store import retention
from salon.studio.store.folder_blobs import FolderBlobs
from salon.studio.store.retention import Swept, check_quota, collect, discard, sweep
from salon.studio.store.rows import AccountRow, PictureRow
from salon.studio.store.store import Store
from salon.studio.store.writes import AddJob, DeleteJob, EndJob, SetJob

from .conftest import job_row
from .test_blobs import Clock

NOW = 1_800_000_000_000


def ended(store: Store, blobs: FolderBlobs, job: str, ended_ms: int, data: bytes) -> str:
    """A job that is done, with one picture."""
    digest = blobs.put(data)
    picture = PictureRow(job=job, index=0, digest=digest, size=len(data), width=1, height=1)
    store.write([AddJob(job_row(job)), EndJob(job, {"state": "done", "ended_ms": ended_ms}, (picture,))])
    return digest


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def blobs(tmp_path: Path, clock: Clock) -> FolderBlobs:
    return FolderBlobs(tmp_path / "pictures", clock)


def test_old_jobs_go_with_their_pictures(
    store: Store, blobs: FolderBlobs, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 10)
    shared = b"shared"
    for i in range(14):
        ended(store, blobs, f"old {i}", NOW - 1000 - i, shared if i == 7 else b"%d" % i)
    kept = [ended(store, blobs, "young", NOW - 10, b"young"), ended(store, blobs, "same", NOW - 10, shared)]
    store.write([AddJob(job_row("open"))])
    clock.now += 100
    assert sweep(store, blobs, NOW, None) == Swept()
    assert sweep(store, blobs, NOW, 2000) == Swept()
    swept = sweep(store, blobs, NOW, 500)
    assert (swept.jobs, swept.blobs) == (14, 13)
    assert sorted(blobs.digests()) == sorted(kept)
    assert [row.job for row in store.jobs(None)] == ["open", "same", "young"]
    assert store.usage("a") == blobs.total_bytes() == 11
    old = store.job("old 3")
    assert old is not None
    assert (old.state, old.deleted) == ("done", True)
    assert sweep(store, blobs, NOW, 500) == Swept()


def test_a_job_that_was_just_opened_again_stays(
    store: Store, blobs: FolderBlobs, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for job in ("one", "two", "three"):
        ended(store, blobs, job, NOW - 1000, job.encode())
    clock.now += 100
    old_jobs = store.old_jobs

    def late(before_ms: int, limit: int) -> object:
        found = old_jobs(before_ms, limit)
        store.write([SetJob("two", {"state": "queued"})])
        return found

    monkeypatch.setattr(store, "old_jobs", late)
    assert sweep(store, blobs, NOW, 0).jobs == 2
    assert [row.job for row in store.jobs(None)] == ["two"]


def test_freed_pictures_and_their_grace(store: Store, blobs: FolderBlobs, clock: Clock) -> None:
    digest = ended(store, blobs, "one", NOW, b"abc")
    freed = store.write([DeleteJob("one")])
    assert discard(blobs, freed) == Swept()  # another job may be about to have the same
    clock.now += 11
    assert discard(blobs, freed) == Swept(blobs=1, bytes=3)
    assert not blobs.has(digest)


def test_orphans_are_collected_after_an_hour(
    store: Store, blobs: FolderBlobs, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PAGE", 7)
    kept = ended(store, blobs, "one", NOW, b"kept")
    orphans = {blobs.put(b"orphan %d" % i) for i in range(20)}
    clock.now += 3599
    assert collect(store, blobs) == Swept()
    late = blobs.put(b"orphan 1")  # put again: about to be referred to
    clock.now += 2
    assert collect(store, blobs).blobs == len(orphans) - 1
    assert set(blobs.digests()) == {kept, late}


def test_quotas(store: Store, blobs: FolderBlobs) -> None:
    ended(store, blobs, "one", NOW, bytes(2_000_000))
    default, own = AccountRow(account="a"), AccountRow(account="a", quota_bytes=5_000_000)
    check_quota(store, default, 10**12, 0)
    check_quota(store, default, 1_000_000, 3_000_000)
    with pytest.raises(QuotaExceeded, match=r"2\.0 MB kept and 1\.0 MB more, allowed 3\.0 MB.*delete jobs"):
        check_quota(store, default, 1_000_001, 3_000_000)
    check_quota(store, own, 3_000_000, 1)
    with pytest.raises(QuotaExceeded):
        check_quota(store, own, 3_000_001, 0)
    check_quota(store, AccountRow(account="b"), 1, 1)
