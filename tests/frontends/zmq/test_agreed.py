"""What docs/wire.md says, the server and the one for tests of clients do alike."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from salon.frontends.client.fake import FakeServer

from ..wire.plain_client import PlainClient, Refused
from .conftest import TINY, Connect, Serve


@pytest.fixture(params=["server", "fake"])
def client(request: pytest.FixtureRequest, serve: Serve, connect: Connect) -> Iterator[PlainClient]:
    if request.param == "server":
        yield connect(serve())
        return
    with FakeServer() as fake, PlainClient(fake.address) as client:
        yield client


def test_a_fetch_begins_within_the_file(client: PlainClient) -> None:
    job = client.submit("k", "cat", **TINY)["job"]
    assert list(client.watch(job))
    total = len(client.fetch(job))
    assert len(client.fetch(job, offset=total - 1)) == 1
    for offset in (total, total + 1):
        with pytest.raises(Refused) as info:
            client.fetch(job, offset=offset)
        assert info.value.code == "invalid"
    with pytest.raises(Refused) as info:
        client.fetch(job, 7)
    assert info.value.code == "not_found"


def test_a_repeated_submit_tells_the_job_as_it_is_now(client: PlainClient) -> None:
    job = client.submit("k", "cat", **TINY)["job"]
    assert list(client.watch(job))
    again = client.ask("submit", key="k", prompt="cat", **TINY)
    assert again["existing"]
    assert again["job"] == client.show(job)
    assert sorted(picture["index"] for picture in again["job"]["pictures"]) == [-1, 0, 1]


def test_a_repeated_submit_long_after(serve: Serve, connect: Connect) -> None:
    server = serve()
    client = connect(server)
    job = client.submit("k", "cat", **TINY)["job"]
    assert list(client.watch(job))
    assert server.server is not None
    server.server.service.jobs.drop(job)  # only the store knows it
    again = client.ask("submit", key="k", prompt="cat", **TINY)["job"]
    assert (again["state"], len(again["pictures"])) == ("done", 3)
    server.server.service.jobs.drop(job)
    client.delete(job)
    assert client.ask("submit", key="k", prompt="cat", **TINY)["job"].get("pictures", []) == []


def test_too_much_at_a_time_is_busy(serve: Serve, connect: Connect) -> None:
    server = serve(paused=True)
    client = connect(server)
    job = client.submit("k", "cat", **TINY)["job"]
    for _ in range(client.welcome.get("limits", {}).get("max_watches", 256)):
        client.answer(client.send({"type": "watch", "job": job}))  # its first event
    with pytest.raises(Refused) as info:
        client.answer(client.send({"type": "watch", "job": job}))
    assert info.value.code == "busy"
    assert info.value.record["retry_after_ms"] > 0


def test_a_repeated_deletion_changes_nothing(client: PlainClient) -> None:
    job = client.submit("k", "cat", **TINY)["job"]
    assert list(client.watch(job))
    assert [client.ask("delete", job=job).get("changed", True) for _ in range(3)] == [True, False, False]
