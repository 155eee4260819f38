"""What operators ask for twice, at once or after a failure, is done once."""

from __future__ import annotations

from typing import Any

import pytest

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
    engine = next(iter(server.house.studio.loop._core.fleet.slots.values())).port._worker.engine  # type: ignore[attr-defined]
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
