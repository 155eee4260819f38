"""The plain client, written from docs/wire.md, against a ROUTER that speaks through our codec."""

from __future__ import annotations

import ast
import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from salon.frontends.wire import keys
from salon.frontends.wire import messages as m
from salon.frontends.wire.errors import MessageError
from salon.frontends.wire.frames import read_request, reply_frames
from salon.frontends.wire.version import negotiate

from . import plain_client
from .plain_client import PlainClient, Refused, Silent

FILE = bytes(range(256)) * 40
DIGEST = hashlib.sha256(FILE).hexdigest()
CHUNK = 1000
NUMBERS = (3, 7, 8, 20)
KINDS = ("queued", "preview", "image", "done")
Answer = tuple[bytes, m.Reply, bytes | None]


class Server:
    """A server that makes a picture of nothing, in as few lines as it takes; its thread is its own."""

    def __init__(self, pair: keys.KeyPair | None = None) -> None:
        self.pair = pair
        self.known: set[bytes] = set()
        self.jobs: dict[str, m.JobInfo] = {}
        self.fetches: dict[bytes, list[int]] = {}  # offset, credit
        self.most_outstanding = 0
        self.events_before_amnesia = -1
        self.seen: list[m.Request] = []
        self.failed: list[BaseException] = []
        self.endpoint = ""
        self._ready, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()
        assert self._ready.wait(60)

    @property
    def address(self) -> str:
        return f"{self.endpoint}#{self.pair.public}" if self.pair else self.endpoint

    def close(self) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        assert not self.failed, self.failed

    def _work(self) -> None:
        with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
            socket.linger = 0
            if self.pair:
                keys.secure_server(socket, self.pair)
            socket.bind("tcp://127.0.0.1:*")
            self.endpoint = socket.get_string(zmq.LAST_ENDPOINT)
            self._ready.set()
            while not self._stop.is_set():
                if not socket.poll(20):
                    continue
                route, *frames = socket.recv_multipart()
                try:
                    for id, reply, payload in self._take(route, frames):
                        socket.send_multipart([route, *reply_frames(id, reply, payload)])
                except BaseException as error:  # the test must hear of it
                    self.failed.append(error)

    def _take(self, route: bytes, frames: list[bytes]) -> Iterator[Answer]:
        id = b""
        try:
            id, request = read_request(frames)
            self.seen.append(request)
            if isinstance(request, m.Hello):
                version, features = negotiate(request)
                self.known.add(route)
                yield id, m.Welcome(version=version, features=features, limits=m.Limits(chunk=CHUNK)), None
            elif route not in self.known:
                yield id, m.Failure(code="hello", kind="NoHello", text="say hello"), None
            else:
                yield from self._answer(route, id, request)
        except MessageError as error:
            yield error.id or id, m.Failure(code=error.code, kind=type(error).__name__, text=str(error)), None

    def _answer(self, route: bytes, id: bytes, request: m.Request) -> Iterator[Answer]:
        match request:
            case m.Ping():
                yield id, m.Pong(), None
            case m.Submit():
                existing = request.key in self.jobs
                job = self.jobs.setdefault(request.key, m.JobInfo(job=request.key, prompt=request.prompt))
                yield id, m.Accepted(job=job, existing=existing), None
            case m.Watch():
                yield from self._watch(route, id, request)
            case m.Show() if request.job in self.jobs:
                yield id, self.jobs[request.job], None
            case m.ListJobs():
                jobs = list(self.jobs.values())[::-1]
                end = request.before + request.limit
                more = end if end < len(jobs) else 0
                yield id, m.JobList(jobs=tuple(jobs[request.before : end]), next=more), None
            case m.Cancel():
                yield id, m.Done(changed=request.job in self.jobs), None
            case m.Delete():
                yield id, m.Done(), None
            case m.Info():
                yield id, m.AccountInfo(account="local"), None
            case m.Fetch():
                self.fetches[id] = [request.offset, request.credit]
                yield from self._send_file(id)
            case m.Credit():
                self.fetches[request.fetch][1] += request.chunks
                yield from self._send_file(request.fetch)
            case m.Bye():
                self.known.discard(route)
            case _:
                yield id, m.Failure(code="not_found", kind="UnknownJob", text="there is none"), None

    def _watch(self, route: bytes, id: bytes, request: m.Watch) -> Iterator[Answer]:
        for number, kind in zip(NUMBERS, KINDS, strict=True):
            if number <= request.after or (kind == "preview" and not request.previews):
                continue
            if self.events_before_amnesia == 0:
                self.events_before_amnesia = -1
                self.known.discard(route)  # as after a restart
                return
            self.events_before_amnesia -= 1
            yield id, m.Event(number=number, kind=kind), b"jpeg" if kind == "preview" else None
        yield id, m.Watched(last=NUMBERS[-1]), None

    def _send_file(self, id: bytes) -> Iterator[Answer]:
        state = self.fetches[id]
        self.most_outstanding = max(self.most_outstanding, state[1])
        while state[1] and state[0] < len(FILE):
            data = FILE[state[0] : state[0] + CHUNK]
            yield id, m.Chunk(offset=state[0], total=len(FILE), digest=DIGEST), data
            state[0] += len(data)
            state[1] -= 1


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def test_it_knows_nothing_of_salon() -> None:
    tree = ast.parse(Path(plain_client.__file__).read_text())
    found = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    found |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert found == {"__future__", "collections.abc", "contextlib", "typing", "hashlib", "time", "msgpack", "zmq"}


def test_a_session(server: Server) -> None:
    with PlainClient(server.address, timeout_s=60) as client:
        assert client.welcome["version"] == 1
        assert client.welcome["features"] == list(m.FEATURES)
        client.ping()
        assert client.submit("k1", "a red apple", seed=7)["job"] == "k1"
        assert client.ask("submit", key="k1", prompt="a red apple", seed=7)["existing"] is True
        assert client.show("k1")["prompt"] == "a red apple"
        assert [event["kind"] for event, _ in client.watch("k1")] == ["queued", "image", "done"]
        assert [payload for _, payload in client.watch("k1", previews=True)] == [None, b"jpeg", None, None]
        assert [event["number"] for event, _ in client.watch("k1", after=7)] == [8, 20]
        assert client.fetch("k1") == FILE
        assert client.fetch("k1", offset=9_999, credit=1) == FILE[9_999:]
        assert server.most_outstanding == 4
        for number in range(2, 8):
            client.submit(f"k{number}", "more")
        assert [job["job"] for job in client.jobs(limit=3)] == [f"k{number}" for number in range(7, 0, -1)]
        assert client.cancel("k1")
        assert not client.cancel("k9")
        client.delete("k1")
        assert client.info()["account"] == "local"
    assert isinstance(server.seen[1], m.Ping)
    assert server.seen[2] == m.Submit(key="k1", prompt="a red apple", seed=7)


@pytest.mark.parametrize(
    ("type", "fields", "code", "kind"),
    [
        ("show", {"job": "k9"}, "not_found", "UnknownJob"),
        ("show", {"job": "no such name"}, "invalid", "BadMessage"),
        ("show", {"job": 5}, "invalid", "BadMessage"),
        ("list", {"limit": 201}, "invalid", "BadMessage"),
        ("bye", {}, "invalid", "BadMessage"),
        ("dream", {"of": ["sheep"]}, "unsupported", "UnknownMessage"),
        ("submit", {"key": "k", "prompt": "p", "x": "x" * 70_000}, "too_large", "TooLarge"),
        ("hello", {"version": 9, "oldest": 2}, "unsupported", "UnsupportedVersion"),
    ],
)
def test_what_is_refused_is_answered_at_its_id(
    server: Server, type: str, fields: dict[str, Any], code: str, kind: str
) -> None:
    with PlainClient(server.address, timeout_s=60) as client:
        with pytest.raises(Refused) as caught:
            client.ask(type, **fields)
        assert (caught.value.code, caught.value.kind) == (code, kind)
        client.ping()


def test_a_newer_client(server: Server) -> None:
    """It speaks version 1 with a server of today, and leaves its features at home."""
    client = PlainClient(server.address, timeout_s=60, version=3, features=("dreams", "previews"))
    assert client.hello()["version"] == 1
    assert client.welcome["features"] == ["previews"]
    assert client.ask("ping", mood="good")["type"] == "pong"
    client.close()


def test_a_server_that_has_forgotten_it(server: Server) -> None:
    """It says hello again by itself; a watch goes on where it was."""
    with PlainClient(server.address, timeout_s=60) as client:
        client.submit("k1", "a red apple")
        server.known.clear()
        client.ping()
        server.events_before_amnesia = 1
        watch = client.watch("k1")
        events = [next(watch)[0]["number"]]
        client.ping()  # answered by "hello": the watch is repeated with it
        events.extend(event["number"] for event, _ in watch)
        assert events == [3, 8, 20]
    assert [request.after for request in server.seen if isinstance(request, m.Watch)] == [0, 3]


def test_nobody_is_there() -> None:
    client = PlainClient("tcp://127.0.0.1:9", timeout_s=0.2)
    with pytest.raises(Silent, match="no answer to"):
        client.hello()
    client.close()


@pytest.mark.parametrize("right", [True, False], ids=["the server's key", "another key"])
def test_encrypted(right: bool) -> None:
    server = Server(keys.make_pair())
    try:
        mine = keys.make_pair()
        address = server.address if right else f"{server.endpoint}#{keys.make_pair().public}"
        client = PlainClient(address, public=mine.public, secret=mine.secret, timeout_s=60 if right else 0.3)
        say: Callable[[], Any] = client.hello
        if right:
            assert say()["version"] == 1
        else:
            with pytest.raises(Silent):
                say()
        client.close()
    finally:
        server.close()
