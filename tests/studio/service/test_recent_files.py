"""Files that were sent just now stay in memory, within bounds."""

from __future__ import annotations

import pytest

from salon.studio.service import recent_files
from salon.studio.service.recent_files import RecentFiles


def test_the_oldest_go_and_the_largest_never_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_files, "MAX_BYTES", 100)
    monkeypatch.setattr(recent_files, "LARGEST", 50)
    files = RecentFiles()
    for name in "abc":
        assert files.read(name, lambda: bytes(30)) == bytes(30)
    assert files.get("a") == bytes(30)
    files.read("a", lambda: bytes(30))  # again: it is counted once
    files.read("d", lambda: bytes(40))
    assert [name for name in "abcd" if files.get(name) is not None] == ["a", "c", "d"]
    assert files.num_bytes == 100
    assert files.read("large", lambda: bytes(51)) == bytes(51)
    assert files.get("large") is None
    files.remove("a")
    assert (files.get("a"), files.num_bytes) == (None, 70)


def test_what_is_deleted_while_it_is_read_does_not_stay() -> None:
    files = RecentFiles()

    def read() -> bytes:
        files.remove("a")
        return b"pixels"

    def fail() -> bytes:
        raise KeyError("b")

    assert files.read("a", read) == b"pixels"
    assert (files.get("a"), files.num_bytes) == (None, 0)
    files.read("a", lambda: b"pixels")  # it was made again
    assert files.get("a") == b"pixels"
    with pytest.raises(KeyError):
        files.read("b", fail)
    assert not files._reading
