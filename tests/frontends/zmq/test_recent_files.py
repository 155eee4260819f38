"""Files that were sent just now stay in memory, within bounds, and not longer than on disk."""

from __future__ import annotations

from typing import Any

import pytest

from ..wire.plain_client import Refused
from .conftest import TINY, Connect, Serve


def test_a_file_is_read_once_and_gone_when_it_is_deleted(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    client, reads = connect(server), []
    job = client.submit("k", "cat", **TINY)["job"]
    assert list(client.watch(job))
    get = server.context.blobs.get

    def counted(digest: str) -> Any:
        reads.append(digest)
        return get(digest)

    monkeypatch.setattr(server.context.blobs, "get", counted)
    assert client.fetch(job) == client.fetch(job)
    assert len(client.fetch(job, offset=10)) > 50
    assert len(reads) == 1
    assert server.server is not None
    client.delete(job)
    assert server.server.service.jobs.recent_files.num_bytes == 0
    with pytest.raises(Refused):
        client.fetch(job)


def test_files_too_large_to_keep_are_read_part_by_part(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    from salon.frontends.zmq import deliveries

    monkeypatch.setattr(deliveries, "LARGEST", 0)
    client = connect(serve())
    job = client.submit("k", "cat", **TINY)["job"]
    assert list(client.watch(job))
    assert client.fetch(job, credit=1)[1:] == client.fetch(job, offset=1)
