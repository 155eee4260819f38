"""Make trouble on a server's socket on demand: refusals, lost answers, silence, broken connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

import zmq

from ..wire import messages as m
from ..wire.codec import encode
from ..wire.frames import NO_ID, NOTICES
from ..zmq.failures import RequestRefused
from ..zmq.router import Buffer, Router
from ..zmq.sessions import Session

BIND_S: Final = 5.0  # the longest wait until the former socket has released the address
ARRIVE_MS: Final = 10_000  # the longest wait, at a cut, until what was sent before it has gone out


class TroubledRouter(Router):
    """The real router, which makes trouble when tests ask for it. Used on the event loop's thread.

    Attributes:
        requests: all requests that were understood, in order.
        answered: those that were answered, in order of their (first) answers.
        delay_s: pause before each answer, in seconds.
        refusals: (failure, the type of request that gets it, or "": any), each used once.
        lost: types of requests whose answers get lost, with the connection, each used once.
        cuts: bytes of a picture after which all connections break, each used once.
        answers: type of request -> the record or frames that answer every request of the type, which is not carried
            out.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.requests: list[m.Request] = []
        self.answered: list[m.Request] = []
        self.delay_s = 0.0
        self.refusals: list[tuple[m.Failure, str]] = []
        self.lost: list[str] = []
        self.cuts: list[int] = []
        self.answers: dict[str, m.Record | list[bytes]] = {}
        self._deaf_until = 0.0
        self._losing: set[tuple[bytes, bytes]] = set()
        self._asked: dict[tuple[bytes, bytes], m.Request] = {}
        self._cutting = False

    # ---- trouble on demand -----------------------------------------------------------------------------------------

    def silence(self, seconds: float) -> None:
        """Neither read nor send for so long.

        Afterwards, clients that are still there get the messages that were held back.
        """
        self._deaf_until = time.monotonic() + seconds

    def forget(self) -> None:
        """Lose all sessions, but not the connections."""
        for session in list(self.sessions.values()):
            self._forget(session)

    def rebind(self) -> None:
        """Break all connections, and listen again at the same addresses."""
        self.forget()
        linger_ms, self._cutting = ARRIVE_MS if self._cutting else 0, False
        self._losing.clear()
        if self._loop is None:
            return
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close(linger_ms)
        self._socket = self._open()
        places, self._places = self._places, []
        for place in places:
            self.bind(place)
        self._loop.add_reader(self._socket.fileno(), self._pump)
        self._wake()

    def say(self, data: bytes, id: bytes = NO_ID) -> None:
        """Send all clients a message that they have not asked for."""
        for route in list(self.sessions):
            self._send(route, [id, data])

    def bind(self, address: str) -> str:
        """Bind as `Router.bind`, once a socket that is just being closed has released the address."""
        end = time.monotonic() + BIND_S
        while True:
            try:
                return super().bind(address)
            except zmq.ZMQError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)

    # ---- interception of messages ----------------------------------------------------------------------------------

    def heard_hello(self, hello: m.Hello) -> None:
        """Record a Hello. Raise RequestRefused if a test has ordered that."""
        self.requests.append(hello)
        time.sleep(self.delay_s)
        if (refusal := next((one for one in self.refusals if one[1] == "hello"), None)) is not None:
            self.refusals.remove(refusal)
            failure = refusal[0]
            raise RequestRefused(failure.code, failure.text, failure.retry_after_ms, failure.kind)

    def _one(self, route: bytes) -> None:
        if time.monotonic() < self._deaf_until:
            self._socket.recv_multipart()
            return
        super()._one(route)

    def _accept(self, session: Session, id: bytes, request: m.Request) -> None:
        if not isinstance(request, m.Hello):
            self.requests.append(request)
            self._asked[session.route, id] = request
            time.sleep(self.delay_s)
            kind = str(type(request).__struct_config__.tag)
            if id and not isinstance(request, NOTICES):
                if (refusal := next((one for one in self.refusals if one[1] in ("", kind)), None)) is not None:
                    self.refusals.remove(refusal)
                    self.reply(session, id, refusal[0])
                    return
                if (answer := self.answers.get(kind)) is not None:
                    if isinstance(answer, m.Record):
                        self.reply(session, id, answer)
                    else:
                        self.reply_frames(session, [id, *answer])
                    return
                if kind in self.lost:
                    self.lost.remove(kind)
                    self._losing.add((session.route, id))
        super()._accept(session, id, request)

    def reply(self, session: Session, id: bytes, record: m.Record, payload: Buffer | None = None) -> bool:
        if (session.route, id) in self._losing and not session.gone:
            asyncio.get_running_loop().call_soon(self.rebind)
            return False
        sent = super().reply(session, id, record, payload)
        if (request := self._asked.pop((session.route, id), None)) is not None:
            self.answered.append(request)
        end = record.offset + len(payload) if isinstance(record, m.Chunk) and payload is not None else -1
        if self.cuts and end >= self.cuts[0] and not self._cutting:
            self.cuts.pop(0)
            self._cutting = True
            asyncio.get_running_loop().call_soon(self.rebind)
        return sent

    def _send(self, route: bytes, frames: Sequence[Buffer]) -> bool | None:
        if self._cutting:
            return True  # it is on its way nowhere
        return False if time.monotonic() < self._deaf_until else super()._send(route, frames)


def closing(reason: str, retry_after_ms: int) -> bytes:
    """Return the notice that connections end."""
    return encode(m.Closing(reason=reason, retry_after_ms=retry_after_ms))
