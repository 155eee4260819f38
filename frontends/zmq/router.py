"""The one socket: what comes in is bounded before it is read, and so is what waits for its reader.

ZeroMQ fair-queues connections, so that a flood of one delays the others by a message each. Of each connection it keeps
128 messages that were not read here, and 64 that were not read there; a frame has at most `MAXMSGSIZE` bytes. Who reads
still less has answers kept here, up to bounds for a connection and for an account (`sessions.py`); then the connection
is forgotten, and has to say hello again.

What nothing bounds is the number of frames of a message that does not end: libzmq keeps them until the last one is
there, and has no option against it. docs/operations.md says what to do about peers that nobody trusts.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import zmq

from ..wire.codec import decode_request, encode
from ..wire.errors import BadMessage, MessageError
from ..wire.frames import NO_ID, NOTICES, split_request
from ..wire.keys import KeyPair, secure_server
from ..wire.messages import Bye, Closing, Hello, Limits, Ping, Pong, Record, Request
from .descriptors import max_sessions
from .failures import RequestRefused, failure_of
from .places import check_place
from .rates import MAX_WORKING, Rates
from .sessions import MAX_CONNECTIONS, MAX_HELD_BYTES, Holder, Session

LOG = logging.getLogger("salon.server")
AT_ONCE: Final = 256  # messages that are read before others get a turn
SNDHWM: Final = 64  # messages of a connection that libzmq keeps: 16 MiB of chunks; several fetches at full credit
RCVHWM: Final = 128
RETRY_S: Final = 0.02  # until a connection that did not read is tried again
FIRST: Final = int(zmq.NOBLOCK | zmq.SNDMORE)  # combining flags costs as much as sending does
MORE, NOBLOCK, RCVMORE = int(zmq.SNDMORE), int(zmq.NOBLOCK), int(zmq.RCVMORE)
PONG: Final = encode(Pong())

Buffer = bytes | memoryview
Welcomed = Callable[[Session, Hello], Record]
Handle = Callable[[Session, bytes, Request], None]


class Router:
    """The server's socket and its sessions. Belongs to the thread of the event loop.

    Args:
        context: whose ZAP handler knows the keys.
        limits: what is told to clients.
        rate, burst: of each account.
        welcome: makes the answer to a hello (and may refuse it); sets what the session may.
        handle: carries out a request; it answers by `reply`, now or later, once.
        key: of the server; None: no encryption, everybody is `local`.
    """

    def __init__(
        self,
        context: zmq.Context[Any],
        limits: Limits,
        *,
        rate: float,
        burst: int,
        welcome: Welcomed,
        handle: Handle,
        key: KeyPair | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sessions: dict[bytes, Session] = {}
        self.limits = limits
        self.received = self.refused = self.dropped = 0
        self._max_sessions = max_sessions()
        self._rates, self._clock = Rates(rate, burst, clock), clock
        self._welcome, self._handle = welcome, handle
        self._holders: dict[str, Holder] = {}  # by account
        self._dirty: dict[Session, None] = {}  # have something to be told
        self._stuck: dict[Session, None] = {}  # did not take it
        self._scheduled = self._pumping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context, self._key = context, key
        self._places: list[str] = []
        self.encrypted = key is not None
        self._socket = self._open()

    def _open(self) -> Any:
        """A socket that is not bound yet."""
        limits, key = self.limits, self._key
        socket = self._context.socket(zmq.ROUTER)
        socket.set(zmq.ROUTER_MANDATORY, 1)
        # Beyond, the connection is cut; what is just too large, and what encryption adds, gets through and an answer.
        socket.set(zmq.MAXMSGSIZE, limits.max_message + limits.max_message // 8)
        socket.set(zmq.SNDHWM, SNDHWM)
        socket.set(zmq.RCVHWM, RCVHWM)
        socket.set(zmq.LINGER, 500)
        socket.set(zmq.BACKLOG, 1024)
        socket.set(zmq.HANDSHAKE_IVL, 10_000)
        socket.set(zmq.HEARTBEAT_IVL, limits.heartbeat_ms)
        socket.set(zmq.HEARTBEAT_TIMEOUT, 3 * limits.heartbeat_ms)
        if key is not None:
            secure_server(socket, key)
        return socket

    def bind(self, address: str) -> str:
        """Listen there; the address with its port filled in. zmq.ZMQError, ListenError if that cannot be."""
        check_place(address)
        self._socket.set(zmq.IPV6, int("[" in address))  # else 127.0.0.1 is called [::ffff:127.0.0.1]
        self._socket.bind(address)
        self._places.append(str(self._socket.get_string(zmq.LAST_ENDPOINT)))
        return self._places[-1]

    def start(self) -> None:
        """Begin to read, on the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._pump)
        self._loop.call_later(RETRY_S, self._retry)
        self._wake()

    def close(self) -> None:
        """Read no more; what was sent may still go out for half a second."""
        if self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._loop = None
        for session in list(self.sessions.values()):
            session.close()
        self.sessions.clear()
        self._holders.clear()
        self._socket.close()

    # ---- out -------------------------------------------------------------------------------------------------------

    def reply(self, session: Session, id: bytes, record: Record, payload: Buffer | None = None) -> bool:
        """Send, or keep until it can be sent. False if the connection is gone."""
        frames: list[Buffer] = [id, encode(record)] if payload is None else [id, encode(record), payload]
        return self.reply_frames(session, frames)

    def reply_frames(self, session: Session, frames: list[Buffer]) -> bool:
        """`reply` with encoded frames."""
        if session.gone:
            return False
        if not session.outbox:
            sent = self._send(session.route, frames)
            if sent is not False:
                return sent is True or self._forget(session)
        self._stuck[session] = None
        if not session.keep(frames):
            return self._drop_lazy(session)
        if session.holder.waiting_bytes > MAX_HELD_BYTES:
            self._drop_lazy(session.holder.least_recent)
        return not session.gone

    def _drop_lazy(self, session: Session) -> bool:
        self.dropped += 1
        LOG.warning("connection dropped: it does not read", extra={"account": session.account})
        return self._forget(session)

    def touch(self, session: Session) -> None:
        """It has something to be told: a watch or a fetch may go on."""
        if not session.gone:
            self._dirty[session] = None
            self._wake()

    def closing(self, reason: str, retry_after_ms: int) -> None:
        """Tell everybody that the server ends."""
        frames: list[Buffer] = [NO_ID, encode(Closing(reason=reason, retry_after_ms=retry_after_ms))]
        for session in list(self.sessions.values()):
            self.reply_frames(session, list(frames))

    def drop(self, account: str) -> None:
        """End the sessions of an account."""
        holder = self._holders.get(account) or Holder()
        for session in list(holder.sessions):
            self.reply(session, NO_ID, Closing(reason="the account is blocked", retry_after_ms=-1))
            self._forget(session)

    def sweep(self) -> None:
        """Forget connections that were silent for three heartbeats."""
        limit = self._clock() - 3e-3 * self.limits.heartbeat_ms
        for session in [session for session in self.sessions.values() if session.heard < limit]:
            self._forget(session)
        self._rates.sweep()

    def _send(self, route: bytes, frames: Sequence[Buffer]) -> bool | None:
        """True: sent. False: it reads too slowly. None: nobody is there."""
        socket = self._socket
        if not self._pumping:
            self._wake()
        try:
            socket.send(route, FIRST)
            for frame in frames[:-1]:
                socket.send(frame, MORE)
            socket.send(frames[-1], copy=len(frames) < 3)
            return True
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno in (zmq.EHOSTUNREACH, zmq.ENOTSOCK):
                return None
            raise

    def _forget(self, session: Session) -> bool:
        self.sessions.pop(session.route, None)
        self._dirty.pop(session, None)
        self._stuck.pop(session, None)
        session.close()
        if not session.holder.sessions:
            self._holders.pop(session.account, None)
        return False

    def _flush(self, session: Session) -> None:
        """Send what waits, then what its watches have to tell."""
        while session.outbox:
            sent = self._send(session.route, session.outbox[0])
            if sent is None:
                self._forget(session)
            if not sent:
                return
            session.took()
        self._stuck.pop(session, None)
        for watcher in list(session.watchers.values()):
            while not session.outbox and (news := session.news(watcher)) is not None:
                record, payload = news
                if not self.reply(session, watcher.id, record, payload):
                    return
                number = getattr(record, "number", None)
                if number is None:
                    watcher.log.watchers.discard(watcher)
                    del session.watchers[watcher.id]
                    break
                watcher.told = number

    def _retry(self) -> None:
        if self._loop is None:
            return
        for session in list(self._stuck):
            self._flush(session)
        self._loop.call_later(RETRY_S, self._retry)

    # ---- in --------------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        """The descriptor tells edges only: after anything else used the socket, look again."""
        if not self._scheduled and self._loop is not None:
            self._scheduled = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._scheduled = False
        if self._loop is None:
            return
        self._pumping = True
        try:
            for _ in range(AT_ONCE):
                try:
                    route = self._socket.recv(NOBLOCK)
                except zmq.Again:
                    break
                self._one(route)
            dirty, self._dirty = self._dirty, {}
            for session in dirty:
                if not session.gone:
                    self._flush(session)
        finally:
            self._pumping = False
            if self._loop is not None and self._socket.get(zmq.EVENTS) & zmq.POLLIN:
                self._wake()

    def _one(self, route: bytes) -> None:
        """The rest of a message, from a connection."""
        self.received += 1
        session, socket = self.sessions.get(route), self._socket
        if session is None:
            self._stranger(route)
            return
        frames = [socket.recv()]
        while socket.get(RCVMORE):
            if len(frames) < 4:
                frames.append(socket.recv())
            else:
                socket.recv(copy=False)
        session.heard = self._clock()
        if session.outbox:
            self._dirty[session] = None  # it may have read, too
        try:
            id, body = split_request(frames)
            wait_s = self._rates.take(session.account)
            if id and (wait_s > 0 or session.working >= MAX_WORKING):  # nobody would send a notice again
                self.refused += 1
                self.reply(session, id, self._rates.refusal(wait_s))
                return
            self._accept(session, id, decode_request(body))
        except Exception as error:
            self.refused += 1
            self.reply(session, getattr(error, "id", b"") or frames[0][:16], failure_of(error))

    def _accept(self, session: Session, id: bytes, request: Request) -> None:
        """Carry out a request of a connection that has said hello. What it raises is answered."""
        if isinstance(request, Ping):
            self.reply_frames(session, [id, PONG])
            return
        if (id == NO_ID) != isinstance(request, NOTICES):
            raise BadMessage("id: a notice has none, anything else 1 to 16 bytes; correct it", id)
        if isinstance(request, Bye):
            self._forget(session)
        elif isinstance(request, Hello):
            self.reply(session, id, self._welcome(session, request))
        else:
            self._handle(session, id, request)

    def _stranger(self, route: bytes) -> None:
        """A message of a connection that has not said hello: that, or a refusal."""
        socket = self._socket
        parts = [socket.recv(copy=False)]
        while socket.get(RCVMORE):
            part = socket.recv(copy=False)
            if len(parts) < 4:
                parts.append(part)
        frames = [part.bytes for part in parts]
        id = frames[0][:16]
        try:
            account = self._account(parts[-1])
            if len(route) != 5 or route[0]:  # a chosen one could be that of somebody who just left
                raise BadMessage("ROUTING_ID: got one, allowed none; do not set it")
            id, body = split_request(frames)
            request = decode_request(body)
            if not isinstance(request, Hello):
                text = f"{type(request).__name__}: got it before Hello, allowed after; say hello, then repeat it"
                raise RequestRefused("hello", text, kind="HelloFirst")
            if len(self.sessions) >= self._max_sessions:
                raise RequestRefused("busy", f"connections: {self._max_sessions:,} already; come back later", 5000)
            holder = self._holders.get(account) or Holder()
            if self.encrypted and len(holder.sessions) >= MAX_CONNECTIONS:
                text = f"connections: {MAX_CONNECTIONS} of this account already; close some, or come back later"
                raise RequestRefused("busy", text, 5000)
            session = Session(route, account, False, self._clock(), holder)
            answer = self._welcome(session, request)
            self.sessions[route] = session
            self._holders[account] = holder
            holder.sessions.add(session)
            self.reply(session, id, answer)
        except Exception as error:
            self.refused += 1
            if isinstance(error, MessageError) and not id:
                return  # not even an answer could be matched
            self._send(route, [id, encode(failure_of(error))])

    def _account(self, part: zmq.Frame) -> str:
        """Who sent it: what the ZAP handler said, never what the client says."""
        if not self.encrypted:
            return "local"
        return str(part.get("User-Id"))
