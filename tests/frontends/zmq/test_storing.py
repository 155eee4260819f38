"""Pictures that cannot be stored: whatever the reason, the job was done and charged, so they wait."""

from __future__ import annotations

import errno
import os
import threading
from typing import Any

import pytest

from salon.studio.service import storing

from ..wire.plain_client import Refused
from .conftest import TINY, Connect, Serve


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.EROFS])
def test_pictures_wait_whatever_keeps_them_from_the_disk(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(storing, "FULL_S", 0.05)
    server = serve()
    client = connect(server)
    tried = threading.Event()

    def broken(*arguments: Any) -> None:
        tried.set()
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(server.context.blobs, "_write", broken)
        job = client.submit("k", "cat", **TINY)["job"]
        assert tried.wait(60)
        tried.clear()
        assert tried.wait(60)  # and again
        with pytest.raises(Refused, match=os.strerror(number)) as info:
            client.submit("k2", "cat", **TINY)
        assert (info.value.code, info.value.kind) == ("unavailable", "StoreLost")
        assert client.show(job)["state"] == "running"
    assert [event["kind"] for event, _ in client.watch(job)][-1] == "done"
    assert len(client.fetch(job)) > 100
