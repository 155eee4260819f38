"""One stream tells a page of all jobs of its account, and goes on where it was."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from salon.bounds import FINAL
from salon.frontends.client.client import Client
from salon.frontends.fake.worker import Behaviour
from salon.frontends.http import news, streams
from salon.frontends.http.following import Ending
from salon.frontends.zmq.background import BackgroundServer

from .conftest import WAIT_S, address, fake_server, made

Told = tuple[str, str, dict[str, Any]]


def submit(page: httpx.Client, key: str, prompt: str = "a red apple", **fields: Any) -> str:
    asked = {"key": key, "prompt": prompt, "language": True, **fields}
    return str(page.post("/api/submit", json=asked).json()["job"]["job"])


@contextmanager
def reading(page: httpx.Client, last: str = "", where: str = "") -> Iterator[Iterator[Told]]:
    """The events of a stream: (kind, id, data); an id alone has the kind ""."""
    with page.stream("GET", where or "/api/events", headers={"last-event-id": last} if last else {}) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")

        def events() -> Iterator[Told]:
            fields: dict[str, str] = {}
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if line:
                    fields[name] = value
                elif "id" in fields:
                    yield fields.get("event", ""), fields["id"], json.loads(fields.get("data", "{}"))
                    fields = {}

        yield events()


def ends_of(told: Iterator[Told], job: str) -> list[Told]:
    """What is told up to the end of a job."""
    seen = []
    for each in told:
        seen.append(each)
        if each[0] == "job" and each[2]["job"] == job and each[2]["state"] in FINAL:
            return seen
    raise AssertionError("the stream has ended")


def test_a_stream_tells_of_jobs_that_come_later_from_anywhere(
    page: httpx.Client, faked: BackgroundServer, behaviour: Behaviour
) -> None:
    behaviour.step_s = 0.25
    begun, seen = time.monotonic(), list[Told]()
    try:
        with reading(page) as told:
            begin = next(told)
            assert (begin[0], begin[2]) == ("", {})
            with Client(faked.address) as other:
                job = other.imagine("a fox --steps 200 --n 2", previews=1).id
            while (kinds := Counter(kind for kind, _, _ in seen))["step"] < 2 or not kinds["preview"]:
                seen.append(next(told))
            behaviour.step_s = 0.0
            seen += ends_of(told, job)
    finally:
        behaviour.step_s = 0.0
    took = time.monotonic() - begun
    mine = [(kind, data) for kind, _, data in seen if data.get("job") == job]
    states = [data["state"] for kind, data in mine if kind == "job"]
    assert states[0] in ("queued", "running")
    assert states[-1] == "done"
    assert len(mine[-1][1]["pictures"]) == 3
    steps = [data for kind, data in mine if kind == "step"]
    assert 2 <= len(steps) <= 2 + took / news.PAUSE_S  # four a second, however long it takes
    assert all(data["steps"] == 200 for data in steps)
    previews = [data["url"] for kind, data in mine if kind == "preview"]
    assert previews
    assert all(url.startswith(f"/api/previews/{job}/") for url in previews)
    numbers = [int(id.partition(".")[2]) for _, id, _ in seen]
    assert numbers == sorted(numbers)


def test_a_stream_begins_with_the_jobs_that_go_on_and_goes_on_where_it_was(
    page: httpx.Client, faked: BackgroundServer
) -> None:
    with Client(faked.address) as other:
        other.ops.pause()
        try:
            first = submit(page, "goes-on-1")
            with reading(page) as told:
                _, id, _ = next(told)
                kind, _, data = next(told)
                assert (kind, data["job"], data["state"]) == ("job", first, "queued")
        finally:
            other.ops.resume()
    missed = made(page, "a missed one")["job"]
    for job in (missed, first):  # they end in any order
        with reading(page, id) as told:
            seen = ends_of(told, job)
        assert "reset" not in [kind for kind, _, _ in seen]
        assert seen[-1][2]["state"] == "done"
    with reading(page, id) as told:
        seen = [next(told), next(told)]
    assert {data["job"] for _, _, data in seen} == {first, missed}  # the latest of each, and nothing else
    with reading(page, seen[-1][1]) as told:
        later = submit(page, "goes-on-2")
        assert {data["job"] for _, _, data in ends_of(told, later)} == {later}


def test_a_first_stream_tells_what_happened_after_the_session_was_asked_for(page: httpx.Client) -> None:
    place = page.get("/api/session").json()["news"]
    job = submit(page, "between")
    with reading(page) as told:
        ends_of(told, job)
    page.post("/api/delete", json={"job": job})
    with reading(page, where=f"/api/events?after={place}") as told:
        seen = [next(told)]
        while seen[-1][0] != "gone":
            seen.append(next(told))
    assert {data["job"] for _, _, data in seen} == {job}
    with reading(page, last=seen[-1][1], where=f"/api/events?after={place}") as told:  # it resumes: the header is newer
        later = submit(page, "later")
        assert {data["job"] for _, _, data in ends_of(told, later)} == {later}


def test_a_job_that_is_deleted_on_another_page(page: httpx.Client) -> None:
    with reading(page) as told:
        _, id, _ = next(told)
        job = made(page, "two tabs")["job"]
        page.post("/api/delete", json={"job": job})
        assert page.post("/api/delete", json={"job": job}).json()["changed"] is False
        assert next(data["job"] for kind, _, data in told if kind == "gone") == job
        many = [made(page, "one of many")["job"] for _ in range(2)]
        page.post("/api/organize.change", json={"act": "delete", "jobs": many})
        assert {next(data["job"] for kind, _, data in told if kind == "gone") for _ in many} == {*many}
    with reading(page, id) as told:  # who was away is told that it is gone, and no more
        assert next(told)[::2] == ("gone", {"job": job})


@pytest.mark.parametrize("last", ["999.1", "nonsense", "1.-1", "1.99999999999999999999999", "1.999999"])
def test_an_unknown_place_is_a_reset(page: httpx.Client, last: str) -> None:
    with reading(page, last) as told:
        assert next(told)[0] == "reset"
        _, id, _ = next(told)
    with reading(page, id) as told:
        job = submit(page, f"reset-{last}"[:60].replace(" ", "-"))
        assert ends_of(told, job)


def test_who_has_missed_too_much_begins_anew(page: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with reading(page) as told:
        _, id, _ = next(told)
    monkeypatch.setattr(news, "MANY", 3)
    for number in range(5):
        made(page, f"number {number}")
    with reading(page, id) as told:
        assert next(told)[0] == "reset"


def test_10_000_events_behind(faked: BackgroundServer) -> None:
    """A reader that does not read holds nothing up and has little kept for it; it is told to begin anew, and one that
    has missed less gets just that."""

    async def read() -> tuple[list[bytes], list[bytes], int]:
        assert faked.server is not None
        journals = news.Journals(faked.server.service.jobs)
        opened = streams.Streams(journals, Ending(), 1, 5)

        async def still() -> bool:
            return True

        try:
            journal, slow = journals.of("local"), opened.open("local", None, still)
            begun = [await anext(slow) for _ in range(2)]
            for number in range(10_000):
                journal.gone(f"job-{number}")
            told = [await anext(slow) for _ in range(2)]
            assert told[0].startswith(b"id: 1.10000\nevent: reset"), told
            away = opened.open("local", f"1.{journal.number - 500}", still)
            missed = [await anext(away) for _ in range(501)]
            return begun + told, missed[1:], len(journal._kept)
        finally:
            journals.close()

    assert faked._loop is not None
    told, missed, kept = asyncio.run_coroutine_threadsafe(read(), faked._loop).result(WAIT_S)
    assert kept == news.MANY
    assert told[1] == b"id: 1.0\n\n"
    assert [line.split(b'"')[3] for line in missed] == [b"job-%d" % number for number in range(9_500, 10_000)]


def test_streams_are_bounded(page: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "ALL", 1)
    with reading(page) as told:
        next(told)
        refused = page.get("/api/events")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
        assert refused.json()["error"]["code"] == "busy"
    assert page.head("/api/events").status_code == 200


def test_a_restart_resets_and_the_jobs_go_on(faked: BackgroundServer, tmp_path: Any) -> None:
    """A reader of a server that ends comes back to the next one, which has the jobs, and numbers of its own."""
    options = replace(faked.options, data=tmp_path / "data", paused=True, grace_s=0.0)
    headers = {"x-salon-csrf": "1"}
    with (
        fake_server(options, Behaviour()) as server,
        httpx.Client(base_url=address(server), headers=headers, timeout=WAIT_S) as page,
    ):
        job = submit(page, "restart")
        with reading(page) as told:
            _, id, _ = next(told)
            assert next(told)[2]["job"] == job
            server.stop()
            assert list(told) == []  # it ends, and does not hold the server up
    options = replace(options, paused=False)
    with (
        fake_server(options, Behaviour()) as server,
        httpx.Client(base_url=address(server), headers=headers, timeout=WAIT_S) as page,
    ):
        with reading(page, id) as told:
            assert next(told)[0] == "reset"
        assert page.post("/api/show", json={"job": job}).json()["state"] in ("queued", "running", "done")


def test_200_streams_at_once(page: httpx.Client, faked: BackgroundServer) -> None:
    """Each is told of the end of a job; nobody waits for the others."""
    host, _, port = address(faked).removeprefix("http://").rpartition(":")

    async def listen() -> int:
        opened = [await asyncio.open_connection(host, int(port)) for _ in range(200)]
        try:
            for _, writer in opened:
                writer.write(f"GET /api/events HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
            for reader, _ in opened:
                assert (await asyncio.wait_for(reader.readuntil(b"\r\n"), WAIT_S)).startswith(b"HTTP/1.1 200")
                await asyncio.wait_for(reader.readuntil(b"id: "), WAIT_S)
            job = (await asyncio.to_thread(made, page, "for all"))["job"]
            for reader, _ in opened:
                await asyncio.wait_for(reader.readuntil(f'"job":"{job}"'.encode()), WAIT_S)
                await asyncio.wait_for(reader.readuntil(b'"state":"done"'), WAIT_S)
            return len(opened)
        finally:
            for _, writer in opened:
                writer.close()

    assert asyncio.run(listen()) == 200


def test_who_may_not_read_any_more_is_told_no_more(faked: BackgroundServer) -> None:
    async def read() -> list[bytes]:
        assert faked.server is not None
        journals = news.Journals(faked.server.service.jobs)
        asked = iter([True, False])

        async def still() -> bool:
            return next(asked)

        try:
            opened = streams.Streams(journals, Ending(), 1, 5, 0.02).open("local", None, still)
            lines = [line async for line in opened]
            assert not list(asked), "it was asked until it said no"
            return lines
        finally:
            journals.close()

    assert faked._loop is not None
    lines = asyncio.run_coroutine_threadsafe(read(), faked._loop).result(WAIT_S)
    assert lines.count(b": keep-alive\n\n") <= 3  # fewer, where the machine is slower than they are
