"""What outlives a power cut was flushed first (house 6): a killed process loses nothing without, so count the calls."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from salon.studio.store.folder_blobs import FolderBlobs
from salon.studio.store.migrations import copy_sqlite
from salon.studio.store.store import FILE

from .conftest import Place

Flushed = list[tuple[str, tuple[str, ...]]]  # (path, what its folder had at that time)


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Flushed]:
    """Gives what was flushed below a folder since the last call, by the paths that they had then."""
    calls: list[tuple[Path, tuple[str, ...]]] = []
    fsync = os.fsync

    def counted(file: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{file}"))
        folder = path if path.is_dir() else path.parent
        calls.append((path, tuple(sorted(os.listdir(folder)))))
        fsync(file)

    def since(folder: Path) -> Flushed:
        found = [(str(path.relative_to(folder)), names) for path, names in calls if path.is_relative_to(folder)]
        calls.clear()
        return found

    monkeypatch.setattr(os, "fsync", counted)
    return since


def test_a_picture(tmp_path: Path, flushed: Callable[[Path], Flushed]) -> None:
    blobs = FolderBlobs(tmp_path)
    assert [path for path, _ in flushed(tmp_path)] == ["."]
    digest = blobs.put(b"pixels")
    shelf, name = digest[:2], digest[2:]
    made, written, named = flushed(tmp_path)
    assert (made[0], shelf in made[1]) == (".", True)  # the new shelf's own name
    assert written[0].startswith("tmp/")  # the bytes, before they have their name
    assert named == (shelf, (name,))  # the name
    blobs.put(b"pixels")
    assert flushed(tmp_path) == [(shelf, (name,))]  # another thread may have put it, and not got so far
    (tmp_path / shelf / name).write_bytes(b"broken")
    blobs.put(b"pixels")
    assert [path.partition("/")[0] for path, _ in flushed(tmp_path)] == ["tmp", shelf]


def test_a_store_and_its_copy(sqlite_place: Place, flushed: Callable[[Path], Flushed]) -> None:
    sqlite_place.open().close()
    folder, names = flushed(sqlite_place.folder)[-1]
    assert (folder, FILE in names) == (".", True)
    copy = copy_sqlite(sqlite_place.folder / FILE, 1)
    (half, before), (folder, after) = flushed(sqlite_place.folder)
    assert (half, copy.name in before) == (f"{copy.name}.part", False)
    assert (folder, copy.name in after) == (".", True)
