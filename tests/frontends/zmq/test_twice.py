"""What operators ask for twice, at once or after a failure, is done once."""

from __future__ import annotations

from typing import Any

import pytest

from salon.studio.errors import StoreFull

from ..wire.plain_client import PlainClient, Refused
from .conftest import TINY, Connect, Serve


def codes(client: PlainClient, ids: list[bytes]) -> list[str]:
    """The code of each answer; "" of one that is no failure."""
    found = []
    for id in ids:
        try:
            client.answer(id)
            found.append("")
        except Refused as error:
            found.append(error.code)
    return found


def test_a_job_that_is_retried_twice_at_once_runs_once(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    client = connect(server)
    engine = next(iter(server.context.studio.loop._core.pool.slots.values())).client._worker.engine  # type: ignore[attr-defined]
    decode = engine.decode

    def broken(*arguments: Any) -> Any:
        raise RuntimeError("the device is on fire")

    monkeypatch.setattr(engine, "decode", broken)
    job = client.submit("k", "cat", **TINY)["job"]
    last = [event for event, _ in client.watch(job)][-1]
    assert last["kind"] == "failed"
    monkeypatch.setattr(engine, "decode", decode)
    ids = [client.send({"type": "ops.retry", "job": job}) for _ in range(4)]
    assert sorted(codes(client, ids)) == ["", *["invalid"] * 3]
    told = [event["kind"] for event, _ in client.watch(job, after=last["number"])]
    assert (told[0], told[-1]) == ("queued", "done")
    assert client.show(job)["state"] == "done"
    assert len(client.fetch(job)) > 100


GRANT: dict[str, Any] = {"account": "local", "amount_ms": 60_000, "key": "gift"}


def test_a_grant_that_is_asked_for_twice_at_once_counts_once(serve: Serve, connect: Connect) -> None:
    server = serve()
    client = connect(server)
    ids = [client.send({"type": "ops.grant", **GRANT}) for _ in range(4)]
    assert codes(client, ids) == [""] * 4
    stored = [
        entry for entry in server.context.store.all_entries() if entry.kind == "grant" and entry.source == "bought"
    ]
    assert [entry.amount_ms for entry in stored] == [60_000]
    assert codes(client, [client.send({"type": "ops.grant", **GRANT, "amount_ms": 1})]) == ["invalid"]


def test_a_grant_is_acknowledged_when_it_is_on_disk_and_not_before(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    client, store = connect(server), server.context.store

    def bought() -> list[int]:
        return [entry.amount_ms for entry in store.all_entries() if entry.kind == "grant" and entry.source == "bought"]

    def full(writes: Any) -> Any:
        raise StoreFull("disk: it is full")

    with monkeypatch.context() as broken:
        broken.setattr(store, "write", full)
        assert codes(client, [client.send({"type": "ops.grant", **GRANT}) for _ in range(3)]) == ["unavailable"] * 3
        assert bought() == []
    client.submit("k", "cat", **TINY)  # whatever is written next takes it along, and what tells a repeated one
    assert bought() == [60_000]
    assert store.meta("grant.local.gift") is not None
    client.ask("ops.grant", **GRANT)
    server.stop()
    server = serve()
    store = server.context.store
    connect(server).ask("ops.grant", **GRANT)
    assert bought() == [60_000]
