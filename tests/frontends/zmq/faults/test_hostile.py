"""Clients that flood, send noise, never read, or come and go: others are served, and the server does not grow."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import zmq

from salon.bench.faulty.hostile import Fuzz, GoodClient, Peer
from salon.bench.faulty.messages import Maker
from salon.bench.faulty.process import ServerProcess
from salon.bench.measure import quantile
from salon.frontends.wire import messages as m
from salon.frontends.wire.codec import encode

from ..conftest import until
from .conftest import Processes, Reach

MIB = 1 << 20
PATIENCE_S = 300.0  # for what takes seconds, on a machine that has other things to do
WAIT_MS = 20_000  # a good client's longest wait, with the slowest machines that run these tests in mind
SLOW = "does not read"  # what the log says of who is dropped
NOISY: dict[str, Any] = {"width": 128, "height": 128, "steps": 1, "images": 8, "seed": 0}


def ready(server: ServerProcess, count: int = 3, **fields: Any) -> list[str]:
    """Finished jobs."""
    with Peer(server.address) as peer:
        peer.hello()
        jobs = []
        for i in range(count):
            request = m.Submit(key=f"own-{i}", prompt="cat", **({"width": 16, "height": 16, "steps": 2} | fields))
            jobs.append(peer.ask(request, b"s%d" % i).job.job)
        for job in jobs:
            peer.put([job.encode()[:8], encode(m.Watch(job=job))])
            while not isinstance(peer.answer(job.encode()[:8]), m.Watched):
                pass
    return jobs


def check_served(good: GoodClient) -> None:
    assert good.failed == []
    assert len(good.waits_ms) >= 3
    assert max(good.waits_ms) < WAIT_MS


@contextmanager
def many(work: Any, count: int) -> Iterator[None]:
    """The same work in several threads, until its argument, an event, is set."""
    stop = threading.Event()
    threads = [threading.Thread(target=work, args=(stop, i), daemon=True) for i in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE_S)


@pytest.mark.alone
def test_random_messages(process: Processes) -> None:
    """Every whole one is answered exactly once, whatever it says; of the rest, nothing comes to harm."""
    server = process()
    jobs = ready(server)
    before = server.rss()
    fuzz = Fuzz(server.address, jobs[1:], seed=5)
    try:
        with GoodClient(server.address, jobs[0]) as good:
            fuzz.run(3_000)
            fuzz.settle(120)
    finally:
        fuzz.close()
    assert fuzz.sent >= 3_000
    assert (fuzz.open, fuzz.twice, fuzz.strange) == ({}, 0, [])
    assert fuzz.answers.total() > 1_500
    assert {"failure invalid", "failure not_found", "failure unsupported", "account", "jobs"} <= fuzz.answers.keys()
    check_served(good)
    assert server.rss() < before + 64 * MIB
    assert "Traceback" not in server.log.read_text()
    assert server.stop() == 0


def test_makers_leave_no_kind_out() -> None:
    maker = Maker(random.Random(1))
    assert {type(maker.record()) for _ in range(2000)} >= {m.Submit, m.Watch, m.Fetch, m.OpsGrant, m.ListJobs, m.Cancel}
    assert not any(isinstance(maker.record(), m.OpsDrain | m.OpsPause | m.Bye) for _ in range(2000))
    assert {len(maker.noise()) for _ in range(300)} == {1, 2, 3, 11}


@pytest.mark.alone
@pytest.mark.parametrize("what", ["pings", "huge", "submits"])
def test_a_flood(process: Processes, what: str) -> None:
    server = process()
    jobs = ready(server, 1)
    huge = encode(m.Show(job="x")) + bytes(200_000)
    sent = [0, 0]

    def flood(stop: threading.Event, number: int) -> None:
        with Peer(server.address) as peer:
            peer.hello()
            while not stop.is_set():
                body = {"pings": encode(m.Ping()), "huge": huge}.get(what) or encode(
                    m.Submit(key=f"{number}-{sent[number]}", prompt="dog", width=16, height=16, steps=1, images=1)
                )
                sent[number] += peer.put([sent[number].to_bytes(8, "big"), body])
                while peer.get(0) is not None:
                    pass

    before = server.rss()
    with many(flood, 2), GoodClient(server.address, jobs[0]) as good:
        time.sleep(1.5)
        assert until(lambda: min(sent) > 20 and len(good.waits_ms) >= 3, PATIENCE_S)
    check_served(good)
    assert server.rss() < before + 200 * MIB
    with Peer(server.address) as peer:
        peer.hello()
        assert peer.ask(m.Show(job=jobs[0])).state == "done"


@pytest.mark.alone
def test_a_connection_that_is_cut_for_its_size(process: Processes) -> None:
    server = process()
    (job,) = ready(server, 1)
    with Peer(server.address) as bad, GoodClient(server.address, job) as good:
        bad.hello()
        for _ in range(20):
            bad.put([b"x", bytes(2 * MIB)])
            time.sleep(0.01)
        end = time.monotonic() + PATIENCE_S
        while not isinstance(answer := bad.ask(m.Ping(), b"p", 500), m.Failure) and time.monotonic() < end:
            pass  # it connects again by itself, as somebody who has not said hello
        assert answer.code == "hello"
        bad.hello()
    check_served(good)


@pytest.mark.alone
def test_a_client_that_never_reads(process: Processes) -> None:
    """It watches with previews, fetches all that it can, asks for lists, and takes nothing of it."""
    server = process()
    jobs = ready(server, 3, **NOISY)
    before = server.rss()
    with Peer(server.address, options={zmq.RCVHWM: 1, zmq.RCVBUF: 4096}) as lazy:
        lazy.hello()
        lazy.put([b"submit", encode(m.Submit(key="long", prompt="cat", preview_every=1, **(NOISY | {"steps": 20})))])
        top = 0
        with GoodClient(server.address, jobs[0]) as good:
            begun = time.monotonic()
            number = 0
            while number <= 1_000 or time.monotonic() < begun + 3.0 or SLOW not in server.log.read_text():
                assert time.monotonic() < begun + PATIENCE_S
                for request in (
                    m.Fetch(job=jobs[number % 3], credit=16), m.Watch(job=jobs[number % 3], previews=True),
                    m.ListJobs(limit=200), m.OpsStatus(), m.Ping(),
                ):  # fmt: skip
                    number += 1
                    lazy.put([number.to_bytes(8, "big"), encode(request)])
                if number % 100 == 0:
                    top = max(top, server.rss())
                time.sleep(0.0005)
    check_served(good)
    assert max(top, server.rss()) < before + 256 * MIB
    assert quantile(good.waits_ms, 0.5) < WAIT_MS / 3
    with Peer(server.address) as peer:  # and it was dropped
        peer.hello()
        assert peer.ask(m.OpsStatus(), b"status").clients <= 3


def test_a_picture_from_where_the_connection_broke(process: Processes, reach: Reach) -> None:
    server = process()
    (job,) = ready(server, 1, **(NOISY | {"width": 256, "height": 256, "images": 4}))
    whole = reach(server.address).fetch(job)
    chunk = m.Limits().chunk
    assert len(whole) > 2 * chunk
    got = b""
    while len(got) < len(whole):
        with Peer(server.address) as peer:  # a new connection for every chunk
            peer.hello()
            peer.put([b"f", encode(m.Fetch(job=job, offset=len(got), credit=1))])
            answer = peer.get()
            assert answer is not None
            _, record, data = answer
            assert (record.offset, record.total) == (len(got), len(whole))
            assert data
            got += data
    assert got == whole
    for offset in (1, chunk - 1, chunk, chunk + 1, len(whole) - 1):
        assert reach(server.address).fetch(job, offset=offset) == whole[offset:]


def test_a_watch_from_where_the_connection_broke(process: Processes) -> None:
    server = process()
    with Peer(server.address) as peer:
        peer.hello()
        request = m.Submit(key="k", prompt="cat", **(NOISY | {"width": 32, "height": 32, "images": 4, "steps": 40}))
        job = peer.ask(request, b"s").job.job
    events: list[m.Event] = []
    last, draw = 0, random.Random(2)
    while True:
        with Peer(server.address) as peer:
            peer.hello()
            peer.put([b"w", encode(m.Watch(job=job, after=last))])
            for _ in range(draw.randint(1, 4)):
                answer = peer.get()
                assert answer is not None
                if isinstance(answer[1], m.Watched):
                    break
                events.append(answer[1])
                last = answer[1].number
            else:
                continue
            break
    numbers = [event.number for event in events]
    assert numbers == sorted(set(numbers))
    told = [event.kind for event in events if event.kind != "step"]
    assert told == ["queued", "started", *["image"] * 5, "done"]
    assert [event.picture.index for event in events if event.picture is not None] == [0, 1, 2, 3, -1]


def test_lists_that_nobody_reads(process: Processes) -> None:
    """Long prompts make long pages; hundreds of them wait for a connection before it is dropped."""
    server = process("--paused")
    words: dict[str, Any] = {"prompt": "cat " + "\U0001f600" * 1900, "negative_prompt": "dog " + "\U0001f600" * 1900}
    with Peer(server.address) as peer:
        peer.hello()
        for i in range(40):
            assert isinstance(peer.ask(m.Submit(key=f"k{i}", **words), b"s%d" % i), m.Accepted)
        page = peer.ask(m.ListJobs(limit=200), b"list")
        assert 4 <= len(page.jobs) < 40
        assert page.next > 0
    before = top = server.rss()
    with Peer(server.address, options={zmq.RCVHWM: 1, zmq.RCVBUF: 4096}) as lazy:
        lazy.hello()
        end = time.monotonic() + PATIENCE_S
        while SLOW not in server.log.read_text() and time.monotonic() < end:
            for i in range(20):
                lazy.put([b"%d" % i, encode(m.ListJobs(limit=200))])
            time.sleep(0.02)
            top = max(top, server.rss())
    assert SLOW in server.log.read_text()
    assert top < before + 256 * MIB
