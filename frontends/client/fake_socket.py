"""The socket of a fake server: bound, bound again, read and written; with CURVE, and who may come in, if asked for."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Final

import zmq

from ...bounds import LOCAL
from ..wire.address import Address, parse_address

if TYPE_CHECKING:
    from ..wire.keys import KeyPair

BIND_S: Final = 5.0  # until the socket before it is closed
_ZAP: Final = "inproc://zeromq.zap.01"


class FakeSocket:
    """Used by the server's thread only.

    Args:
        address: where to bind; port 0: any free one, and the same one again later.
        pair: encrypt.
        let_in: with `pair`: only these public keys (hex); None: all.

    Attributes:
        place: where clients find it.
    """

    def __init__(self, address: str, pair: KeyPair | None, let_in: Collection[str] | None) -> None:
        self.place = parse_address(address, bind=True)
        self._pair, self._let_in = pair, let_in
        # There is one ZAP for each context, so who needs one takes a context of his own; inproc needs the common one.
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance() if pair is None else zmq.Context()
        self._router: zmq.Socket[bytes] | None = None
        self._zap: zmq.Socket[bytes] | None = None

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """What to poll for input."""
        return [socket for socket in (self._router, self._zap) if socket is not None]

    def bind(self) -> None:
        """Listen. ZMQError: the place is taken."""
        router = self._context.socket(zmq.ROUTER)
        router.linger = 0
        router.set(zmq.SNDHWM, 0)  # it keeps all: what a ROUTER has no room for is lost without a word
        router.ipv6 = self.place.is_ipv6
        if self._pair is not None:
            from ..wire.keys import secure_server

            if self._zap is None:
                self._zap = self._context.socket(zmq.REP)
                self._zap.linger = 0
                self._zap.bind(_ZAP)
            secure_server(router, self._pair)
        place, end = self.place, time.monotonic() + BIND_S
        any_port = place.transport == "tcp" and not place.port
        while True:
            try:
                router.bind(place.endpoint[:-1] + "*" if any_port else place.endpoint)
                break
            except zmq.ZMQError:  # the socket before it is still being closed
                if time.monotonic() > end:
                    router.close(0)
                    raise
                time.sleep(0.01)
        bound = router.getsockopt(zmq.LAST_ENDPOINT)
        assert isinstance(bound, bytes)
        port = int(bound.rstrip(b"\0").rpartition(b":")[2]) if any_port else place.port
        self.place = Address(place.transport, place.host, port, self._pair.public if self._pair is not None else "")
        self._router = router

    def rebind(self) -> None:
        """Break all connections, and listen again at the same place."""
        if self._router is not None:
            self._router.close(0)
        self.bind()

    def receive(self) -> Iterator[tuple[list[bytes], str]]:
        """(frames, account) of what came."""
        self._admit()
        router = self._router
        with contextlib.suppress(zmq.Again):
            while router is not None and router is self._router:
                message = router.recv_multipart(zmq.DONTWAIT, copy=False)
                account = LOCAL if self._pair is None else str(message[-1].get("User-Id"))
                yield [frame.bytes for frame in message], account

    def send(self, message: list[bytes]) -> None:
        """Frames, the route first; dropped where nobody is, as by any ROUTER."""
        assert self._router is not None
        with contextlib.suppress(zmq.Again):
            self._router.send_multipart(message, zmq.DONTWAIT)

    def close(self) -> None:
        """Be gone at once."""
        for socket in self.sockets:
            socket.close(0)
        self._router = self._zap = None
        if self._pair is not None:
            self._context.term()

    def _admit(self) -> None:
        """ZAP: who may come in, and under which name."""
        with contextlib.suppress(zmq.Again):
            while self._zap is not None:
                version, request, *_, key = self._zap.recv_multipart(zmq.DONTWAIT)
                name = key.hex()
                known = self._let_in is None or name in self._let_in
                status, text = (b"200", b"OK") if known else (b"400", b"unknown key")
                self._zap.send_multipart([version, request, status, text, name.encode(), b""])
