"""Pictures by digest, in a folder and in memory."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salon.studio.errors import BlobMissing, StoreBroken
from salon.studio.store.blobs import Blobs, MemoryBlobs, digest_of
from salon.studio.store.folder_blobs import FolderBlobs

from .conftest import TIMEOUT


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["folder", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Blobs:
    return FolderBlobs(tmp_path / "pictures", clock) if request.param == "folder" else MemoryBlobs(clock)


def test_what_is_put_is_there(blobs: Blobs) -> None:
    for data in (b"", b"a", bytes(range(256)) * 9000):
        digest = blobs.put(data)
        assert digest == hashlib.sha256(data).hexdigest() == digest_of(data)
        assert blobs.has(digest)
        assert blobs.get(digest) == data
        blobs.verify(digest)
        for offset, size in ((0, 1), (0, len(data)), (1, len(data)), (len(data), 5), (len(data) + 9, 5), (7, 0)):
            assert blobs.read(digest, offset, size) == data[offset : offset + size]
    assert blobs.total_bytes() == 1 + 256 * 9000
    assert sorted(blobs.digests()) == sorted(digest_of(data) for data in (b"", b"a", bytes(range(256)) * 9000))


def test_put_again(blobs: Blobs) -> None:
    assert blobs.put(b"ab") == blobs.put(b"ab")
    assert blobs.total_bytes() == 2
    assert len(list(blobs.digests())) == 1


@pytest.mark.parametrize("size", [1, 5, (1 << 20) + 3])
def test_a_damaged_file_of_the_right_size_is_mended(tmp_path: Path, size: int) -> None:
    """house 4.12: a file with the right size was taken for the right file, and every job of these pixels was broken."""
    blobs = FolderBlobs(tmp_path / "pictures")
    data = bytes(range(1, 256)) * (size // 255) + bytes(size % 255)
    digest = blobs.put(data)
    path = tmp_path / "pictures" / digest[:2] / digest[2:]
    path.write_bytes(data[:-1] + b"x")
    with pytest.raises(StoreBroken):
        blobs.verify(digest)
    assert blobs.put(data) == digest
    blobs.verify(digest)
    assert (blobs.get(digest), blobs.total_bytes()) == (data, size)
    node = path.stat().st_ino
    blobs.put(data)
    assert path.stat().st_ino == node  # sound: not written again
    assert list((tmp_path / "pictures" / "tmp").iterdir()) == []


def test_what_is_not_there(blobs: Blobs, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    for digest in ("0" * 64, "", "../../secret", "0" * 63 + "/", "A" * 64, "0" * 64 + "\n"):
        assert not blobs.has(digest)
        assert blobs.delete(digest) == 0
        for ask in (blobs.get, blobs.open, blobs.verify):
            with pytest.raises(BlobMissing):
                ask(digest)
        with pytest.raises(BlobMissing):
            blobs.read(digest, 0, 1)
    assert (tmp_path / "secret").exists()


def test_deleted(blobs: Blobs) -> None:
    digest, other = blobs.put(b"abc"), blobs.put(b"d")
    assert blobs.total_bytes() == 4
    with blobs.open(digest) as blob:
        assert blobs.delete(digest) == 3
        assert blob.size == 3  # who reads it reads on
        assert (blob.read(), blob.read(1, 1), blob.read(2, 9)) == (b"abc", b"b", b"c")
    blob.close()
    assert not blobs.has(digest)
    assert list(blobs.digests()) == [other]
    assert blobs.total_bytes() == 1
    assert blobs.get(blobs.put(b"abc")) == b"abc"


def test_a_young_one_stays(blobs: Blobs, clock: Clock) -> None:
    digest = blobs.put(b"abc")
    clock.now += 50
    assert blobs.delete(digest, min_age_s=60) == 0
    assert blobs.put(b"abc") == digest  # wanted again
    clock.now += 50
    assert blobs.delete(digest, min_age_s=60) == 0
    clock.now += 11
    assert blobs.delete(digest, min_age_s=60) == 3


def test_many_at_a_time(blobs: Blobs) -> None:
    """The same and others, put, read and deleted by several threads: what is there is whole."""
    wrong: list[Exception] = []
    blobs.total_bytes()

    def work(number: int) -> None:
        try:
            for i in range(30):
                data = bytes([i % 5]) * 1000
                digest = blobs.put(data)
                with suppress(BlobMissing):  # another one may have deleted it
                    assert blobs.get(digest) == data
                if (i + number) % 3 == 0:
                    blobs.delete(digest)
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert not wrong
    assert blobs.total_bytes() == 1000 * len(list(blobs.digests()))


@given(parts=st.lists(st.tuples(st.sampled_from(["put", "delete"]), st.binary(max_size=2)), max_size=30))
@settings(max_examples=40, deadline=None)
def test_like_a_dict(tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[str, bytes]]) -> None:
    makers: list[Callable[[], Blobs]] = [MemoryBlobs, lambda: FolderBlobs(tmp_path_factory.mktemp("like"))]
    for make in makers:
        blobs, model = make(), dict[str, bytes]()
        for act, data in parts:
            digest = digest_of(data)
            if act == "put":
                assert blobs.put(data) == digest
                model[digest] = data
            else:
                assert blobs.delete(digest) == len(model.pop(digest, b""))
        assert {digest: blobs.get(digest) for digest in blobs.digests()} == model
        assert blobs.total_bytes() == sum(map(len, model.values()))


def test_the_folder_after_reopening(tmp_path: Path) -> None:
    digest = FolderBlobs(tmp_path).put(b"abc")
    path = tmp_path / digest[:2] / digest[2:]
    assert path.read_bytes() == b"abc"
    assert path.stat().st_mode & 0o777 == 0o600
    (tmp_path / "tmp" / "half").write_bytes(b"abc")
    (tmp_path / "notes.txt").write_text("not ours")
    again = FolderBlobs(tmp_path)
    assert not (tmp_path / "tmp" / "half").exists()
    assert list(again.digests()) == [digest]
    assert again.total_bytes() == 3


def test_damage_in_the_folder(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    digest = blobs.put(b"abc")
    path = tmp_path / digest[:2] / digest[2:]
    path.write_bytes(b"abd")
    with pytest.raises(StoreBroken, match=str(path)):
        blobs.verify(digest)
    path.write_bytes(b"a")
    blobs.put(b"abc")  # one of another size is not taken for it
    blobs.verify(digest)
    assert blobs.total_bytes() == 3
