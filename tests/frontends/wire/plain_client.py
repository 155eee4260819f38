"""A client written from docs/wire.md alone, with nothing of Salon: pyzmq and msgpack only.

One thread, one socket. Records are plain dicts. A request that fails raises `Refused`.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator
from typing import Any

import msgpack  # type: ignore[import-untyped]
import zmq

Record = dict[str, Any]
BEAT_S = 4.0  # a waiting client pings that often, or the server forgets its connection


class Refused(Exception):
    """The server's failure; `code`, `kind` and `record` as it sent them."""

    def __init__(self, record: Record) -> None:
        super().__init__(record["text"])
        self.record = record
        self.code: str = record["code"]
        self.kind: str = record["kind"]


class Silent(Exception):
    """Nothing came in time."""


class PlainClient:
    """A connection.

    Args:
        address: `tcp://HOST:PORT`, with `#` and the server's public key in hex where it is encrypted.
        public, secret: the client's key pair, 64 hex digits each, for an address with a key.
        timeout_s: of each wait.
        version, oldest, features: what `hello` tells.
    """

    def __init__(
        self,
        address: str,
        *,
        public: str = "",
        secret: str = "",
        timeout_s: float = 60.0,
        version: int = 1,
        oldest: int = 1,
        features: tuple[str, ...] = (
            "previews",
            "private",
            "ops",
            "parameters",
            "kinds",
            "language",
            "wildcards",
            "texts",
            "taste",
            "loras",
            "entry",
            "moderation",
            "chat",
            "organize",
            "again",
            "operate",
            "values",
        ),
    ) -> None:
        self.endpoint, _, self.server_key = address.partition("#")
        self.public, self.secret = public, secret
        self.timeout_s = timeout_s
        self.hello_record: Record = {"type": "hello", "version": version, "oldest": oldest, "features": list(features)}
        self.welcome: Record = {}
        self.notices: list[Record] = []
        self.pending: dict[bytes, Record] = {}  # requests without their final answer
        self.waiting: list[tuple[bytes, Record, bytes | None]] = []  # answers that nobody asked for yet
        self._context = zmq.Context()
        self._count = 0
        self._open()

    def _open(self) -> None:
        socket = self._context.socket(zmq.DEALER)
        socket.setsockopt(zmq.MAXMSGSIZE, 1 << 20)
        socket.setsockopt(zmq.LINGER, 200)
        socket.setsockopt(zmq.SNDTIMEO, 5000)  # while nobody lets us in, there is no room either
        socket.setsockopt(zmq.RECONNECT_IVL, 100)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 5000)
        if "[" in self.endpoint:
            socket.setsockopt(zmq.IPV6, 1)
        if self.server_key:
            socket.setsockopt(zmq.CURVE_SERVERKEY, bytes.fromhex(self.server_key))
            socket.setsockopt(zmq.CURVE_PUBLICKEY, bytes.fromhex(self.public))
            socket.setsockopt(zmq.CURVE_SECRETKEY, bytes.fromhex(self.secret))
        socket.connect(self.endpoint)
        self.socket = socket

    def close(self) -> None:
        """Say bye and leave."""
        with contextlib.suppress(zmq.Again):
            self.socket.send_multipart([b"", msgpack.packb({"type": "bye"})], zmq.NOBLOCK)
        self.socket.close()
        self._context.term()

    def __enter__(self) -> PlainClient:
        self.hello()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # ---- frames ----------------------------------------------------------------------------------------------------

    def notify(self, record: Record) -> None:
        """Send a notice."""
        self.socket.send_multipart([b"", msgpack.packb(record)])

    def send(self, record: Record) -> bytes:
        """Send a request; its id."""
        self._count += 1
        id = self._count.to_bytes(4, "big")
        self.pending[id] = record
        self.socket.send_multipart([id, msgpack.packb(record)])
        return id

    def _receive(self, deadline: float) -> tuple[bytes, Record, bytes | None]:
        """The next answer to a pending request. Says hello again if the server does not know this connection."""
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Silent(f"no answer to {[record['type'] for record in self.pending.values()]}")
            if not self.socket.poll(int(min(left, BEAT_S) * 1000) + 1):
                if left > BEAT_S:
                    self.notify({"type": "ping"})
                continue
            id, body, *rest = self.socket.recv_multipart()
            record = msgpack.unpackb(body)
            if not id:
                self.notices.append(record)
            elif record["type"] == "failure" and record["code"] == "hello" and self.pending[id]["type"] != "hello":
                self._again(deadline)
            elif id in self.pending:
                if self._is_final(id, record, rest):
                    del self.pending[id]
                return id, record, rest[0] if rest else None

    def _is_final(self, id: bytes, record: Record, rest: list[bytes]) -> bool:
        kind = self.pending[id]["type"]
        if kind == "fetch" and record["type"] == "chunk":
            return bool(record["offset"] + len(rest[0]) == record["total"])
        return not (kind == "watch" and record["type"] == "event")

    def _again(self, deadline: float) -> None:
        """Say hello, then repeat what is unanswered, under the same ids."""
        pending, self.pending = self.pending, {}
        hello = self.send(self.hello_record)
        while hello in self.pending:  # whatever else comes was meant for the connection that is gone
            if not self.socket.poll(max(0, int((deadline - time.monotonic()) * 1000))):
                raise Silent("no answer to hello")
            id, body, *_ = self.socket.recv_multipart()
            if id == hello:
                self.welcome = msgpack.unpackb(body)
                del self.pending[hello]
        self.pending = pending
        for id, record in pending.items():
            self.socket.send_multipart([id, msgpack.packb(record)])

    def answer(self, id: bytes, timeout_s: float | None = None) -> tuple[Record, bytes | None]:
        """The next answer to one request; those to others are kept until they are asked for."""
        kept = next((index for index, answer in enumerate(self.waiting) if answer[0] == id), None)
        if kept is not None:
            _, record, payload = self.waiting.pop(kept)
        else:
            deadline = time.monotonic() + (self.timeout_s if timeout_s is None else timeout_s)
            while True:
                other, record, payload = self._receive(deadline)
                if other == id:
                    break
                self.waiting.append((other, record, payload))
        if record["type"] == "failure":
            raise Refused(record)
        return record, payload

    def ask(self, type: str, **fields: Any) -> Record:
        """A request with one answer."""
        return self.answer(self.send({"type": type, **fields}))[0]

    # ---- requests --------------------------------------------------------------------------------------------------

    def hello(self) -> Record:
        """The first thing to say."""
        self.welcome = self.answer(self.send(self.hello_record))[0]
        return self.welcome

    def ping(self) -> None:
        """Say something, and wait for the answer."""
        assert self.ask("ping")["type"] == "pong"

    def submit(self, key: str, prompt: str, **fields: Any) -> Record:
        """The job, once it is on the server's disk."""
        job: Record = self.ask("submit", key=key, prompt=prompt, **fields)["job"]
        return job

    def watch(self, job: str, *, after: int = 0, previews: bool = False) -> Iterator[tuple[Record, bytes | None]]:
        """(event, JPEG of a preview or None), until the final one. Goes on by itself where it was."""
        request = {"type": "watch", "job": job, "after": after, "previews": previews}
        id = self.send(request)
        while True:
            record, payload = self.answer(id)
            if record["type"] == "watched":
                return
            request["after"] = record["number"]  # what is repeated after a break
            yield record, payload

    def fetch(self, job: str, index: int = -1, *, offset: int = 0, credit: int = 4) -> bytes:
        """A picture's file from a byte on; checked, if that is the first."""
        request = {"type": "fetch", "job": job, "index": index, "offset": offset, "credit": credit}
        id = self.send(request)
        data = b""
        while True:
            record, payload = self.answer(id)
            assert payload is not None
            assert record["offset"] == offset + len(data)
            data += payload
            request["offset"] = offset + len(data)
            if offset + len(data) == record["total"]:
                break
            self.notify({"type": "credit", "fetch": id, "chunks": 1})
        if offset == 0:
            assert hashlib.sha256(data).hexdigest() == record["digest"]
        return data

    def show(self, job: str) -> Record:
        """A job."""
        return self.ask("show", job=job)

    def jobs(self, **fields: Any) -> Iterator[Record]:
        """Jobs, newest first, page after page."""
        before = 0
        while True:
            page = self.ask("list", before=before, **fields)
            yield from page["jobs"]
            before = page.get("next", 0)
            if not before:
                return

    def cancel(self, job: str) -> bool:
        """Whether it had not ended yet."""
        changed: bool = self.ask("cancel", job=job).get("changed", True)
        return changed

    def delete(self, job: str) -> None:
        """Remove what is left of a job."""
        self.ask("delete", job=job)

    def info(self) -> Record:
        """The own account."""
        return self.ask("info")
