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
    found = blobs.read_cached(digest, 1000, 200_000)
    if found is None:
        pytest.skip("this file system cannot say what is in memory")
    assert bytes(found) == data[1000:201_000]
    assert blobs.read_cached(digest, 299_999, 2) is None  # there is only one: `read` says so
    assert blobs.read(digest, 299_999, 2) == data[-1:]
    with pytest.raises(BlobMissing):
        blobs.read_cached("0" * 64, 0, 1)


def test_without_the_system_s_help_nothing_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_blobs, "_NOWAIT", 0)
    blobs = FolderBlobs(tmp_path)
    assert blobs.read_cached(blobs.put(b"a picture"), 0, 9) is None
