"""What goes wrong with a connection, in both flavours: the user notices nothing, or gets a typed error in time."""

from __future__ import annotations

import hashlib
import queue
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq
from msgspec.structs import replace

from salon.frontends.client import lookout
from salon.frontends.client.errors import (
    BadAnswer,
    BadPicture,
    Busy,
    ClientClosed,
    Disconnected,
    KeyRefused,
    NotFound,
    Unsupported,
)
from salon.frontends.client.fake import FakeServer
from salon.frontends.wire import messages as m
from salon.frontends.wire.codec import encode
from salon.frontends.wire.errors import AddressError, KeyFileError
from salon.frontends.wire.keys import make_pair, save_pair
from salon.frontends.zmq.router import Buffer
from salon.frontends.zmq.sessions import Session

from .helpers import DONE_S, Connect, core_of, fails_once, hurry, until

pytestmark = pytest.mark.alone

QUICK = m.Limits(heartbeat_ms=60)
NOISE = hashlib.shake_256(b"noise").digest(200_000)


@contextmanager
def nobody() -> Iterator[str]:
    """An address at which nobody listens, and nobody else can."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"tcp://127.0.0.1:{taken.getsockname()[1]}"


def count(server: FakeServer, kind: type[m.Record]) -> int:
    return sum(isinstance(request, kind) for request in server.requests)


def test_nobody_is_there(connect: Connect) -> None:
    with nobody() as address:
        client = connect(address)
        match = f"server {address}: got nobody listens there.*check that it runs"
        fails_once(client, Disconnected, match, lambda core: core.trouble)
        started = time.monotonic()
        with pytest.raises(Disconnected, match="check that it runs"):
            connect(address, timeout_s=0.3).ping()
        assert 0.25 < time.monotonic() - started < 20


def test_somebody_else_is_there(connect: Connect) -> None:
    mute: zmq.Socket[bytes] = zmq.Context.instance().socket(
        zmq.REP
    )  # not the other half of a DEALER: ZeroMQ refuses it, or nothing comes
    port = mute.bind_to_random_port("tcp://127.0.0.1")
    try:
        with pytest.raises(Disconnected, match="check that it runs"):
            connect(f"tcp://127.0.0.1:{port}", timeout_s=0.3).ping()
    finally:
        mute.close(0)


@pytest.mark.parametrize("kind", ["tcp", "ipc", "inproc"])
def test_the_server_comes_later_and_again(connect: Connect, kind: str, tmp_path: Path) -> None:
    with FakeServer() as first:
        address = first.address
    if kind != "tcp":
        address = f"ipc://{tmp_path}/s" if kind == "ipc" else f"inproc://{tmp_path.name}"
    client = connect(address)
    late: list[FakeServer] = []
    timer = threading.Timer(0.2, lambda: late.append(FakeServer(address, limits=QUICK, hold=True).start()))
    timer.start()
    job = client.imagine("a red apple")
    timer.join()
    stream = job.events()
    assert next(stream).kind == "queued"
    late[0].stop()
    with FakeServer(address, limits=QUICK, house=late[0].house) as second:
        assert client.job(job.id).id == job.id
        numbers = [event.number for event in stream]
        assert numbers == sorted(set(numbers))
        assert numbers[-1] == second.jobs[job.id].last_event
        assert len(job.pictures()) == 4


def test_silence_is_told_and_that_it_is_over(
    connect: Connect, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """faults.md 27, in the asyncio client, too: whoever waits hears that nobody answers, once, and when it is over."""
    monkeypatch.setattr(lookout, "ASK_S", 0.1)
    monkeypatch.setattr(lookout, "TELL_S", 0.2)
    address = server.address
    server.stop()
    news: queue.Queue[float | None] = queue.Queue()
    client = connect(address, on_contact=news.put)
    asking = threading.Thread(target=client.ping)
    asking.start()
    told = news.get(timeout=DONE_S)
    assert told is not None
    assert told >= 0.2
    monkeypatch.setattr(lookout, "ASK_S", DONE_S)  # from now on it may take as long as it takes
    monkeypatch.setattr(lookout, "TELL_S", 2 * DONE_S)
    with FakeServer(address):
        asking.join(DONE_S)
        assert not asking.is_alive()
        assert news.get(timeout=DONE_S) is None
    assert news.empty()


def test_what_is_raised_by_who_is_told_closes_the_client(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookout, "TELL_S", 0.1)
    with FakeServer() as server:
        address = server.address

    def broken(seconds: float | None) -> None:
        raise RuntimeError("it cannot be told")

    client = connect(address, on_contact=broken)
    with pytest.raises(ClientClosed, match="it cannot be told"):
        client.ping()


def test_the_answer_to_a_submit_gets_lost(server: FakeServer, connect: Connect) -> None:
    client = connect(server.address)
    server.lose("submit", times=2)
    job = client.imagine("a red apple")
    assert count(server, m.Submit) == 3
    assert list(server.jobs) == [job.id]
    assert job.wait(timeout_s=DONE_S).state == "done"


def test_the_answer_to_a_grant_gets_lost(server: FakeServer, connect: Connect) -> None:
    client = connect(server.address)
    server.lose("ops.grant")
    assert client.ops.grant("local", 5000).lifetime_ms == 0
    assert [entry.amount_ms for entry in client.ops.ledger("local").entries if entry.source == "bought"] == [5000]


def test_the_answers_to_cancel_and_delete_get_lost(connect: Connect) -> None:
    with FakeServer(hold=True) as server:
        job = connect(server.address).imagine("a red apple")
        server.lose("cancel")
        assert job.cancel() is True
        assert count(server, m.Cancel) == 2
        assert job.cancel() is False
        server.lose("delete")
        job.delete()
        assert count(server, m.Delete) == 2
        job.delete()  # again: nothing
        with pytest.raises(NotFound):
            job.refresh()


@pytest.mark.parametrize("kind", ["ops.drain", "ops.retry"])
def test_what_must_not_be_done_twice(server: FakeServer, connect: Connect, kind: str) -> None:
    server.fail = "no luck"
    client = connect(server.address)
    job = client.imagine("a red apple")
    until(lambda: bool(client.job(job.id).state == "failed"))
    server.hold = True
    client.imagine("a whale")  # so that a server that is to stop waits for it
    server.lose(kind)
    with pytest.raises(Disconnected, match="look whether it was done"):
        client.ops.drain(stop=True) if kind == "ops.drain" else client.ops.retry(job.id)
    assert count(server, m.OpsDrain) + count(server, m.OpsRetry) == 1
    client.ping()
    time.sleep(0.1)
    server.forget()  # what is answered with "hello" was surely not done
    assert client.ops.drain(stop=True) in (True, False)


def test_a_watch_goes_on(connect: Connect) -> None:
    with FakeServer(hold=True, limits=QUICK) as server:
        job = connect(server.address).imagine("a red apple", images=1)
        numbers = []
        faults = [server.drop, server.forget, server.say_closing, lambda: server.silence(0.3), server.drop]
        server.tell(job.id, "paused")
        for event in job.events():
            numbers.append(event.number)
            if faults:
                fault = faults.pop()
                fault()
                server.tell(job.id, "resumed")
            else:
                server.release()
        assert numbers == sorted(set(numbers))
        assert numbers[-1] == server.jobs[job.id].last_event
        assert job.state == "done"


def test_a_picture_goes_on_where_it_was(connect: Connect) -> None:
    limits = m.Limits(chunk=8192)
    with FakeServer(pictures=[NOISE], limits=limits) as server:
        job = connect(server.address).imagine("a red apple", images=1)
        job.wait(timeout_s=DONE_S)
        server.cut(50_000)
        server.cut(120_000)
        assert job.picture() == NOISE
        offsets = [request.offset for request in server.requests if isinstance(request, m.Fetch)]
        assert len(offsets) == 3
        assert offsets[0] == 0 < offsets[1] < offsets[2]


def test_a_picture_that_changes_or_lies(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = m.Limits(chunk=8192)
    with FakeServer(pictures=[NOISE], limits=limits) as server:
        job = connect(server.address).imagine("a red apple", images=1)
        job.wait(timeout_s=DONE_S)
        server.cut(50_000)
        other, router, service = NOISE[::-1], server._router, server._server.service
        rebind = router.rebind

        def change() -> None:
            """As if the job had been run again, to another picture."""
            row, pictures = service.jobs.cached(job.id) or pytest.fail("it is remembered")
            digest = service.context.blobs.put(other)
            service.jobs.remember(replace(row), tuple(replace(picture, digest=digest) for picture in pictures))
            rebind()

        monkeypatch.setattr(router, "rebind", change)
        assert job.picture() == other  # begun anew, once
        lie = m.Chunk(offset=0, total=len(NOISE[:8192]), digest="0" * 64)
        server.answer("fetch", [encode(lie), NOISE[:8192]])
        with pytest.raises(BadPicture, match="picture 0 of job job-1.*sha256"):
            job.picture()


def test_silence_is_noticed(connect: Connect) -> None:
    with FakeServer(limits=QUICK) as server:
        client = connect(server.address)
        client.ping()
        server.silence(1000)
        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(client.info)
            until(lambda: core_of(client).trouble == "silence")
            assert not asking.done()
            server.silence(0)
            assert asking.result(DONE_S).account == "local"
        assert count(server, m.Hello) >= 2


def test_an_idle_connection_is_kept(connect: Connect) -> None:
    beat_s = 1.0  # of which three may pass until one is heard
    with FakeServer(limits=m.Limits(heartbeat_ms=int(1e3 * beat_s))) as server:
        client = connect(server.address)
        client.ping()
        started = time.monotonic()
        until(lambda: count(server, m.Ping) >= 4)
        client.ping()
        assert count(server, m.Hello) == 1
        assert count(server, m.Ping) <= 3 + (time.monotonic() - started) / (0.7 * beat_s)


def test_silence_for_too_long(connect: Connect) -> None:
    with FakeServer(limits=QUICK, hold=True) as server:
        client = connect(server.address)
        job = client.imagine("a red apple")
        stream = job.events()  # without a deadline of its own
        next(stream)
        hurry(client, 0.3)
        server.silence(1000)
        with pytest.raises(Disconnected, match="silence|no answer"):
            next(stream)
        with pytest.raises(Disconnected):
            client.info()


def test_the_server_closes_for_good(server: FakeServer, connect: Connect) -> None:
    client = connect(server.address)
    client.ping()
    server.delay_s = 0.3
    timer = threading.Timer(0.1, lambda: server.say_closing("this server moves", retry_after_ms=-1))
    timer.start()
    server.refuse("busy", times=100, retry_after_ms=50)
    with pytest.raises(Disconnected, match="got this server moves"):
        client.info()
    timer.join()
    with pytest.raises(Disconnected, match="got this server moves"):
        client.ping()


def test_a_server_that_speaks_another_version(
    server: FakeServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.refuse("busy")
    monkeypatch.setattr("salon.frontends.zmq.server.negotiate", lambda hello: (99, ()))
    with pytest.raises(Unsupported, match="got 99, allowed 1 to 1"):
        connect(server.address).ping()


def test_a_server_that_turns_hello_away(server: FakeServer, connect: Connect) -> None:
    server.refuse("busy", kind="hello", times=2, retry_after_ms=50)
    started = time.monotonic()
    assert connect(server.address).ping() < DONE_S
    assert time.monotonic() - started >= 0.1
    assert count(server, m.Hello) == 3


@pytest.mark.parametrize("answer", [m.Done(), m.Watched(), b"\x80", b"", b"\xc1"])
def test_answers_that_do_not_fit(server: FakeServer, connect: Connect, answer: m.Done | m.Watched | bytes) -> None:
    client = connect(server.address)
    job = client.imagine("a red apple")
    job.wait(timeout_s=DONE_S)
    for kind in ("show", "fetch", "watch"):
        server.answer(kind, [answer] if isinstance(answer, bytes) else answer)
    with pytest.raises(BadAnswer):
        job.refresh()
    with pytest.raises(BadAnswer):
        job.picture()
    if not isinstance(answer, m.Watched):
        with pytest.raises(BadAnswer):
            list(job.events())
    for kind in ("show", "fetch", "watch"):
        server.answer(kind, None)
    assert client.ping() < DONE_S
    assert job.picture() == server.pictures[0]


def test_nothing_is_lost_while_the_server_comes_and_goes(connect: Connect) -> None:
    """A server that drops everybody every 30 ms for a while, and a job whose events all matter."""
    with FakeServer(steps=40, step_s=0.01, limits=m.Limits(heartbeat_ms=100, chunk=4096), pictures=[NOISE]) as server:
        client = connect(server.address)
        stop = threading.Event()

        def drop() -> None:
            for _ in range(40):  # not for ever: where an answer takes longer than 30 ms, none would arrive
                if stop.wait(0.03):
                    return
                server.drop()

        thread = threading.Thread(target=drop)
        thread.start()
        try:
            job = client.imagine("a red apple", images=1)
            events = list(job.events())
        finally:
            stop.set()
            thread.join()
        numbers = [event.number for event in events]
        assert numbers == sorted(set(numbers))
        told = [event.kind for event in events if event.kind != "step"]  # of steps, only the latest is kept
        assert told == ["queued", "started", "image", "image", "done"]
        assert len(server.jobs) == 1
        assert job.picture() == NOISE


def test_closing(server: FakeServer, connect: Connect) -> None:
    client = connect(server.address)
    client.ping()
    job = client.imagine("a red apple")
    client.close()
    client.close()
    for use in (client.ping, job.refresh, lambda: next(job.events())):
        with pytest.raises(ClientClosed, match="it was closed"):
            use()
    until(lambda: count(server, m.Bye) == 1)
    never = connect(server.address)
    never.close()
    with pytest.raises(ClientClosed):
        never.ping()


def test_closing_ends_whoever_waits(connect: Connect) -> None:
    with FakeServer(hold=True) as server:
        client = connect(server.address)
        job = client.imagine("a red apple")
        timer = threading.Timer(0.2, client.close)
        timer.start()
        with pytest.raises(ClientClosed):
            job.wait(timeout_s=DONE_S)
        timer.join()


def test_addresses_and_keys(connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(AddressError):
        connect("localhost")
    monkeypatch.setenv("SALON_SERVER", "tcp://127.0.0.1:1")
    assert connect(None).address == "tcp://127.0.0.1:1"
    monkeypatch.delenv("SALON_SERVER")
    assert connect(None).address == "tcp://127.0.0.1:5599"
    monkeypatch.setenv("SALON_KEY", str(tmp_path / "none"))
    assert connect("tcp://127.0.0.1:1").address  # needs no key
    with pytest.raises(KeyFileError, match="none"):
        connect("tcp://127.0.0.1:1#" + "0" * 64)


def test_encrypted(connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ours, theirs, stranger = make_pair(), make_pair(), make_pair()
    save_pair(tmp_path / "key", ours)
    with FakeServer(pair=theirs, let_in={ours.public}) as server:
        assert server.address.endswith(f"#{theirs.public}")
        client = connect(server.address, key=tmp_path / "key")
        assert client.server.account == ours.public
        job = client.imagine("a red apple")
        server.drop()
        assert job.wait(timeout_s=DONE_S).account == ours.public
        monkeypatch.setenv("SALON_KEY", str(tmp_path / "key"))
        assert connect(server.address).server.account == ours.public
        started = time.monotonic()
        with pytest.raises(KeyRefused, match=f"does not let the key {stranger.public} in"):
            connect(server.address, key=stranger).ping()
        assert time.monotonic() - started < DONE_S / 2  # not only after the timeout
        plain, _, _ = server.address.partition("#")
        why = "handshake|protocol|encryption"
        for wrong in (plain, f"{plain}#{stranger.public}"):
            fails_once(connect(wrong, key=ours), Disconnected, why, lambda core: re.search(why, core.trouble))


def test_a_server_that_cannot_look_a_key_up_for_a_moment(connect: Connect) -> None:
    """It said that the key may not come in, and the client gave up for ever."""
    ours, failures = make_pair(), [True]

    class Faulty(frozenset[str]):
        def __contains__(self, key: object) -> bool:
            if failures:
                failures.pop()
                raise RuntimeError("a fault of ours")
            return super().__contains__(key)

    with FakeServer(pair=make_pair(), let_in=Faulty({ours.public})) as server:
        assert connect(server.address, key=ours).server.account == ours.public
        assert failures == []
        failures += [True] * 1000
        server.drop()
        why = "cannot check keys"
        fails_once(connect(server.address, key=ours), Disconnected, why, lambda core: why in core.trouble)


def test_turned_away_until_the_deadline(server: FakeServer, connect: Connect) -> None:
    client = connect(server.address)
    client.ping()
    hurry(client, 2.5)
    server.refuse("busy", times=1000, retry_after_ms=50)
    started = time.monotonic()
    with pytest.raises(Busy):
        client.info()
    assert 2 < time.monotonic() - started < 25
    assert count(server, m.Info) >= 3


def test_turned_away_and_then_no_answer(server: FakeServer, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    client = connect(server.address)
    client.ping()
    hurry(client, 3.0)
    server.refuse("busy", retry_after_ms=400)
    router = server._router
    send = router.reply

    def reply_once(session: Session, id: bytes, record: m.Record, payload: Buffer | None = None) -> bool:
        sent = send(session, id, record, payload)
        if isinstance(record, m.Failure):
            router.silence(1000)
        return sent

    monkeypatch.setattr(router, "reply", reply_once)
    with pytest.raises(Busy):  # why it could not be done, not only that the time is over
        client.info()
