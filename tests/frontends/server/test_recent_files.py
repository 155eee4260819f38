"""Files that were sent just now stay in memory, within bounds, and not longer than on disk."""

from __future__ import annotations

from typing import Any

import pytest

from salon.frontends.server import recent_files
from salon.frontends.server.recent_files import RecentFiles

from ..wire.plain_client import Refused
from .conftest import TINY, Connect, Serve


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


def test_a_file_is_read_once_and_gone_when_it_is_deleted(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    client, reads = connect(server), []
    job = client.submit("k", "cat", **TINY)["job"]
    assert list(client.watch(job))
    get = server.house.blobs.get

    def counted(digest: str) -> Any:
        reads.append(digest)
        return get(digest)

    monkeypatch.setattr(server.house.blobs, "get", counted)
    assert client.fetch(job) == client.fetch(job)
    assert len(client.fetch(job, offset=10)) > 50
    assert len(reads) == 1
    assert server.server is not None
    client.delete(job)
    assert server.server.keeper.recent_files.num_bytes == 0
    with pytest.raises(Refused):
        client.fetch(job)


def test_files_too_large_to_keep_are_read_part_by_part(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    from salon.frontends.server import deliveries

    monkeypatch.setattr(deliveries, "LARGEST", 0)
    client = connect(serve())
    job = client.submit("k", "cat", **TINY)["job"]
    assert list(client.watch(job))
    assert client.fetch(job, credit=1)[1:] == client.fetch(job, offset=1)
