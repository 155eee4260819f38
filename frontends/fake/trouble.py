"""A server's socket that gets into trouble on demand: refusals, lost answers, silence, broken connections."""

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

BIND_S: Final = 5.0  # until the socket before it is closed
GONE_S: Final = 0.05  # what was sent before a cut gets there


class TroubledRouter(Router):
    """The real router; trouble is what tests ask for. On the loop's thread.

    Attributes:
        requests: everything that was understood, in order.
        delay_s: before each answer.
        refusals: (failure, the type of request that it is for, or "": any), used once each.
        lost: types of requests whose answers get lost, with the connection, once each.
        cuts: bytes of a picture after which all connections break, once each.
        answers: type of request -> what is answered to each of them, in place of what it asks for: a record, or frames.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.requests: list[m.Request] = []
        self.delay_s = 0.0
        self.refusals: list[tuple[m.Failure, str]] = []
        self.lost: list[str] = []
        self.cuts: list[int] = []
        self.answers: dict[str, m.Record | list[bytes]] = {}
        self._deaf_until = 0.0
        self._losing: set[tuple[bytes, bytes]] = set()
        self._cutting = False

    # ---- what can be made to happen --------------------------------------------------------------------------------

    def silence(self, seconds: float) -> None:
        """Hear and say nothing for so long; what would have been said is said then, to who is still there."""
        self._deaf_until = time.monotonic() + seconds

    def forget(self) -> None:
        """Lose all sessions, but not the connections."""
        for session in list(self.sessions.values()):
            self._forget(session)

    def rebind(self) -> None:
        """Break all connections, and listen again at the same places."""
        self.forget()
        self._cutting = False
        self._losing.clear()
        if self._loop is None:
            return
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close(0)
        self._socket = self._open()
        places, self._places = self._places, []
        for place in places:
            self.bind(place)
        self._loop.add_reader(self._socket.fileno(), self._pump)
        self._wake()

    def say(self, data: bytes, id: bytes = NO_ID) -> None:
        """Say something unasked to everybody."""
        for route in list(self.sessions):
            self._send(route, [id, data])

    def bind(self, address: str) -> str:
        """See `Router`; waits for the end of a socket that is just being closed there."""
        end = time.monotonic() + BIND_S
        while True:
            try:
                return super().bind(address)
            except zmq.ZMQError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)

    # ---- in the way of what goes in and out ------------------------------------------------------------------------

    def heard_hello(self, hello: m.Hello) -> None:
        """Take note that somebody says hello. RequestRefused, if that is on demand."""
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
        end = record.offset + len(payload) if isinstance(record, m.Chunk) and payload is not None else -1
        if self.cuts and end >= self.cuts[0] and not self._cutting:
            self.cuts.pop(0)
            self._cutting = True
            asyncio.get_running_loop().call_later(GONE_S, self.rebind)
        return sent

    def _send(self, route: bytes, frames: Sequence[Buffer]) -> bool | None:
        if self._cutting:
            return True  # it is on its way nowhere
        return False if time.monotonic() < self._deaf_until else super()._send(route, frames)


def closing(reason: str, retry_after_ms: int) -> bytes:
    """Return the notice that connections end."""
    return encode(m.Closing(reason=reason, retry_after_ms=retry_after_ms))
