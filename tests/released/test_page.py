"""What `docs/wire.md` of commit 5dbd8b1 says is still so: its client works with the server of today, its records are
those of today, and its example is understood.

Long because it is one page: it is gone through from its beginning to its end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import pytest

from salon.frontends.client.fake import FakeServer
from salon.frontends.wire import messages as m
from salon.frontends.wire.frames import read_reply, read_request

from ..frontends.wire.test_document import KINDS, default_of, describe, sections, table
from .make import PAGE
from .page_client import CODES, FINAL, PageClient, Refused

Connect = Callable[..., PageClient]
ALL_FIELDS: dict[str, Any] = {
    "prompt": "a red apple",
    "lane": "relax",
    "negative_prompt": "a worm",
    "width": 16,
    "height": 24,
    "steps": 3,
    "seed": 2**64 - 1,
    "images": 2,
    "guidance_scale": 2.5,
    "solver": "heun",
    "shift": 1.5,
    "private": True,
    "preview_every": 1,
}


@pytest.fixture
def connect() -> Iterator[Connect]:
    clients: list[PageClient] = []

    def begin(server: FakeServer, **hello: Any) -> PageClient:
        clients.append(PageClient(server.address, **hello))
        return clients[-1]

    yield begin
    for client in clients:
        client.close()


@pytest.fixture
def client(server: FakeServer, connect: Connect) -> PageClient:
    return connect(server)


@pytest.fixture(scope="module")
def page(released: Path) -> str:
    return (released / PAGE).read_text()


def refusal(client: PageClient, type: str, **fields: Any) -> tuple[str, str]:
    """Code and kind of a failure."""
    with pytest.raises(Refused) as info:
        client.ask(type, **fields)
    return info.value.code, info.value.kind


# ---- hello, versions, heartbeats ---------------------------------------------------------------------------------


def test_hello(server: FakeServer, connect: Connect) -> None:
    assert connect(server).welcome["version"] == 1
    welcome = connect(server, features=["previews", "teleport"], client="page", colour="red", version=7).welcome
    assert (welcome["version"], welcome["features"], welcome["account"]) == (1, ["previews"], "local")
    assert (welcome["role"], welcome["model"]) == ("operator", "fake")
    assert refusal(connect(server), "hello", version=7, oldest=7) == ("unsupported", "UnsupportedVersion")


def test_who_is_not_known_says_hello_again(server: FakeServer, client: PageClient) -> None:
    server.forget()
    assert client.ask("ping")["type"] == "pong"
    assert client.ask("info")["account"] == "local"


def test_a_watch_and_a_key_go_on_after_a_restart(connect: Connect) -> None:
    limits = m.Limits(heartbeat_ms=200)
    first = FakeServer(hold=True, limits=limits)
    with first:
        client = connect(first)
        job = client.ask("submit", key="k", prompt="a red apple", images=1)["job"]["job"]
        events = client.watch(job)
        seen = [next(events)[0]]
    with FakeServer(first.address, house=first.house, limits=limits):
        seen += [event for event, _ in events]
        numbers = [event["number"] for event in seen]
        assert numbers == sorted(set(numbers))
        assert [event["kind"] for event in seen if event["kind"] not in ("step", "queued")] == [
            *("started", "image", "image"),
            "done",
        ]
        again = client.ask("submit", key="k", prompt="a red apple", images=1)
        assert (again["existing"], again["job"]["job"], again["job"]["state"]) == (True, job, "done")


def test_heartbeats_keep_the_connection(connect: Connect) -> None:
    with FakeServer(hold=True, limits=m.Limits(heartbeat_ms=100)) as server:
        client = connect(server)
        assert client.limits["heartbeat_ms"] == 100
        job = client.ask("submit", key="k", prompt="a red apple")["job"]["job"]
        id = client.begin("watch", job=job)
        assert client.next(id)[0]["kind"] == "queued"
        with pytest.raises(TimeoutError):
            client.next(id, timeout_s=0.6)
        assert {notice["type"] for notice in client.notices} == {"pong"}
        server.release()
        while (answer := client.next(id)[0])["type"] == "event":
            assert answer["kind"] != "failed"
        assert len([request for request in server.requests if isinstance(request, m.Hello)]) == 1


def test_closing_is_a_notice(server: FakeServer, client: PageClient) -> None:
    server.say_closing("maintenance", 100)
    assert client.ask("ping")["type"] == "pong"
    (notice,) = client.notices
    assert (notice["type"], notice["reason"], notice["retry_after_ms"]) == ("closing", "maintenance", 100)


# ---- jobs --------------------------------------------------------------------------------------------------------


def test_a_job_with_every_field(server: FakeServer, client: PageClient) -> None:
    server.step_s = 0.02
    assert client.ask("ops.pause").get("changed", True)
    accepted = client.ask("submit", key="k", **ALL_FIELDS)
    assert not accepted.get("existing", False)
    job = accepted["job"]["job"]
    seen = []
    for event, payload in client.watch(job, previews=True):
        seen.append(event)
        if event["kind"] == "queued":
            client.ask("ops.resume")
        assert (payload[:3] == b"\xff\xd8\xff") == (event["kind"] == "preview")
    kinds = [event["kind"] for event in seen]
    assert [kind for kind in kinds if kind not in ("step", "preview")] == ["queued", "started", *["image"] * 3, "done"]
    assert "preview" in kinds
    assert [event["number"] for event, _ in client.watch(job, after=seen[-2]["number"])] == [seen[-1]["number"]]

    shown = client.ask("show", job=job)
    asked = {name: value for name, value in ALL_FIELDS.items() if name not in ("shift", "preview_every")}
    assert {name: shown[name] for name in asked} == asked
    assert (shown["state"], shown["step"], shown["asked_lane"], shown["account"]) == ("done", 3, "relax", "local")
    assert shown["last_event"] == seen[-1]["number"]
    pictures = {picture["index"]: picture for picture in shown["pictures"]}
    assert [event["picture"] for event in seen if event["kind"] == "image"] == [pictures[i] for i in (0, 1, -1)]
    for index, file in ((-1, server.pictures[0]), (0, server.pictures[0]), (1, server.pictures[1])):
        assert client.fetch(job, index) == file
        assert pictures[index]["size"] == len(file)

    again = client.ask("submit", key="k", **ALL_FIELDS)
    assert (again["existing"], again["job"]) == (True, shown)
    assert refusal(client, "submit", key="k", **ALL_FIELDS | {"prompt": "a dog"}) == ("invalid", "KeyReused")


def test_the_least_that_can_be_said(client: PageClient) -> None:
    job = client.ask("submit", key="k", prompt="a red apple")["job"]["job"]
    assert [event["kind"] for event, _ in client.watch(job)][-1] == "done"
    shown = client.ask("show", job=job)
    assert (shown["images"], shown.get("lane", "fast"), len(shown["pictures"])) == (4, "fast", 5)
    wide = client.ask("submit", key="wide", prompt="a sea", aspect=[2, 1.0])["job"]["job"]
    assert [event["kind"] for event, _ in client.watch(wide)][-1] == "done"


def test_lists_and_ends(server: FakeServer, client: PageClient) -> None:
    server.hold = True
    jobs = [client.ask("submit", key=f"k{i}", prompt=f"number {i}")["job"]["job"] for i in range(5)]
    found: list[str] = []
    page: dict[str, Any] = {"next": 0}
    while not found or page.get("next", 0):
        page = client.ask("list", limit=2, before=page["next"], states=["queued", "running"])
        found += [job["job"] for job in page["jobs"]]
        assert len(page["jobs"]) <= 2
    assert found == jobs[::-1]
    assert [job["job"] for job in client.ask("list", account="*")["jobs"]] == found
    assert client.ask("list", states=["done"])["jobs"] == []

    assert refusal(client, "delete", job=jobs[0])[0] == "invalid"
    watch = client.begin("watch", job=jobs[0])
    assert client.next(watch)[0]["kind"] == "queued"
    assert client.ask("cancel", job=jobs[0]).get("changed", True)
    assert not client.ask("cancel", job=jobs[0]).get("changed", True)
    assert client.next(watch)[0]["kind"] == "cancelled"
    assert client.next(watch)[0]["type"] == "watched"
    assert client.ask("delete", job=jobs[0])["type"] == "done"
    assert client.ask("delete", job=jobs[0])["type"] == "done"  # it may be repeated
    assert refusal(client, "show", job=jobs[0]) == ("not_found", "UnknownJob")
    assert refusal(client, "watch", job=jobs[0]) == refusal(client, "watch", job="nope") == ("not_found", "UnknownJob")

    watch = client.begin("watch", job=jobs[1])
    assert client.next(watch)[0]["kind"] == "queued"
    assert client.ask("unwatch", watch=watch)["type"] == "done"
    assert client.next(watch)[0]["type"] == "watched"


@pytest.mark.parametrize(("name", "option"), [("failed", "fail"), ("blocked", "block")])
def test_other_ends(connect: Connect, name: str, option: str) -> None:
    with FakeServer(**{option: "not that"}) as server:  # type: ignore[arg-type]
        client = connect(server)
        job = client.ask("submit", key="k", prompt="a red apple")["job"]["job"]
        last = [event for event, _ in client.watch(job)][-1]
        assert last["kind"] == name in FINAL
        assert "not that" in last["reason"]
        assert refusal(client, "fetch", job=job)[0] == "not_found"
        if name == "failed":
            assert client.ask("ops.retry", job=job)["job"] == job


# ---- fetching ----------------------------------------------------------------------------------------------------


def test_as_many_chunks_as_there_is_credit_for(connect: Connect) -> None:
    with FakeServer(limits=m.Limits(chunk=20)) as server:
        client = connect(server)
        job = client.ask("submit", key="k", prompt="a red apple", images=1)["job"]["job"]
        assert list(client.watch(job))
        id = client.begin("fetch", job=job, index=0, credit=2)
        data = client.next(id)[1] + client.next(id)[1]
        with pytest.raises(TimeoutError):
            client.next(id, timeout_s=0.3)
        client.send(b"", {"type": "credit", "fetch": id, "chunks": 1})
        chunk, payload = client.next(id)
        assert data + payload == server.pictures[0][:60]
        assert (chunk["offset"], chunk["total"]) == (40, len(server.pictures[0]))
        assert client.fetch(job, 0) == server.pictures[0]
        for offset in (len(data) + 1000, 2**40):
            assert refusal(client, "fetch", job=job, offset=offset)[0] == "invalid"
        assert refusal(client, "fetch", job=job, index=7)[0] == "not_found"
        server.cut(30)
        assert client.fetch(job, 0) == server.pictures[0]  # it goes on at the first byte that is missing
        server.drop()
        assert client.fetch(job) == server.pictures[0]


# ---- what is refused, and what is not known ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"images": 65_537}, "invalid"),
        ({"width": 0, "height": 8}, "invalid"),
        ({"steps": 1001}, "invalid"),
        ({"steps": 2.5}, "invalid"),
        ({"seed": -1}, "invalid"),
        ({"guidance_scale": 101}, "invalid"),
        ({"solver": "magic"}, "invalid"),
        ({"shift": 0}, "invalid"),
        ({"aspect": [1]}, "invalid"),
        ({"lane": "slow"}, "invalid"),
        ({"prompt": "a\0b"}, "invalid"),
        ({"prompt": None}, "invalid"),
        ({"preview_every": 1001}, "invalid"),
        ({"key": "no spaces"}, "invalid"),
        ({"width": 4096, "height": 4096}, "too_large"),
        ({"prompt": "x" * 65536}, "too_large"),
    ],
)
def test_refusals(server: FakeServer, client: PageClient, fields: dict[str, Any], code: str) -> None:
    assert refusal(client, "submit", **{"key": "k", "prompt": "a red apple"} | fields)[0] == code
    assert server.jobs == {}
    assert client.ask("submit", key="k", prompt="a red apple")["job"]["job"]  # its key was left unused


def test_other_codes(connect: Connect) -> None:
    with FakeServer(hold=True, limits=m.Limits(max_watches=1, max_fetches=1)) as server:
        client = connect(server)
        job = client.ask("submit", key="k", prompt="a red apple")["job"]["job"]
        client.next(client.begin("watch", job=job))
        assert refusal(client, "watch", job=job)[0] == "busy"
        assert refusal(client, "teleport") == ("unsupported", "UnknownMessage")
        assert client.ask("show", job=job, colour="red")["job"] == job  # unknown fields are skipped
        client.ask("ops.drain")
        assert refusal(client, "submit", key="k2", prompt="a dog")[0] == "draining"
        assert client.ask("submit", key="k", prompt="a red apple")["existing"]
        client.ask("ops.resume")
        for code in CODES:
            if code not in ("hello", "too_fast", "busy"):
                server.refuse(code, kind="info")
                assert refusal(client, "info") == (code, "OnDemand")
    with FakeServer(role="user") as server:
        client = connect(server)
        assert refusal(client, "ops.status")[0] == "forbidden"
        assert refusal(client, "list", account="*")[0] == refusal(client, "info", account="ab" * 32)[0] == "forbidden"


def test_operators(client: PageClient) -> None:
    ada = "0123456789abcdef" * 4
    made = client.ask("ops.set_account", account=ada, name="Ada", plan="basic", role="user", quota_bytes=1000)
    assert (made["account"], made["name"], made["plan"], made["quota_bytes"]) == (ada, "Ada", "basic", 1000)
    for _ in range(2):
        assert client.ask("ops.grant", account=ada, amount_ms=5000, key="once")["fast_ms"]["bought"] == 5000
    assert client.ask("info", account=ada)["name"] == "Ada"
    page = client.ask("ops.ledger", account=ada, limit=200)
    assert 5000 in [entry["amount_ms"] for entry in page["entries"]]
    assert ada in [account["account"] for account in client.ask("ops.accounts", limit=200)["accounts"]]
    status = client.ask("ops.status")
    assert (status["state"], status["model"], len(status["workers"])) == ("running", "fake", 1)
    assert client.ask("ops.workers")["workers"][0]["name"] == status["workers"][0]["name"]


# ---- the page itself ---------------------------------------------------------------------------------------------


def test_every_record_of_then_is_a_record_of_now(page: str) -> None:
    """Fields and types never change their meaning; what came since has defaults."""
    for name, rows in sections(page).items():
        now = {field.name: field for field in msgspec.structs.fields(KINDS[name])}
        hints = get_type_hints(KINDS[name])
        for field, kind, default in rows:
            assert (describe(hints[field]), default_of(now[field])) == (kind, default), f"{name}.{field}"
        assert not [field for field in now.keys() - {row[0] for row in rows} if now[field].required], name


@pytest.mark.parametrize("heading", ["## Failures", "## Watching", "## Versions and features"])
def test_every_word_of_then_is_a_word_of_now(page: str, heading: str) -> None:
    then = table(heading, page)
    assert then
    assert [word for word in table(heading) if word in then] == then


def test_the_example_is_understood(page: str) -> None:
    shown = re.search(r"## An example\n.*?```text\n(.*?)```", page, re.S)
    assert shown is not None
    spoken = re.split(r"^(client|server)  (\S+)\n", shown[1], flags=re.M)[1:]
    assert len(spoken) == 3 * 16
    for who, kind, body in zip(spoken[::3], spoken[1::3], spoken[2::3], strict=True):
        rows = re.split(r"^  \d  ", body, flags=re.M)[1:]
        frames = [bytes.fromhex("" if "(empty)" in row else "".join(row.split())) for row in rows]
        record = read_request(frames)[1] if who == "client" else read_reply(frames)[1]
        assert record.__struct_config__.tag == kind
