"""A client written from `docs/wire.md` of commit 5dbd8b1 alone, with pyzmq and msgpack and nothing of Salon.

It stands for all that others wrote. It may only be changed where that page was wrong: where the server does not do what
this expects, the server is.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgpack  # type: ignore[import-untyped]
import zmq

Record = dict[str, Any]
Answer = tuple[Record, bytes]
FINAL = ("done", "failed", "cancelled", "blocked")
KINDS = ("queued", "started", "step", "preview", "image", "paused", "resumed", "requeued", *FINAL)
CODES = ("invalid", "refused", "not_found", "forbidden", "too_fast", "busy", "too_large", "draining", "unavailable",
         "unsupported", "hello", "internal")  # fmt: skip
ANSWERS = ("welcome", "pong", "accepted", "job", "event", "watched", "jobs", "done", "chunk", "account", "accounts",
           "ledger", "status", "workers", "failure", "closing")  # fmt: skip


class Refused(Exception):
    """A `failure`. An unknown code is treated like `internal`."""

    def __init__(self, failure: Record) -> None:
        super().__init__(failure["text"])
        self.code = failure["code"] if failure["code"] in CODES else "internal"
        self.kind = failure["kind"]


class PageClient:
    """A connection, for one thread. `hello`: what it says besides the features that the page knows."""

    def __init__(self, address: str, **hello: Any) -> None:
        self.greeting: Record = {"type": "hello", "features": ["previews", "private", "ops"], **hello}
        self.socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.setsockopt(zmq.MAXMSGSIZE, 1 << 20)
        self.socket.setsockopt(zmq.LINGER, 100)
        self.socket.connect(address)
        self.count = 0
        self.unanswered: dict[bytes, Record] = {}  # in the order in which they were sent
        self.answers: dict[bytes, deque[Answer]] = {}
        self.notices: list[Record] = []
        self.welcome, self.limits = Record(), Record()
        self.hello()

    def close(self) -> None:
        """Leave."""
        self.send(b"", {"type": "bye"})
        self.socket.close()

    def hello(self) -> None:
        """Say hello, wait for `welcome`, and send again whatever has no final answer."""
        id = self._new_id()
        self.send(id, self.greeting)
        other = b""
        while other != id:  # what else comes was meant for the connection of before
            other, record, _ = self._receive(time.monotonic() + 60)
        if record["type"] == "failure":
            raise Refused(record)
        self.welcome, self.limits = record, record.get("limits", {})
        for id, request in self.unanswered.items():
            self.send(id, request)

    def begin(self, type: str, **fields: Any) -> bytes:
        """Send a request; its id."""
        id = self._new_id()
        self.unanswered[id] = {"type": type, **fields}
        self.answers[id] = deque()
        self.send(id, self.unanswered[id])
        return id

    def next(self, id: bytes, timeout_s: float = 60.0) -> Answer:
        """The next answer to a request. Refused: it is a `failure`."""
        deadline = time.monotonic() + timeout_s
        while not self.answers[id]:
            other, record, payload = self._receive(deadline)
            if record["type"] not in ANSWERS:  # of a newer server
                continue
            if record["type"] == "failure" and record["code"] == "hello":
                self.hello()
            elif not other:
                self.notices.append(record)
            elif other in self.unanswered:
                self._take(other, record, payload)
        record, payload = self.answers[id].popleft()
        if record["type"] == "failure":
            raise Refused(record)
        return record, payload

    def ask(self, type: str, **fields: Any) -> Record:
        """A request with one answer."""
        return self.next(self.begin(type, **fields))[0]

    def watch(self, job: str, after: int = 0, previews: bool = False) -> Iterator[Answer]:
        """Events of a kind that the page knows, with the JPEG of a preview, until all have been told."""
        id = self.begin("watch", job=job, after=after, previews=previews)
        while (answer := self.next(id))[0]["type"] != "watched":
            if answer[0]["kind"] in KINDS:
                yield answer

    def fetch(self, job: str, index: int = -1, credit: int = 2) -> bytes:
        """A picture's file, whole and checked."""
        id = self.begin("fetch", job=job, index=index, offset=0, credit=credit)
        data = b""
        while True:
            record, payload = self.next(id)
            assert record["offset"] == len(data), "chunks come in order"
            data += payload
            if len(data) == record["total"]:
                assert hashlib.sha256(data).hexdigest() == record["digest"]
                return data
            self.send(b"", {"type": "credit", "fetch": id, "chunks": 1})

    def _take(self, id: bytes, record: Record, payload: bytes) -> None:
        """Put an answer down; what is asked again after a break goes on behind it."""
        request = self.unanswered[id]
        if record["type"] == "event":
            request["after"] = record["number"]
        elif record["type"] == "chunk" and record["offset"] + len(payload) < record["total"]:
            request["offset"] = record["offset"] + len(payload)
        else:
            del self.unanswered[id]
        self.answers[id].append((record, payload))

    def _new_id(self) -> bytes:
        self.count += 1
        return self.count.to_bytes(4, "big")

    def send(self, id: bytes, record: Record) -> None:
        """Send a record; with an empty id it is a notice."""
        self.socket.send_multipart([id, msgpack.packb(record)])

    def _receive(self, deadline: float) -> tuple[bytes, Record, bytes]:
        beat_ms = self.limits.get("heartbeat_ms", 5000) / 2
        while (left_ms := (deadline - time.monotonic()) * 1000) > 0:
            if self.socket.poll(min(left_ms, beat_ms)):
                id, body, *rest = self.socket.recv_multipart()
                return id, msgpack.unpackb(body), rest[0] if rest else b""
            self.send(b"", {"type": "ping"})
        raise TimeoutError(f"no answer to {[request['type'] for request in self.unanswered.values()]}")
