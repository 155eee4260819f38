"""Servers and workers that are killed, at any moment: nothing that was acknowledged is lost, doubled or changed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from salon.bench.faulty.audit import Solo, audit
from salon.bench.faulty.siege import Siege
from salon.frontends.wire.keys import make_pair
from salon.scheduler.ledger import Ledger
from salon.studio.store.store import Store
from salon.studio.store.writes import AddEntries

from ...wire.plain_client import PlainClient, Refused
from ..conftest import TINY, Connect, Serve
from .conftest import Processes, Reach

ROUNDS = (("server", "worker"), ("worker",), ("server",), ("worker", "worker"), ("worker", "server"))
LOOSE = ("step", "preview", "started", "queued")  # events that a later start of the server no longer knows


def test_kills_under_load(words: list[str], tmp_path: Path, solo: Solo) -> None:
    with Siege(tmp_path, solo, options=words, seed=3) as siege:
        for kills in ROUNDS:
            siege.round(6, kills, spread_s=0.5)
        siege.inspect(last=True)
    assert siege.wrong == []
    counts = siege.counts
    assert (counts["server kills"], counts["jobs"], counts["stored jobs"]) == (3, 30, 30)
    assert counts["worker kills"] >= 3
    assert counts["pictures"] == counts["pictures read from disk"] >= 60
    assert (counts["lost"], counts["doubled"], counts["different"], counts["orphans"]) == (0, 0, 0, 0)
    assert counts["charged jobs"] > 0


def test_a_worker_of_a_server_that_died_before_it_could_look(tmp_path: Path) -> None:
    """Python takes a moment to start; the server may be gone by then. It ends, and takes its socket's folder along."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait(120)
    folder = tmp_path / "w"
    folder.mkdir()
    (folder / "w").touch()
    command = [sys.executable, "-m", "salon.studio.workers.main", f"ipc://{folder}/w", str(dead.pid)]
    worker = subprocess.run(command, timeout=300, check=False)
    assert worker.returncode == 1
    assert not folder.exists()


def test_charged_before_a_crash_and_not_again(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    """The books had the charge, the job's end was not stored: it is run again, for the same money, which it shows."""
    boss, ann = make_pair(), make_pair()

    def as_(server: Any, pair: Any) -> PlainClient:
        return connect(server, public=pair.public, secret=pair.secret)

    server = serve(curve=True, operators=(boss.public,), paused=True)
    as_(server, boss).ask("ops.set_account", account=ann.public, plan="basic")
    jobs = [as_(server, ann).submit(f"k{i}", "cat", **(TINY | {"images": 4}))["job"] for i in range(2)]
    server.stop()
    store = Store.open(None, tmp_path / "data")
    ledger = Ledger.replay(store.all_entries())
    price = ledger.held(jobs[0])
    assert price > 0
    store.write([AddEntries(ledger.settle(job, price, ledger.now_ms, use_ms=price, relax_ms=0)) for job in jobs])
    store.close()

    server = serve(curve=True, operators=(boss.public,), paused=True)
    client = as_(server, ann)
    assert not client.cancel(jobs[1])  # it is paid for
    as_(server, boss).ask("ops.resume")
    for job in jobs:
        assert [event["kind"] for event, _ in client.watch(job)][-1] == "done"
        assert client.show(job)["charged_ms"] == price
    server.stop()
    assert audit(tmp_path / "data", None).wrong == []


def test_a_watch_goes_on_after_a_restart_wherever_it_was(process: Processes, reach: Reach) -> None:
    """Also amid the pictures: those have the same numbers as in the life in which they were made."""
    server = process()
    client = reach(server.address)
    job = client.submit("k", "cat", **(TINY | {"images": 3}))["job"]
    told = [event for event, _ in client.watch(job)]
    server.kill()
    server.start()
    client = reach(server.address)
    for start in [0, *(event["number"] for event in told)]:
        again = [event for event, _ in client.watch(job, after=start)]
        for event in (*again, *told):
            event.pop("at_ms", None), event.pop("step", None), event.pop("steps", None)
        assert again == [event for event in told if event["number"] > start and event["kind"] not in LOOSE]


def test_numbers_rise_when_a_job_is_tried_again(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    client = connect(server)
    engine: Any = next(iter(server.context.studio.loop._core.pool.slots.values())).client
    engine = engine._worker.engine
    with monkeypatch.context() as broken:
        broken.setattr(engine, "decode", lambda *arguments: 1 / 0)
        job = client.submit("k", "cat", **TINY)["job"]
        first = [event for event, _ in client.watch(job)]
    assert first[-1]["kind"] == "failed"
    client.ask("ops.retry", job=job)
    rest = [event for event, _ in client.watch(job, after=first[-1]["number"])]
    assert [event["kind"] for event in rest if event["kind"] != "step"] == ["queued", "started", *["image"] * 3, "done"]
    assert rest[0]["number"] > first[-1]["number"]


def test_a_worker_that_dies_again_and_again(process: Processes, reach: Reach, tmp_path: Path, solo: Solo) -> None:
    """The server stays, says what it has, and its jobs are done when a worker lives long enough."""
    server = process()
    client = reach(server.address)
    jobs = [client.submit(f"k{i}", "a red apple", seed=i, steps=9, width=16, height=16)["job"] for i in range(4)]
    killed: set[int] = set()
    end = time.monotonic() + 120
    while len(killed) < 2:
        assert time.monotonic() < end
        for pid in set(server.workers()) - killed:
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        client.ping()
        time.sleep(0.01)
    finals = [[event["kind"] for event, _ in client.watch(job)][-1] for job in jobs]
    assert finals == ["done"] * 4
    with pytest.raises(Refused, match="another request"):
        client.submit("k0", "another apple")
    server.kill()
    assert server.leftovers() == []
    assert audit(server.data, solo).wrong == []


def test_a_job_goes_on_in_the_lane_that_it_was_given(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    """Turbo was full, so some were taken for Fast, and said so; a restart, with room for all, changes no price."""
    boss, ann = make_pair(), make_pair()
    options: dict[str, Any] = {"curve": True, "operators": (boss.public,), "paused": True}
    server = serve(**options)
    connect(server, public=boss.public, secret=boss.secret).ask("ops.set_account", account=ann.public, plan="mega")
    client = connect(server, public=ann.public, secret=ann.secret)
    jobs = [client.submit(f"k{i}", "cat", lane="turbo", **(TINY | {"seed": i, "images": 8}))["job"] for i in range(8)]
    before = [client.show(job) for job in jobs]
    downgraded = [job["job"] for job in before if job.get("lane", "fast") == "fast"]
    assert downgraded
    server.stop()
    store = Store.open(None, tmp_path / "data")
    ledger = Ledger.replay(store.all_entries())
    moved = next(job for job in jobs if job not in downgraded)  # as if when its worker died, which is only known later
    price = ledger.held(moved) // 2  # what was set aside is for Turbo
    assert price > 0
    for job in (downgraded[0], moved):
        store.write([AddEntries(ledger.settle(job, price, ledger.now_ms, use_ms=price, relax_ms=0))])
    store.close()
    server = serve(**options)
    operator = connect(server, public=boss.public, secret=boss.secret)
    client = connect(server, public=ann.public, secret=ann.secret)
    again = [client.show(job) for job in jobs]
    for name in ("lane", "note", "asked_lane"):
        assert [job.get(name) for job in again if job["job"] in downgraded] == [
            job.get(name) for job in before if job["job"] in downgraded
        ]
    operator.ask("ops.resume")
    for job in jobs:
        assert [event["kind"] for event, _ in client.watch(job)][-1] == "done"
    assert (client.show(moved).get("lane", "fast"), client.show(moved)["charged_ms"]) == ("fast", price)
    server.stop()
    assert audit(tmp_path / "data", None).wrong == []
