"""The server as clients see it: stored before it is acknowledged, told once, seen by its owner only."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from salon.engine.engine import Engine
from salon.frontends.recipe import pixel_hash, read_png
from salon.frontends.wire.keys import make_pair
from salon.frontends.zmq.main import ServeError, server_key
from salon.frontends.zmq.options import ServeOptions
from salon.scheduler.ledger import Ledger
from salon.studio.errors import StoreInUse
from salon.studio.store.retention import collect, discard

from ...studio.conftest import BACKEND
from ...studio.store.conftest import Place
from ..wire.plain_client import PlainClient, Refused, Silent
from .conftest import TINY, Connect, Serve

MINUTE = 60_000
FINALS = ("done", "failed", "cancelled", "blocked")


def kinds(client: PlainClient, job: str, **options: Any) -> list[str]:
    return [event["kind"] for event, _ in client.watch(job, **options)]


def refusal(call: Any) -> Refused:
    with pytest.raises(Refused) as info:
        call()
    return info.value


def test_a_job_from_submit_to_pictures(serve: Serve, connect: Connect, tiny: Any, tmp_path: Any) -> None:
    server = serve()
    client = connect(server)
    job = client.submit("one", "a red apple, 3d, on teal", seed=5, **TINY, preview_every=1)["job"]
    events = list(client.watch(job, previews=True))
    told = [event["kind"] for event, _ in events]
    assert [kind for kind in told if kind not in ("step", "preview")] == ["queued", "started", *["image"] * 3, "done"]
    numbers = [event["number"] for event, _ in events]
    assert numbers == sorted(set(numbers))
    assert all(data is None or data[:2] == b"\xff\xd8" for _, data in events)

    engine = Engine.load(tiny, backend=BACKEND, threads=1)
    generation = engine.open(engine.make_spec("a red apple, 3d, on teal", seed=5, **TINY))
    while generation.state == "running":
        engine.step([generation])
    alone = engine.finish(generation)
    for index in (0, 1, -1):
        file = tmp_path / f"{index}.png"
        file.write_bytes(client.fetch(job, index))
        pixels, recipe = read_png(file)
        assert recipe.pixels == pixel_hash(pixels)
        assert recipe.spec == generation.spec
        assert (recipe.model.digest, recipe.backend, recipe.dtype) == (
            engine.model.digest, engine.ops.name, engine.ops.compute,
        )  # fmt: skip
        assert recipe.clauses == dict(generation.text.clauses)
        if index >= 0:
            np.testing.assert_array_equal(pixels, alone[index])
    shown = client.show(job)
    assert (shown["state"], shown["step"], shown["seed"], len(shown["pictures"])) == ("done", 2, 5, 3)
    assert shown["last_event"] == numbers[-1]


def test_the_same_key_is_the_same_job(serve: Serve, connect: Connect) -> None:
    server = serve()
    clients = [connect(server) for _ in range(4)]
    jobs: list[str] = []
    threads = [
        threading.Thread(target=lambda c=client: jobs.append(c.submit("k", "cat", **TINY)["job"])) for client in clients
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(jobs) == 4
    assert len(set(jobs)) == 1
    again = clients[0].ask("submit", key="k", prompt="cat", **TINY)
    assert again["existing"]
    assert refusal(lambda: clients[0].submit("k", "dog", **TINY)).code == "invalid"
    assert len(list(clients[0].jobs())) == 1


def test_resumed_watches(serve: Serve, connect: Connect) -> None:
    server = serve()
    client = connect(server)
    job = client.submit("k", "cat", **TINY)["job"]
    events = [event for event, _ in client.watch(job)]
    middle = events[len(events) // 2]["number"]
    rest = [event["number"] for event, _ in client.watch(job, after=middle)]
    assert rest == [event["number"] for event in events if event["number"] > middle]
    assert kinds(client, job, after=events[-1]["number"]) == []
    serving = server.server
    assert serving is not None
    serving.service.jobs.logs.drop(job)  # as if it had ended long ago
    told = [event for event, _ in client.watch(job)]
    assert [event["kind"] for event in told] == ["image"] * 3 + ["done"]
    assert told[-1]["number"] == events[-1]["number"]
    serving.service.jobs.drop(job)
    assert [event["kind"] for event, _ in client.watch(job)] == ["image"] * 3 + ["done"]


def test_after_a_restart(serve: Serve, connect: Connect) -> None:
    """Jobs that had not ended are finished, under rising numbers, and each is charged once."""
    server = serve(paused=True)
    client = connect(server)
    jobs = [client.submit(f"k{i}", "cat", seed=i, **TINY, lane=lane)["job"] for i, lane in enumerate(("fast", "relax"))]
    told = client.send({"type": "watch", "job": jobs[0]})
    first = client.answer(told)[0]["number"]
    server.stop()
    again = serve()
    client = connect(again)
    for job in jobs:
        events = [event for event, _ in client.watch(job, after=first)]
        assert events[0]["number"] > first
        assert [event["kind"] for event in events if event["kind"] in FINALS] == ["done"]
    assert client.ask("submit", key="k0", prompt="cat", seed=0, **TINY)["existing"]
    entries = list(again.context.store.all_entries())
    assert sorted(entry.job for entry in entries if entry.kind == "done") == sorted(jobs)
    assert Ledger.replay(entries).open_jobs() == ()


def test_on_postgresql(serve: Serve, connect: Connect, postgres_place: Place) -> None:
    server = serve(database=postgres_place.url)
    client = connect(server)
    done, waiting = (client.submit(f"k{i}", "cat", seed=i, **TINY)["job"] for i in range(2))
    kinds(client, done)
    client.ask("ops.pause")
    waiting = client.submit("k2", "cat", seed=2, **TINY)["job"]
    server.stop()
    client = connect(serve(database=postgres_place.url))
    assert kinds(client, waiting)[-1] == "done"
    assert client.show(done)["state"] == "done"
    assert len(client.fetch(waiting)) > 100
    client.delete(done)
    assert len(list(client.jobs())) == 2


def test_one_server_for_a_folder(serve: Serve) -> None:
    serve()
    with pytest.raises(StoreInUse):
        serve()


def test_cancel_is_exact_and_on_disk(serve: Serve, connect: Connect) -> None:
    server = serve(paused=True)
    client = connect(server)
    jobs = [client.submit(f"k{i}", "cat", seed=i, **TINY)["job"] for i in range(3)]
    assert client.cancel(jobs[1])
    row = server.context.store.job(jobs[1])
    assert row is not None
    assert row.state == "cancelled"
    assert not client.cancel(jobs[1])
    client.ask("ops.resume")
    assert [[kind for kind in kinds(client, job) if kind in FINALS] for job in jobs] == [
        ["done"],
        ["cancelled"],
        ["done"],
    ]
    assert refusal(lambda: client.cancel("nothing")).code == "not_found"


def test_delete_removes_the_pixels(serve: Serve, connect: Connect, tmp_path: Any) -> None:
    server = serve()
    client = connect(server)
    one, two = (client.submit(f"k{i}", "cat", seed=1, **TINY)["job"] for i in range(2))  # the very same pictures
    other = client.submit("k2", "dog", seed=1, **TINY)["job"]
    for job in (one, two, other):
        kinds(client, job)
    assert len({picture["digest"] for job in (one, two) for picture in client.show(job)["pictures"]}) == 3
    client.delete(one)
    assert refusal(lambda: client.show(one)).code == "not_found"
    assert refusal(lambda: client.fetch(one)).code == "not_found"
    assert len(client.fetch(two)) > 100  # it needs the same file
    client.delete(two)
    left = {file.name for file in (tmp_path / "data" / "pictures").rglob("*") if file.is_file()}
    assert len(left) == 3
    assert len(client.fetch(other, 1)) > 100
    client.ask("ops.pause")
    waiting = client.submit("k3", "cat", **TINY)["job"]
    assert refusal(lambda: client.delete(waiting)).code == "invalid"


def test_who_sees_what(serve: Serve, connect: Connect) -> None:
    """Ann's private job does not exist for Ben, nor what belongs to it; her public one is only hers to end."""
    boss, ann, ben, stranger = (make_pair() for _ in range(4))
    server = serve(curve=True, operators=(boss.public,))

    def as_(pair: Any, **options: Any) -> PlainClient:
        return connect(server, public=pair.public, secret=pair.secret, **options)

    operator = as_(boss)
    for pair, name in ((ann, "ann"), (ben, "ben")):
        made = operator.ask("ops.set_account", account=pair.public, name=name, plan="pro")
        assert (made["name"], made["plan"], made.get("role", "user")) == (name, "pro", "user")
    a, b = as_(ann), as_(ben)
    secret = a.submit("s", "a secret cat", private=True, **TINY)["job"]
    public = a.submit("p", "a cat", **TINY)["job"]
    kinds(a, secret), kinds(a, public)
    asked: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in ("show", "watch", "fetch", "cancel", "delete")]
    asked += [("watch", {"previews": True}), ("fetch", {"index": 0})]
    for type_, fields in asked:
        texts = []
        for job in (secret, "f" * 24):
            error = refusal(lambda t=type_, j=job, f=fields: b.ask(t, job=j, **f))
            texts.append((error.code, error.kind, str(error).replace(job, "JOB")))
        assert texts[0] == texts[1], type_
        assert texts[0][0] == "not_found"
    assert b.show(public)["prompt"] == "a cat"
    assert len(b.fetch(public)) > 100
    for type_ in ("cancel", "delete"):
        assert refusal(lambda t=type_: b.ask(t, job=public)).code == "not_found"
    assert list(b.jobs()) == []
    for type_, fields in (
        ("list", {"account": ann.public}), ("info", {"account": ann.public}), ("ops.ledger", {}), ("ops.status", {}),
        ("ops.grant", {"account": ben.public, "amount_ms": 1, "key": "g"}),
        ("ops.set_account", {"account": ben.public, "role": "operator"}),
    ):  # fmt: skip
        error = refusal(lambda t=type_, f=fields: b.ask(t, **f))
        assert (error.code, error.kind) == ("forbidden", "OperatorsOnly")
        # faults.md 17: another account in a list or `info` was "list:", which nobody had typed
        account = type_ in ("list", "info")
        whom = "account: for operators only; leave it out, or ask one"
        assert str(error) == (whom if account else f"{type_}: for operators only; ask one")
    seen = operator.show(secret)
    assert (seen["state"], seen.get("prompt", ""), seen.get("pictures", [])) == ("done", "", [])
    listed = {job["job"]: job.get("prompt", "") for job in operator.jobs(account="*")}
    assert (listed[secret], listed[public]) == ("", "a cat")
    assert refusal(lambda: operator.fetch(secret)).code == "not_found"

    operator.ask("ops.set_account", account=ben.public, blocked=True)
    b.timeout_s = 1
    with pytest.raises((Refused, Silent)):
        b.ping()
    for pair in (ben, stranger):
        with pytest.raises(Silent):
            as_(pair, timeout_s=0.5)


def test_gpu_time_is_charged_and_granted_once(serve: Serve, connect: Connect) -> None:
    boss, ann = make_pair(), make_pair()
    server = serve(curve=True, operators=(boss.public,))
    operator = connect(server, public=boss.public, secret=boss.secret)
    operator.ask("ops.set_account", account=ann.public, plan="basic")
    client = connect(server, public=ann.public, secret=ann.secret)
    before = client.info()
    job = client.submit("k", "cat", **(TINY | {"images": 4}))["job"]
    kinds(client, job)
    price = client.show(job)["charged_ms"]
    assert price == 40_000  # of a minute, 2 steps of 3
    info = client.info()
    assert sum(info["fast_ms"].values()) == sum(before["fast_ms"].values()) - price
    assert (info["lifetime_jobs"], info["stored_bytes"] > 0) == (1, True)
    for _ in range(2):
        granted = operator.ask("ops.grant", account=ann.public, amount_ms=5 * MINUTE, key="gift")
    assert granted["fast_ms"]["bought"] == 5 * MINUTE
    page = operator.ask("ops.ledger", account=ann.public, limit=3)
    assert page["more"]
    page = operator.ask("ops.ledger", account=ann.public, after=page["entries"][-1]["seq"], limit=100)
    assert [entry["kind"] for entry in page["entries"]][-1] == "grant"
    assert page["balance_ms"] == sum(granted["fast_ms"].values())
    error = refusal(lambda: client.submit("r", "cat", lane="relax", **TINY))
    assert (error.code, error.kind) == ("refused", "Refused")
    assert refusal(lambda: client.submit("p", "cat", private=True, **TINY)).code == "refused"
    assert len(list(client.jobs())) == 1
    server.stop()
    again = serve(curve=True, operators=(boss.public,))
    client = connect(again, public=ann.public, secret=ann.secret)
    assert sum(client.info()["fast_ms"].values()) == sum(granted["fast_ms"].values())
    boss_again = connect(again, public=boss.public, secret=boss.secret)
    assert (
        boss_again.ask("ops.grant", account=ann.public, amount_ms=5 * MINUTE, key="gift")["fast_ms"]
        == granted["fast_ms"]
    )


def test_operators(serve: Serve, connect: Connect) -> None:
    server = serve()
    client = connect(server)
    assert client.ask("ops.pause").get("changed", True)
    assert client.ask("ops.status")["state"] == "paused"
    job = client.submit("k", "cat", **TINY)["job"]
    status = client.ask("ops.status")
    assert (status["queued"], status.get("running", {}), status["accepted"]) == ({"fast": 1}, {}, 1)
    client.ask("ops.resume")
    kinds(client, job)
    assert client.ask("ops.status")["ended"] == {"done": 1}
    (worker,) = client.ask("ops.workers")["workers"]
    assert (worker["state"], worker["steps"]) == ("idle", 2)
    client.ask("ops.drain")
    assert client.ask("ops.status")["state"] == "draining"
    assert refusal(lambda: client.submit("k2", "cat", **TINY)).code == "draining"
    assert client.ask("submit", key="k", prompt="cat", **TINY)["existing"]
    client.ask("ops.resume")
    client.submit("k3", "cat", **TINY)
    client.ask("ops.drain", stop=True)
    assert server.server is not None
    assert server.ended(120)


def test_a_failed_job_is_tried_again(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve()
    client = connect(server)
    port = next(iter(server.context.studio.loop._core.pool.slots.values())).client
    engine = port._worker.engine  # type: ignore[attr-defined]
    decode = engine.decode

    def broken(*arguments: Any) -> Any:
        raise RuntimeError("the device is on fire")

    monkeypatch.setattr(engine, "decode", broken)
    job = client.submit("k", "cat", **TINY)["job"]
    assert kinds(client, job)[-1] == "failed"
    shown = client.show(job)
    assert (shown["state"], shown["failure"], shown.get("charged_ms", 0)) == ("failed", "RuntimeError", 0)
    assert "fire" in shown["reason"]
    last = shown["last_event"]
    monkeypatch.setattr(engine, "decode", decode)
    assert client.ask("ops.retry", job=job)["job"] == job
    assert kinds(client, job, after=last)[-1] == "done"
    assert refusal(lambda: client.ask("ops.retry", job=job)).code == "invalid"


def test_refused_before_there_is_a_job(serve: Serve, connect: Connect) -> None:
    client = connect(serve(quota_bytes=100))
    wrong: list[dict[str, Any]] = [
        {"prompt": " "},
        {"prompt": "x" * 7000},
        {"width": 15},
        {"steps": 0},
        {"lane": "slow"},
        {"solver": "magic"},
        {"aspect": [1, 100]},
        {"guidance_scale": float("nan")},
        {"guidance_scale": 1.0, "negative_prompt": "red"},  # faults.md 15: it was ignored without a word
        {"images": 9},
    ]
    for fields, code in [*((fields, "invalid") for fields in wrong), ({"width": 4096, "height": 4096}, "too_large")]:
        error = refusal(lambda f=fields: client.ask("submit", **({"key": "k", "prompt": "cat"} | TINY | f)))
        assert error.code == code, (fields, str(error))
    assert list(client.jobs()) == []
    kinds(client, client.submit("k", "cat", **TINY)["job"])
    error = refusal(lambda: client.submit("k2", "cat", **TINY))
    assert (error.code, error.kind) == ("refused", "QuotaExceeded")
    assert client.ask("ops.set_account", account="local", quota_bytes=10**6)["quota_bytes"] == 10**6
    client.submit("k2", "cat", **TINY)


def test_pages(serve: Serve, connect: Connect) -> None:
    server = serve(paused=True)
    client = connect(server)
    jobs = [client.submit(f"k{i}", "cat" * 600, seed=i, **TINY)["job"] for i in range(5)]
    assert [job["job"] for job in client.jobs(limit=2)] == jobs[::-1]
    assert [job["state"] for job in client.jobs(states=["queued"])] == ["queued"] * 5
    assert list(client.jobs(states=["done"])) == []
    assert list(client.jobs(states=["running"])) == []
    client.cancel(jobs[3])
    assert [job["job"] for job in client.jobs(states=["cancelled", "queued"], limit=2)] == jobs[::-1]
    assert [job["job"] for job in client.jobs(states=["cancelled"])] == [jobs[3]]


def test_old_jobs_go(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discard, "__defaults__", (600.0,))  # all of this may take longer than files count as new
    server = serve()
    client = connect(server)
    job = client.submit("k", "cat", **TINY)["job"]
    kinds(client, job)
    time.sleep(0.6)
    server.context.options = replace(server.context.options, keep_days=0.5 / 86_400)
    loop, serving = server._loop, server.server
    assert loop is not None
    assert serving is not None
    serving._next_clean_up = 0
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            client.show(job)
        except Refused:
            break
        time.sleep(0.05)
    assert refusal(lambda: client.show(job)).code == "not_found"
    assert server.context.store.usage("local") == 0
    assert (
        collect(server.context.store, server.context.blobs, 0).blobs == 3
    )  # a file so new may be meant for another job


@pytest.mark.parametrize("listen", ["tcp://0.0.0.0:5599", "tcp://192.0.2.1:5599"])
def test_strangers_need_keys(tmp_path: Any, listen: str) -> None:
    with pytest.raises(ServeError, match="encryption"):
        server_key(ServeOptions(listen=(listen,), data=tmp_path, curve=False))
    key = server_key(ServeOptions(listen=(listen,), data=tmp_path))
    assert key is not None
    assert server_key(ServeOptions(listen=(listen,), data=tmp_path)) == key
    assert server_key(ServeOptions(listen=("tcp://127.0.0.1:1",), data=tmp_path)) is None


def test_an_address_in_use(serve: Serve) -> None:
    server = serve()
    with pytest.raises(ServeError, match="--listen"):
        serve("other", listen=(server.address,))


def test_grid_is_what_people_see(serve: Serve, connect: Connect, tmp_path: Any) -> None:
    client = connect(serve())
    job = client.submit("k", "cat", **(TINY | {"images": 4}))["job"]
    kinds(client, job)
    (tmp_path / "grid.png").write_bytes(client.fetch(job))
    with Image.open(tmp_path / "grid.png") as image:
        assert image.size == (32, 32)
