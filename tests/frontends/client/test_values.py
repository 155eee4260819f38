"""What counts as a number, text, or yes and no; and what becomes of a client whose own machinery fails.

faults.md 7: a seed of numpy's made the client's thread die of a TypeError, and every later call timed out.
"""

from __future__ import annotations

import errno
import gc
import math
import threading
from collections.abc import Callable
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from salon.errors import SalonError
from salon.frontends.client.aio import AsyncClient
from salon.frontends.client.client import Client
from salon.frontends.client.errors import ClientClosed, ClientError, Invalid, RequestFailed, TimedOut
from salon.frontends.client.exchanges import Call
from salon.frontends.client.fake import FakeServer
from salon.frontends.client.steps import answer
from salon.frontends.wire import messages as m
from salon.frontends.wire.errors import KeyFileError

from .helpers import DONE_S, Connect, fails_once, until

ACCOUNT = "ab" * 32


class Text(str):
    """As somebody derived it."""

    def __str__(self) -> str:
        return "another text"


class Lane(StrEnum):
    FAST = "fast"


class Word(str, Enum):  # noqa: UP042 - whose own text is "Word.LOCAL"
    LOCAL = "local"


TAKEN: dict[str, dict[str, Any]] = {
    "numpy's": {
        "images": np.int64(2),
        "width": np.uint16(16),
        "height": np.int8(8),
        "steps": np.int32(2),
        "seed": np.uint64(2**64 - 1),
        "guidance_scale": np.float32(2.5),
        "shift": np.float64(1.5),
        "private": np.bool_(True),
        "previews": np.int64(1),
    },
    "others'": {
        "prompt": Text("a red apple"),
        "lane": Lane.FAST,
        "negative_prompt": np.str_("red"),
        "aspect": np.array([3, 2]),
        "guidance_scale": 3,
        "solver": Text("euler"),
        "key": Text("k"),
    },
    "a list": {"aspect": [3, np.float16(2)]},
}


@pytest.mark.parametrize("fields", TAKEN.values(), ids=TAKEN)
def test_what_is_a_number_or_text_is_taken(server: FakeServer, connect: Connect, fields: dict[str, Any]) -> None:
    client = connect(server.address)
    client.imagine(**({"prompt": "a red apple"} | fields))  # as the first call: nobody has looked at the server yet
    request = next(one for one in server.requests if isinstance(one, m.Submit))
    for name, value in fields.items():
        assert request.parameters is not None
        own = {"previews": "preview_every"}.get(name, name)
        got = request.parameters[name] if name in request.parameters else getattr(request, own)
        expected = list(map(float, value)) if name == "aspect" else value
        assert got == expected
        assert type(got) in (str, int, float, bool, list)
    assert client.ping() >= 0


REFUSED: dict[str, tuple[Any, ...]] = {
    "prompt": (7, None, b"apple", Path("apple"), "half a pair: \ud800"),
    "lane": (1, Path("fast")),
    "images": ("4", 4.0, True, np.float64(4), np.array([1, 2])),
    "aspect": ("16:9", (16,), (16, 9, 1), 16, ("16", "9"), (True, 1)),
    "width": ("128", 128.0, False, np.bool_(True)),
    "steps": (2.5, Path("2"), 2**70, -(2**70), 10**5000),
    "seed": (np.float32(7), "7", 2**64, [7]),
    "guidance_scale": ("3", True, 3j, 10**400),
    "solver": (1, ("euler",)),
    "shift": ("1",),
    "private": (1, "yes", np.int64(1)),
    "previews": ("1", True, 1.0),
    "key": (7, Path("k"), b"k"),
    "negative_prompt": (["red"], b"red"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_rest_is_refused_at_once_by_its_name(connect: Connect, name: str) -> None:
    client = connect("tcp://127.0.0.1:1")  # nobody listens there: it is refused here
    for value in REFUSED[name]:
        with pytest.raises(Invalid, match=f"^{name}: got .*, allowed .*; .") as caught:
            client.imagine(**({"prompt": "a red apple"} | {name: value}))
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 300


CALLS: dict[str, Callable[[Any], Any]] = {
    "id": lambda client: client.job(Path("job-1")),
    "limit": lambda client: client.jobs(limit="20"),
    "before": lambda client: client.jobs(before=1.5),
    "states": lambda client: client.jobs(states="done"),
    "account": lambda client: client.info(account=7),
    "stop": lambda client: client.ops.drain(stop="no"),
    "after": lambda client: client.ops.ledger(after="1"),
    "name": lambda client: client.ops.set_account(ACCOUNT, name=b"Ada"),
    "blocked": lambda client: client.ops.set_account(ACCOUNT, blocked=1),
    "quota_bytes": lambda client: client.ops.set_account(ACCOUNT, quota_bytes=1e9),
    "amount_ms": lambda client: client.ops.grant(ACCOUNT, 1.5),
}


@pytest.mark.parametrize("name", CALLS)
def test_so_is_what_other_requests_do_not_take(connect: Connect, name: str) -> None:
    with pytest.raises(Invalid, match=f"^{name}: got "):
        CALLS[name](connect("tcp://127.0.0.1:1"))


def test_what_is_asked_of_a_job_is_read_likewise(server: FakeServer, connect: Connect) -> None:
    client = connect(server.address)
    job = client.imagine("a red apple", images=np.int64(2))
    job.wait(timeout_s=np.float32(DONE_S))
    assert job.picture(np.int64(1)) == job.pictures()[1]
    assert [event.kind for event in job.events(after=np.int64(1), previews=np.bool_(False))][-1] == "done"
    for name, call in {
        "index": lambda: job.picture("0"),
        "after": lambda: list(job.events(after="1")),
        "previews": lambda: list(job.events(previews="yes")),
        "timeout_s": lambda: list(job.events(timeout_s="5")),
    }.items():
        with pytest.raises(Invalid, match=f"^{name}: got "):
            call()
    with pytest.raises(Invalid, match=r"^timeout_s: got '5', allowed "):
        job.wait(timeout_s="5")
    client.ops.set_account(ACCOUNT, plan="pro")
    assert client.ops.grant(np.str_(ACCOUNT), np.int64(1000)).fast_ms["bought"] == 1000
    assert client.jobs(limit=np.int8(5), states=["done", Text("failed")]).jobs[0].job == job.id
    assert client.info(account=Word.LOCAL).account == "local"


@pytest.mark.parametrize("seconds", ["30", None, True, -1, float("nan")])
def test_a_patience_that_is_none_is_refused(connect: Connect, seconds: Any) -> None:
    """It was added to a clock in the client's thread."""
    with pytest.raises(Invalid, match="^timeout_s: got "):
        connect("tcp://127.0.0.1:1", timeout_s=seconds)


@pytest.mark.parametrize("key", [7, b"key", object()])
def test_a_key_that_is_none_is_refused(connect: Connect, key: Any) -> None:
    """faults.md 7's kind: it was a TypeError."""
    with pytest.raises(KeyFileError, match="^key: got .*, allowed a key pair, or the path of its file; "):
        connect("tcp://127.0.0.1:1#" + ACCOUNT, key=key)


# ---- whatever else may go wrong ------------------------------------------------------------------------------------


def fails(call: Callable[[], Any], kind: type[Exception]) -> bool:
    """Whether it raises such an error."""
    try:
        call()
    except kind:
        return True
    return False


def broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("out of joint")


@pytest.mark.parametrize("part", ["pump", "mend", "release"])
def test_what_nobody_foresaw_closes_the_client(
    server: FakeServer, connect: Connect, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """The machinery fails while somebody waits for an event: he hears of it, and so does everybody after him."""
    client = connect(server.address)
    server.hold = True
    job = client.imagine("a red apple")
    events = job.events()
    assert next(events).kind == "queued"
    heard: list[BaseException] = []

    def listen() -> None:
        try:
            list(events)
        except BaseException as error:
            heard.append(error)

    listener = threading.Thread(target=listen)
    listener.start()
    monkeypatch.setattr("salon.frontends.client.link.Link." + part, broken)
    server.release()  # events come, which wake whoever watches the socket
    until(lambda: fails(client.ping, ClientClosed))
    listener.join(DONE_S)
    assert not listener.is_alive()
    why = r"^client: it met an error that nobody foresaw \(RuntimeError: out of joint\); make a new one$"
    for error in heard:
        with pytest.raises(ClientClosed, match=why):
            raise error
    monkeypatch.undo()
    for _ in range(2):
        with pytest.raises(ClientClosed, match=why) as caught:
            client.ping()
        assert isinstance(caught.value.__cause__, RuntimeError)
    client.close()
    with pytest.raises(ClientClosed, match=why):
        job.refresh()


@pytest.mark.parametrize("reply", [m.Pong(), m.JobList(jobs=())], ids=["expected", "not expected"])
def test_an_answer_that_breaks_the_machinery_closes_the_client(
    server: FakeServer, connect: Connect, monkeypatch: pytest.MonkeyPatch, reply: m.Record
) -> None:
    client = connect(server.address)
    client.ping()
    monkeypatch.setattr("salon.frontends.client.core.read_reply", broken)
    with pytest.raises(ClientClosed, match="RuntimeError: out of joint"):
        client.ping()


def test_a_close_that_fails_still_closes(server: FakeServer, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    client = connect(server.address)
    client.ping()
    monkeypatch.setattr("salon.frontends.client.core.Core.close", broken)
    monkeypatch.setattr("salon.frontends.client.link.Link.pump", broken)
    with pytest.raises((ClientClosed, TimedOut), match="out of joint"):
        client.ping()
    monkeypatch.undo()
    with pytest.raises(ClientClosed, match="out of joint"):
        client.ping()


def test_a_request_that_cannot_be_written_harms_nobody_else(server: FakeServer) -> None:
    """However a value got past the reading of it: it ends its own exchange, not the thread that sends for all."""
    with Client(server.address, timeout_s=DONE_S) as client:
        exchange = Call(m.Submit(key="k", prompt="a red apple", seed=object()), math.inf)  # type: ignore[arg-type]
        with pytest.raises(Invalid, match="object"):
            client._engine.run(answer(client._core, exchange, m.Accepted))
        assert client.ping() >= 0


# ---- threads that cannot start ---------------------------------------------------------------------------------------


def test_a_thread_that_does_not_start_leaves_the_client_as_it_was(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """faults.md 8: after one such failure the client was dead for ever, and `close` raised."""
    start = threading.Thread.start
    failures = 2

    def reluctant(thread: threading.Thread) -> None:
        nonlocal failures
        if thread.name == "salon-client" and failures:
            failures -= 1
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", reluctant)
    client = Client(server.address, timeout_s=DONE_S)
    for _ in range(2):
        with pytest.raises(ClientError, match=r"^client: .*can't start new thread.*; .*ask again$"):
            client.imagine("a red apple", key="first")
    assert client.imagine("a blue cube", key="second").id == "job-1"
    client.close()
    assert [one.key for one in server.requests if isinstance(one, m.Submit)] == ["second"]


def test_neither_does_one_for_slow_work(server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """faults.md 8: of the asyncio client, whose files are written by a thread; it was a RuntimeError of Python's."""
    start = threading.Thread.start

    def reluctant(thread: threading.Thread) -> None:
        if thread.name.startswith("asyncio_"):
            raise RuntimeError("can't start new thread")
        start(thread)

    connect = Connect("asyncio")
    try:
        job = connect(server.address).imagine("a red apple", images=1)
        job.wait(timeout_s=DONE_S)
        monkeypatch.setattr(threading.Thread, "start", reluctant)
        with pytest.raises(ClientError, match=r"^client: a thread does not start \(can't start new thread\); "):
            job.save(tmp_path)
        monkeypatch.undo()
        assert [path.exists() for path in job.save(tmp_path)] == [True, True]
    finally:
        connect.close()


def test_a_client_whose_thread_never_started_can_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """faults.md 8."""
    monkeypatch.setattr(threading.Thread, "start", broken)
    client = Client("tcp://127.0.0.1:1", timeout_s=1)
    with pytest.raises(ClientError, match="out of joint"):
        client.ping()
    client.close()
    client.close()
    with pytest.raises(ClientClosed, match="it was closed"):
        client.ping()


def test_no_descriptor_left_is_not_the_end(
    server: FakeServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """faults.md 8 and 16: a socket that cannot be had for a moment made the client "closed", for ever."""
    made = zmq.Context.socket
    failures = 3

    def scarce(context: Any, *kinds: Any, **options: Any) -> Any:
        nonlocal failures
        if failures and kinds == (zmq.DEALER,):
            failures -= 1
            raise zmq.ZMQError(errno.EMFILE)
        return made(context, *kinds, **options)

    monkeypatch.setattr(zmq.Context, "socket", scarce)
    assert connect(server.address).ping() >= 0
    assert failures == 0
    failures = 1000
    fails_once(connect(server.address), ClientError, "Too many open files", lambda core: core._shortage)
    client = connect(server.address, timeout_s=0.5)
    assert fails(client.ping, ClientError)
    failures = 0
    until(lambda: not fails(client.ping, ClientError))  # it waits longer and longer between two tries


def test_a_bell_without_descriptors_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """faults.md 8: what was half made complained about itself when it was collected."""

    def scarce() -> tuple[int, int]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("os.pipe", scarce)
    with pytest.raises(ClientError, match="Too many open files"):
        Client("tcp://127.0.0.1:1")
    gc.collect()  # an exception in __del__ is an error here
    assert AsyncClient("tcp://127.0.0.1:1") is not None


def test_the_fake_server_does_not_die_of_an_order(server: FakeServer) -> None:
    """faults.md 7's kind: what a test asked for and could not be had ended its thread, and all later calls hung."""
    with pytest.raises(SalonError, match="no such job"):
        server.tell("no such job", "step")
    with Client(server.address, timeout_s=DONE_S) as client:
        assert client.ping() >= 0
    until(lambda: bool(server.requests))


def test_a_fake_server_that_fails_says_why(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in it is answered as a bug of the server is, by its name."""
    monkeypatch.setattr(server._server.service, "page", broken)
    with Client(server.address, timeout_s=DONE_S) as client:
        with pytest.raises(RequestFailed, match="internal error") as failed:
            client.jobs()
        assert failed.value.kind == "RuntimeError"
        monkeypatch.undo()
        assert client.jobs().jobs == ()
