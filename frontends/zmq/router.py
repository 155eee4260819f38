"""Carry all messages over one socket. What comes in is bounded before it is read, and so is what waits for its reader.

ZeroMQ fair-queues connections, so that a flood of one delays the others by a message each. For each connection it keeps
128 messages that this side has not read, and 64 that the peer has not read; a frame has at most `MAXMSGSIZE` bytes. If
a peer reads still less, its answers are kept here, up to bounds for a connection and for an account (`sessions.py`).
Beyond them the connection is forgotten, and has to say hello again.

The number of frames of a message that does not end has no bound: libzmq keeps them until the last one is there, and has
no option against it. docs/operations.md says what to do about peers that are not trusted.
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
AT_ONCE: Final = 256  # messages that are read before other tasks of the loop get a turn
SNDHWM: Final = 64  # messages of a connection that libzmq keeps: 16 MiB of chunks; several fetches at full credit
RCVHWM: Final = 128
RETRY_S: Final = 0.02  # pause before a connection that did not read is tried again
FIRST: Final = int(zmq.NOBLOCK | zmq.SNDMORE)  # combined once: combining flags costs as much as sending
MORE, NOBLOCK, RCVMORE = int(zmq.SNDMORE), int(zmq.NOBLOCK), int(zmq.RCVMORE)
PONG: Final = encode(Pong())

Buffer = bytes | memoryview
Welcomed = Callable[[Session, Hello], Record]
Handle = Callable[[Session, bytes, Request], None]


class Router:
    """The server's socket and its sessions. It belongs to the thread of the event loop.

    Args:
        context: the context whose ZAP handler knows the keys.
        limits: the limits that clients are told.
        rate, burst: requests of each account over time (a second), and at once.
        welcome: makes the answer to a hello (or raises to refuse it), and sets what the session may do.
        handle: carries out a request; it answers by `reply`, now or later, once.
        key: key of the server; None: there is no encryption, and every client is the account `local`.

    Attributes:
        rates: bound how often an account may ask.
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
        self.rates, self._clock = Rates(rate, burst, clock), clock
        self._welcome, self._handle = welcome, handle
        self._holders: dict[str, Holder] = {}  # by account
        self._dirty: dict[Session, None] = {}  # sessions for which there is something to send
        self._stuck: dict[Session, None] = {}  # sessions whose connections could not take a message
        self._scheduled = self._pumping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context, self._key = context, key
        self._places: list[str] = []
        self.encrypted = key is not None
        self._socket = self._open()

    def _open(self) -> Any:
        """Return a socket that is not bound yet."""
        limits, key = self.limits, self._key
        socket = self._context.socket(zmq.ROUTER)
        socket.set(zmq.ROUTER_MANDATORY, 1)
        # ZeroMQ cuts connections that send more. The eighth leaves space for what encryption adds, and lets messages
        # through that are just too large, so that they get an answer.
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
        """Listen at an address. Return the address with its port filled in.

        Raises:
            zmq.ZMQError, ListenError: it is impossible to listen there.
        """
        check_place(address)
        self._socket.set(zmq.IPV6, int("[" in address))  # with IPv6 on, 127.0.0.1 would be named [::ffff:127.0.0.1]
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
        """Stop reading. Messages that were sent may still go out for half a second."""
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
        """Send a message, or keep it until it can be sent. Return False if the connection is gone."""
        frames: list[Buffer] = [id, encode(record)] if payload is None else [id, encode(record), payload]
        return self.reply_frames(session, frames)

    def reply_frames(self, session: Session, frames: list[Buffer]) -> bool:
        """Do as `reply` with encoded frames."""
        if session.gone:
            return False
        if not session.outbox:
            sent = self._send(session.route, frames)
            if sent is not False:
                return sent is True or self._forget(session)
        self._stuck[session] = None
        if not session.keep(frames):
            return self._drop_slow(session)
        if session.holder.waiting_bytes > MAX_HELD_BYTES:
            self._drop_slow(session.holder.slowest)
        return not session.gone

    def _drop_slow(self, session: Session) -> bool:
        self.dropped += 1
        LOG.warning("connection dropped: it does not read", extra={"account": session.account})
        return self._forget(session)

    def touch(self, session: Session) -> None:
        """Take note that there is something to send to a session: a watch or a fetch may go on."""
        if not session.gone:
            self._dirty[session] = None
            self._wake()

    def closing(self, reason: str, retry_after_ms: int) -> None:
        """Tell all clients that the server ends."""
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
        self.rates.sweep()

    def _send(self, route: bytes, frames: Sequence[Buffer]) -> bool | None:
        """Return True if the frames were sent, False if the peer reads too slowly, None if it is gone."""
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
        """Send the messages that wait, then the events of the session's watches."""
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
        """Read again in the next turn.

        The descriptor signals only changes, and another use of the socket may have consumed one.
        """
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
        """Read the rest of a message from a connection."""
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
            self._dirty[session] = None  # a peer that sends may also have read
        try:
            id, body = split_request(frames)
            wait_s = self.rates.take(session.account)
            if id and (wait_s > 0 or session.working >= MAX_WORKING):  # a notice cannot be refused: it has no answer
                self.refused += 1
                self.reply(session, id, self.rates.refusal(wait_s))
                return
            self._accept(session, id, decode_request(body))
        except Exception as error:
            self.refused += 1
            self.reply(session, getattr(error, "id", b"") or frames[0][:16], failure_of(error))

    def _accept(self, session: Session, id: bytes, request: Request) -> None:
        """Carry out a request of a connection that has said hello. The caller answers errors."""
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
        """Answer a message of a connection that has not said hello, by a session or a refusal."""
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
            if len(route) != 5 or route[0]:  # a chosen id could be that of a peer that has just left
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
                return  # without an id the peer could not match an answer
            self._send(route, [id, encode(failure_of(error))])

    def _account(self, part: zmq.Frame) -> str:
        """Return the account that sent a frame, by the ZAP handler's word, never by the client's."""
        if not self.encrypted:
            return "local"
        return str(part.get("User-Id"))
