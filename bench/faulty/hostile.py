"""Peers that do not play by the rules, on plain sockets, and a good client whose waits are measured meanwhile."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import zmq

from ...frontends.wire import messages as m
from ...frontends.wire.address import parse_address
from ...frontends.wire.codec import decode_reply, encode
from ...frontends.wire.keys import KeyPair, secure_client
from .messages import Maker

WAIT_MS: Final = 60_000
BEAT_MS: Final = 4_000  # a waiting peer pings that often, or the server forgets its connection
MANY: Final = 200  # whole messages that may be unanswered


class Peer:
    """A DEALER socket, and no manners. A context manager.

    Args:
        address: of the server.
        pair: identity, where that has a key.
        options: of the socket, by number.
    """

    def __init__(self, address: str, pair: KeyPair | None = None, options: dict[int, Any] | None = None) -> None:
        place = parse_address(address)
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.set(zmq.LINGER, 0)
        for number, value in (options or {}).items():
            self.socket.set(number, value)
        if pair is not None:
            secure_client(self.socket, pair, place.server_key)
        self.socket.connect(place.endpoint)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()
        self.context.term()

    def put(self, frames: Sequence[bytes]) -> bool:
        """Send a message. Return whether the socket took it."""
        try:
            self.socket.send_multipart(list(frames), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def get(self, timeout_ms: int = WAIT_MS) -> tuple[bytes, Any, bytes | None] | None:
        """Return (id, record, bytes or None) of the next answer; None: there was none in time."""
        if not self.socket.poll(timeout_ms):
            return None
        id, body, *rest = self.socket.recv_multipart()
        return id, decode_reply(body), rest[0] if rest else None

    def ask(self, record: m.Record, id: bytes = b"ask", timeout_ms: int = WAIT_MS) -> Any:
        """Return the next record that bears this id."""
        self.socket.send_multipart([id, encode(record)])
        return self.answer(id, timeout_ms)

    def answer(self, id: bytes, timeout_ms: int = WAIT_MS) -> Any:
        """Return the next record that bears this id; None: there was none in time."""
        end = time.monotonic() + timeout_ms / 1000
        while True:
            left_ms = max(0, int(1000 * (end - time.monotonic())))
            if (got := self.get(min(left_ms, BEAT_MS))) is not None:
                if got[0] == id:
                    return got[1]
            elif left_ms <= BEAT_MS:
                return None
            else:
                self.put([b"", encode(m.Ping())])

    def hello(self) -> m.Welcome:
        """Say hello, and wait for the welcome."""
        welcome = self.ask(m.Hello(features=m.FEATURES), b"hello")
        assert isinstance(welcome, m.Welcome), welcome
        return welcome


class Fuzz:
    """Messages at a live server, and its answers.

    Args:
        address: of the server.
        jobs: that may be named; see `Maker`.
        seed: of everything random.
        pair: identity, where the server has a key.

    Attributes:
        sent: messages.
        answers: by type, of failures by code.
        strange: failures that no message should cause, in words.
        open: whole messages that have no final answer yet.
        twice: final answers to whole messages that had one already.
    """

    def __init__(self, address: str, jobs: Sequence[str], seed: int, pair: KeyPair | None = None) -> None:
        self.maker = Maker(random.Random(seed), jobs)
        self.whole, self.noisy = Peer(address, pair), Peer(address, pair)
        self.sent = self.twice = self._number = 0
        self.answers: Counter[str] = Counter()
        self.open: dict[bytes, bytes] = {}
        self.strange: list[str] = []
        self._ended: set[bytes] = set()

    def close(self) -> None:
        """Close its sockets."""
        for peer in (self.whole, self.noisy):
            peer.__exit__(None, None, None)

    def run(self, count: int, until: Callable[[], bool] = lambda: True) -> None:
        """Send so many messages, half of them whole; ends early where `until` says no, or nothing is answered."""
        self.whole.hello()
        self.noisy.hello()
        end = self.sent + count
        while self.sent < end and until():
            for _ in range(50):
                self._number += 1
                frames = self.maker.whole(self._number)
                if not self._room():
                    return
                if frames is not None and self.whole.put(frames):
                    self.open[frames[0]] = frames[1]
                    self.sent += 1
                self.sent += self.noisy.put(self.maker.noise())
            self._listen(0)

    def _room(self) -> bool:
        """Wait until a whole message may be sent: a slow server gets as many as a fast one. Return whether it may."""
        end = time.monotonic() + WAIT_MS / 1000
        while len(self.open) >= MANY and time.monotonic() < end:
            self._listen(50)
        return len(self.open) < MANY

    def settle(self, timeout_s: float) -> None:
        """Wait for what is open."""
        end = time.monotonic() + timeout_s
        while self.open and time.monotonic() < end:
            self.whole.put([b"", encode(m.Ping())])
            self._listen(50)

    def _listen(self, timeout_ms: int) -> None:
        for peer in (self.whole, self.noisy):
            wait = timeout_ms
            for _ in range(1000):
                got = peer.get(wait)
                if got is None:
                    break
                wait = 0
                id, record, payload = got
                name = record.__struct_config__.tag
                self.answers[f"{name} {record.code}" if isinstance(record, m.Failure) else name] += 1
                if isinstance(record, m.Failure) and record.code in ("internal", "unavailable"):
                    self.strange.append(f"{record.kind}: {record.text}: {self.open.get(id, b'')[:200]!r}")
                if peer is self.whole:
                    self._heard(id, record, payload)
                elif isinstance(record, m.Failure) and record.code == "hello":
                    peer.put([b"hello", encode(m.Hello())])

    def _heard(self, id: bytes, record: m.Record, payload: bytes | None) -> None:
        if isinstance(record, m.Event) or not id or id == b"hello":
            return
        if isinstance(record, m.Chunk) and record.offset + len(payload or b"") < record.total:
            self.whole.put([b"", encode(m.Credit(fetch=id, chunks=16))])
            return
        if id in self._ended:
            self.twice += 1
        self.open.pop(id, None)
        self._ended.add(id)


class GoodClient:
    """A client that keeps the rules, on a thread of its own. A context manager.

    It pings, looks at a job and fetches its grid, again and again, and measures how long that takes.
    """

    def __init__(self, address: str, job: str, pair: KeyPair | None = None, pause_s: float = 0.02) -> None:
        self.address, self.job, self.pair, self.pause_s = address, job, pair, pause_s
        self.waits_ms: list[float] = []
        self.failed: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join(2 * WAIT_MS / 1000)

    def _work(self) -> None:
        with Peer(self.address, self.pair) as peer:
            peer.hello()
            number = 0
            while not (number and self._stop.is_set()):  # once at least, however short the time
                for record in (m.Ping(), m.Show(job=self.job), m.Fetch(job=self.job, credit=16)):
                    number += 1
                    start = time.monotonic()
                    answer = peer.ask(record, number.to_bytes(4, "big"))
                    self.waits_ms.append(1000 * (time.monotonic() - start))
                    if not isinstance(answer, m.Pong | m.JobInfo | m.Chunk):
                        self.failed.append(msgspec.json.encode(answer).decode())
                self._stop.wait(self.pause_s)
