"""Many clients in one process: DEALER sockets that speak the wire themselves, so that no client library is measured.

`python -m salon.bench.wire.load`; commands as in `fleet.Child`. Every wait ends after `WAIT_MS`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import Any, Final

import zmq

from ...frontends.wire.address import parse_address
from ...frontends.wire.codec import decode_reply, encode
from ...frontends.wire.keys import make_pair, secure_client
from ...frontends.wire.messages import Credit, Event, Failure, Fetch, Hello, Ping, Record, Submit, Watch
from ..answers import serve
from ..measure import quantile
from .echo import CHUNK

WAIT_MS: Final = 60_000
CREDIT: Final = 16
AGAIN: Final = 8  # chunks, after which as many are asked for again, like the client library
PING_S: Final = 4.0

Socket = zmq.Socket[bytes]


class LoadError(Exception):
    """Not what should have come."""


class Load:
    """Clients of one server at a time."""

    def __init__(self) -> None:
        self.context = zmq.Context()
        self.context.set(zmq.MAX_SOCKETS, 4096)
        self.sockets: list[Socket] = []

    def connect(self, address: str, clients: int, hello: bool = True) -> dict[str, Any]:
        """Connect new clients, in place of those before.

        Each has a welcome (with `hello`), or an answer of the echo.
        """
        self.leave()
        place = parse_address(address)
        for _ in range(clients):
            socket = self.context.socket(zmq.DEALER)
            socket.set(zmq.LINGER, 0)
            socket.set(zmq.RCVHWM, 0)
            if place.server_key:
                secure_client(socket, make_pair(), place.server_key)
            socket.connect(place.endpoint)
            self.sockets.append(socket)
        self._all(encode(Hello(client="bench")), "welcome" if hello else "hello")
        return {}

    def leave(self) -> dict[str, Any]:
        """Close all connections."""
        for socket in self.sockets:
            socket.close()
        self.sockets = []
        return {}

    def idle(self, seconds: float) -> dict[str, Any]:
        """Do nothing but what keeps connections."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, PING_S))
            self._all(encode(Ping()), "p")
        return {}

    def ask(self, records: Sequence[str]) -> dict[str, Any]:
        """Return the answers to these records (hex) of the first client, in hex."""
        return {"answers": [self._ask(self.sockets[0], bytes.fromhex(record)).hex() for record in records]}

    def drive(self, records: Sequence[str], kinds: Sequence[str], window: int, seconds: float) -> dict[str, Any]:
        """Let each client keep `window` requests going. Return answers a second, and their latencies in ms.

        The clients take turns through `records` (hex), whose answers have to be of `kinds`.
        """
        bodies = [bytes.fromhex(record) for record in records]
        wanted = [kind.encode() for kind in kinds]
        poller = zmq.Poller()
        latencies: list[float] = []
        add, clock, many = latencies.append, time.perf_counter, len(bodies)
        sent: dict[Socket, dict[bytes, tuple[float, int]]] = {}
        turns: dict[Socket, int] = {}
        start = clock()
        for number, socket in enumerate(self.sockets):
            poller.register(socket, zmq.POLLIN)
            sent[socket], turns[socket] = {}, number * window
            for _ in range(window):
                self._next(socket, sent[socket], turns, bodies, many)
        end = start + seconds
        waiting = window * len(self.sockets)
        late = end
        while waiting:
            ready = poller.poll(WAIT_MS)
            if not ready:
                raise LoadError(f"{waiting} answers did not come within {WAIT_MS / 1e3:g} s")
            for socket, _ in ready:
                open_ = sent[socket]
                while True:
                    try:
                        id = socket.recv(zmq.NOBLOCK)
                    except zmq.Again:
                        break
                    record = socket.recv()
                    now = clock()
                    at, turn = open_.pop(id)
                    if wanted[turn] not in record[:24]:
                        raise LoadError(f"got {record[:60]!r}, wanted {kinds[turn]}")
                    add(now - at)
                    waiting -= 1
                    if now < end:
                        self._next(socket, open_, turns, bodies, many)
                        waiting += 1
                    late = now
        ms = [1e3 * value for value in latencies]
        return {"rate": len(ms) / (late - start), "p50_ms": quantile(ms, 0.5), "p99_ms": quantile(ms, 0.99)}

    @staticmethod
    def _next(
        socket: Socket, open_: dict[bytes, tuple[float, int]], turns: dict[Socket, int], bodies: list[bytes], many: int
    ) -> None:
        number = turns[socket]
        turns[socket] = number + 1
        id = number.to_bytes(4, "big")
        open_[id] = (time.perf_counter(), number % many)
        socket.send(id, zmq.SNDMORE)
        socket.send(bodies[number % many])

    def fetch(self, job: str, total: int, raw: bool, check: str = "") -> dict[str, Any]:
        """Let every client fetch picture 0 of `job`, `total` bytes, at the same time.

        Return the milliseconds until all have all of it. `raw`: from the echo. `check`: its sha256.
        """
        request = CHUNK if raw else encode(Fetch(job=job, index=0, credit=CREDIT))
        more = encode(Credit(fetch=b"f", chunks=AGAIN))
        poller = zmq.Poller()
        left = dict.fromkeys(self.sockets, total)
        owed = dict.fromkeys(self.sockets, 0)
        found = {socket: hashlib.sha256() for socket in self.sockets} if check else {}
        start = time.perf_counter()
        for socket in self.sockets:
            poller.register(socket, zmq.POLLIN)
            socket.send_multipart([b"f", request])
        while any(left.values()):
            ready = poller.poll(WAIT_MS)
            if not ready:
                raise LoadError(f"chunks did not come within {WAIT_MS / 1e3:g} s")
            for socket, _ in ready:
                frames = socket.recv_multipart()
                if len(frames) != 3:
                    raise LoadError(f"got {frames[-1][:200]!r} for a chunk")
                left[socket] -= len(frames[2])
                if check:
                    found[socket].update(frames[2])
                owed[socket] += 1
                if owed[socket] == AGAIN and not raw:
                    owed[socket] = 0
                    if left[socket]:
                        socket.send_multipart([b"", more])
        ms = 1e3 * (time.perf_counter() - start)
        if any(digest.hexdigest() != check for digest in found.values()):
            raise LoadError("the bytes are not those of the picture")
        return {"ms": ms}

    def submit(self, prefix: str, each: int) -> dict[str, Any]:
        """Let every client submit `each` small jobs, one after the other.

        Return the milliseconds to each acknowledgement.
        """
        poller = zmq.Poller()
        numbers = dict.fromkeys(self.sockets, 0)
        at: dict[Socket, float] = {}
        latencies: list[float] = []

        def send(socket: Socket) -> None:
            number = numbers[socket]
            numbers[socket] += 1
            key = f"{prefix}-{names[socket]}-{number}"
            record = encode(Submit(key=key, prompt="a red apple, 3d render, on a teal background", images=1, steps=20))
            at[socket] = time.perf_counter()
            socket.send_multipart([number.to_bytes(4, "big"), record])

        names = {socket: number for number, socket in enumerate(self.sockets)}
        begin = time.perf_counter()
        for socket in self.sockets:
            poller.register(socket, zmq.POLLIN)
            send(socket)
        open_ = len(self.sockets)
        while open_:
            ready = poller.poll(WAIT_MS)
            if not ready:
                raise LoadError(f"an acknowledgement did not come within {WAIT_MS / 1e3:g} s")
            for socket, _ in ready:
                _, record = socket.recv_multipart()
                latencies.append(1e3 * (time.perf_counter() - at[socket]))
                if b"accepted" not in record[:24]:
                    raise LoadError(f"got {decode_reply(record)} for an acknowledgement")
                if numbers[socket] < each:
                    send(socket)
                else:
                    open_ -= 1
        return {"ms": latencies, "rate": len(latencies) / (time.perf_counter() - begin)}

    def grid(self, key: str, prompt: str, steps: int, seed: int) -> dict[str, Any]:
        """Let the first client have four pictures made, and fetch the grid.

        Return the milliseconds until the server tells that the job is done, and until the file is there.
        """
        socket = self.sockets[0]
        start = time.perf_counter()
        made = self._told(socket, Submit(key=key, prompt=prompt, steps=steps, seed=seed))
        job = made["job"]["job"]
        socket.send_multipart([b"w", encode(Watch(job=job))])
        while True:
            event = self._receive(socket)[1]
            reply = decode_reply(event)
            if isinstance(reply, Failure) or (isinstance(reply, Event) and reply.kind in ("failed", "blocked")):
                raise LoadError(f"the job of the grid: {reply}")
            if isinstance(reply, Event) and reply.kind == "done":
                break
        done = time.perf_counter()
        self._receive(socket)  # watched
        socket.send_multipart([b"f", encode(Fetch(job=job, credit=CREDIT))])
        frames = self._receive(socket)  # the grid of the embedded model is smaller than a chunk
        if len(frames) != 3 or frames[2][:4] != b"\x89PNG":
            raise LoadError(f"got {frames[1][:200]!r} for the grid")
        return {"done_ms": 1e3 * (done - start), "file_ms": 1e3 * (time.perf_counter() - start)}

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _all(self, record: bytes, kind: str) -> None:
        for socket in self.sockets:
            socket.send_multipart([b"a", record])
        for socket in self.sockets:
            frames = self._receive(socket)
            if kind.encode() not in frames[1][:24]:
                raise LoadError(f"got {frames[1][:200]!r}, wanted {kind}")

    def _ask(self, socket: Socket, record: bytes) -> bytes:
        socket.send_multipart([b"q", record])
        return self._receive(socket)[1]

    def _told(self, socket: Socket, request: Record) -> dict[str, Any]:
        import msgspec

        told: dict[str, Any] = msgspec.to_builtins(decode_reply(self._ask(socket, encode(request))))
        if told["type"] == "failure":
            raise LoadError(told["text"])
        return told

    @staticmethod
    def _receive(socket: Socket) -> list[bytes]:
        if not socket.poll(WAIT_MS):
            raise LoadError(f"no answer within {WAIT_MS / 1e3:g} s")
        return socket.recv_multipart()


if __name__ == "__main__":
    serve(Load())
