"""Reading a picture without ever waiting for the disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from salon.studio.errors import BlobMissing
from salon.studio.store import folder_blobs
from salon.studio.store.folder_blobs import FolderBlobs


def test_what_is_in_memory_is_read_and_what_is_not_is_left(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    data = os.urandom(300_000)
    digest = blobs.put(data)
    found = list(blobs.read_cached(digest, 1000, 200_000, 64_000))
    if not found:
        pytest.skip("this file system cannot say what is in memory")
    assert [len(part) for part in found] == [64_000, 64_000, 64_000, 8_000]
    assert b"".join(found) == data[1000:201_000]
    assert len(list(blobs.read_cached(digest, 200_000, 200_000, 64_000))) == 1  # `read` says where it ends
    assert blobs.read(digest, 299_999, 2) == data[-1:]
    with pytest.raises(BlobMissing):
        next(blobs.read_cached("0" * 64, 0, 1, 1))


def test_without_the_system_s_help_nothing_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_blobs, "_NOWAIT", 0)
    blobs = FolderBlobs(tmp_path)
    assert not list(blobs.read_cached(blobs.put(b"a picture"), 0, 9, 3))
