"""A wall clock that is put back and forth: the books go on, every period begins once, and jobs end."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from salon.bench.faulty.audit import Solo, audit
from salon.frontends.wire.keys import make_pair
from salon.scheduler.entries import EntryKind, Source
from salon.scheduler.ledger import Ledger
from salon.studio.scheduling import billing
from salon.studio.store.store import Store

from ...wire.plain_client import PlainClient
from ..conftest import TINY, Connect, Serve

DAY_S = 86_400
FINALS = ("done", "failed", "cancelled", "blocked")


class Clock:
    """The wall clock of the server, which may be set."""

    def __init__(self) -> None:
        self.off_s = 0

    def time_ns(self) -> int:
        return time.time_ns() + self.off_s * 10**9


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(billing, "time", SimpleNamespace(time_ns=made.time_ns))
    return made


def ends(client: PlainClient, job: str) -> list[str]:
    return [event["kind"] for event, _ in client.watch(job) if event["kind"] in FINALS]


@pytest.mark.parametrize("jumps", [(-2, 40, -40), (40, -2, 40), (-2, -2, 400)])
def test_jumps(
    serve: Serve, connect: Connect, clock: Clock, tmp_path: Path, solo: Solo, jumps: tuple[int, ...]
) -> None:
    """Each amid jobs, and across a restart."""
    boss, ann = make_pair(), make_pair()
    options: dict[str, Any] = {"curve": True, "operators": (boss.public,)}
    jobs: list[str] = []

    def clients(server: Any) -> tuple[PlainClient, PlainClient]:
        operator = connect(server, public=boss.public, secret=boss.secret)
        operator.ask("ops.set_account", account=ann.public, plan="standard")
        return operator, connect(server, public=ann.public, secret=ann.secret)

    server = serve(**options, paused=True)
    operator, client = clients(server)
    for number, days in enumerate(jumps):
        lanes = ("fast", "relax", "turbo")
        mine = [client.submit(f"{number}-{lane}", "cat", lane=lane, **TINY)["job"] for lane in lanes]
        clock.off_s += days * DAY_S  # admitted before, settled after
        mine.append(client.submit(f"{number}-late", "cat", **TINY)["job"])
        operator.ask("ops.resume")
        for job in mine:
            assert ends(client, job) == ["done"]
        mine = [client.submit(f"{number}-{lane}-again", "cat", lane=lane, **TINY)["job"] for lane in lanes]
        jobs += [*mine]
        server.stop()
        clock.off_s -= days * DAY_S // 2  # and again while no server runs
        server = serve(**options, paused=True)
        operator, client = clients(server)
        assert client.info()["renewal_ms"] >= server.context.ledger.now_ms
        operator.ask("ops.resume")
        for job in mine:
            assert ends(client, job) == ["done"]
        operator.ask("ops.pause")
        shown = [client.show(job) for job in mine]
        assert all(job["made_ms"] <= job["started_ms"] <= job["ended_ms"] for job in shown)
    server.stop()

    found = audit(tmp_path / "data", solo)
    assert (found.wrong, found.jobs["done"]) == ([], 7 * len(jumps))
    store = Store.open(None, tmp_path / "data")
    entries = list(store.all_entries())
    store.close()
    Ledger.replay(entries)
    assert [entry.at_ms for entry in entries] == sorted(entry.at_ms for entry in entries)
    mine_ = [entry for entry in entries if entry.account == ann.public]
    periods = Counter(entry.expires_ms for entry in mine_ if entry.kind is EntryKind.RENEW)
    assert set(periods.values()) == {1}
    assert len(periods) >= 2
    monthly = [entry for entry in mine_ if entry.kind is EntryKind.GRANT and entry.source is Source.MONTHLY]
    assert len(monthly) == len(periods)


def test_a_clock_that_runs_wild(
    serve: Serve, connect: Connect, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It jumps at every look, up to a year each way."""
    steps = iter(range(10**9))
    jumps = (0, -3600, 86_400, -2 * DAY_S, 7, 40 * DAY_S, -365 * DAY_S, 1)
    clock.time_ns = lambda: time.time_ns() + jumps[next(steps) % len(jumps)] * 10**9  # type: ignore[method-assign]
    monkeypatch.setattr(billing, "time", SimpleNamespace(time_ns=clock.time_ns))
    server = serve()
    client = connect(server)
    jobs = [client.submit(f"k{i}", "cat", seed=i, lane=lane, **TINY)["job"] for i, lane in enumerate(("fast", "relax"))]
    for job in jobs:
        assert ends(client, job) == ["done"]
        client.fetch(job)
    server.stop()
    assert audit(tmp_path / "data", None).wrong == []


def test_a_clock_that_was_ahead_when_it_all_began(serve: Serve, connect: Connect, clock: Clock, tmp_path: Path) -> None:
    """A machine that learned the time only later: the server starts, and dates go on from what is in the books."""
    clock.off_s = 300 * DAY_S
    server = serve()
    job = connect(server).submit("k", "cat", **TINY)["job"]
    server.stop()
    clock.off_s = 0
    server = serve()
    client = connect(server)
    assert ends(client, job) == ["done"]
    other = client.submit("k2", "cat", **TINY)["job"]
    assert ends(client, other) == ["done"]
    assert client.show(other)["made_ms"] >= client.show(job)["made_ms"]
    server.stop()
    assert audit(tmp_path / "data", None).wrong == []
