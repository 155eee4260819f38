"""What a fake server does with each message, and by itself; `fake.py` has its thread and what can be made to happen."""

from __future__ import annotations

import hashlib
import math
import time
from typing import Any

from ...bounds import FINAL
from ...errors import complaint
from ..wire import frames
from ..wire import messages as m
from ..wire.errors import MessageError
from ..wire.version import negotiate
from .fake_jobs import MODEL, FakeHouse, FakeJob, Refusal
from .fake_socket import FakeSocket


class FakeSessions:
    """Connections, watches and fetches. Attributes: see `FakeServer`."""

    house: FakeHouse
    pictures: list[bytes]
    steps: int
    step_s: float
    fail: str
    block: str
    hold: bool
    role: str
    limits: m.Limits
    delay_s: float

    def __init__(self, socket: FakeSocket) -> None:
        self.requests: list[m.Request] = []
        self._socket = socket
        self._sessions: dict[bytes, str] = {}  # -> account
        self._watches: dict[tuple[bytes, bytes], tuple[FakeJob, m.Watch]] = {}
        self._fetches: dict[tuple[bytes, bytes], list[Any]] = {}  # -> [data, digest, offset, credit]
        self._refusals: list[tuple[m.Failure, str]] = []  # and the type of request that they are for
        self._lost: list[str] = []  # types of requests whose answers get lost
        self._cuts: list[int] = []  # bytes after which a fetch breaks
        self._deaf_until = 0.0

    def _hear(self) -> None:
        for parts, account in self._socket.receive():
            if time.monotonic() >= self._deaf_until:
                self._message(parts[0], parts[1:], account)

    def _message(self, route: bytes, message: list[bytes], account: str) -> None:
        try:
            id, request = frames.read_request(message)
        except MessageError as error:
            self._reply(route, error.id, m.Failure(code=error.code, kind=type(error).__name__, text=str(error)))
            return
        self.requests.append(request)
        kind = str(type(request).__struct_config__.tag)
        if self.delay_s:
            time.sleep(self.delay_s)
        if isinstance(request, m.Hello):
            self._greet(route, id, request, account)
        elif route not in self._sessions:
            if id or not isinstance(request, frames.NOTICES):
                self._reply(route, id, m.Failure(code="hello", kind="NoSession", text="say hello first"))
        elif (refusal := next((one for one in self._refusals if one[1] in ("", kind) and id), None)) is not None:
            self._refusals.remove(refusal)
            self._reply(route, id, refusal[0])
        else:
            self._request(route, id, request, kind)

    def _greet(self, route: bytes, id: bytes, hello: m.Hello, account: str) -> None:
        try:
            version, features = negotiate(hello)
        except MessageError as error:
            self._reply(route, id, m.Failure(code=error.code, kind=type(error).__name__, text=str(error)))
            return
        self._sessions[route] = account
        welcome = m.Welcome(
            version=version,
            features=features,
            server=MODEL,
            account=account,
            role=self.role,
            model=MODEL,
            limits=self.limits,
        )
        self._reply(route, id, welcome)

    def _request(self, route: bytes, id: bytes, request: m.Request, kind: str) -> None:
        account = self._sessions[route]
        try:
            if isinstance(request, m.Ping):
                answer: m.Reply = m.Pong()
            elif isinstance(request, m.Bye):
                return self._leave(route)
            elif isinstance(request, m.Watch):
                self._watches[route, id] = (self.house.find(request.job, account), request)
                return None
            elif isinstance(request, m.Unwatch):
                watch = self._watches.pop((route, request.watch), None)
                if watch is not None:
                    self._reply(route, request.watch, m.Watched(last=watch[1].after))
                answer = m.Done(changed=watch is not None)
            elif isinstance(request, m.Fetch):
                return self._fetch(route, id, request, account)
            elif isinstance(request, m.Credit):
                if (route, request.fetch) in self._fetches:
                    self._fetches[route, request.fetch][3] += request.chunks
                return None
            elif kind.startswith("ops.") and self.role != "operator":
                raise Refusal("forbidden", "OperatorsOnly", complaint("role", self.role, "operator", "ask one"))
            else:
                answer = self.house.answer(request, account, self.steps)
        except Refusal as refusal:
            answer = refusal.failure
        except Exception as error:  # a bug of the fake server's, answered as one of the server's is
            answer = m.Failure(code="internal", kind="ServerBug", text=f"{type(error).__name__}: {error}")
        if kind in self._lost:
            self._lost.remove(kind)
            return self._rebind()
        return self._reply(route, id, answer)

    def _fetch(self, route: bytes, id: bytes, request: m.Fetch, account: str) -> None:
        data = self.house.find(request.job, account).files.get(request.index)
        if data is None:
            raise Refusal(
                "not_found", "NoPicture", complaint("picture", str(request.index), "one that is there", "see `info`")
            )
        if request.offset >= len(data):
            text = complaint("offset", str(request.offset), f"below {len(data)}", "correct it")
            raise Refusal("invalid", "RequestRefused", text)
        credit = min(request.credit, self.limits.max_credit)
        self._fetches[route, id] = [data, hashlib.sha256(data).hexdigest(), request.offset, credit]

    # ---- what goes on by itself ------------------------------------------------------------------------------------

    def _next(self) -> float:
        """When a job goes on."""
        if self.hold or self.house.state == "paused":
            return math.inf
        return min((job.due for job in self.house.jobs.values() if job.info.state not in FINAL), default=math.inf)

    def _advance(self) -> None:
        now = time.monotonic()
        if self._next() <= now:
            for job in list(self.house.jobs.values()):
                if job.due <= now and job.info.state not in (*FINAL, "paused"):
                    job.go_on(self.pictures, self.fail, self.block)
                    job.due = now + self.step_s
        if now < self._deaf_until:
            return
        for (route, id), (job, watch) in list(self._watches.items()):
            self._tell(route, id, job, watch)
        for (route, id), fetch in list(self._fetches.items()):
            self._send_chunks(route, id, fetch)

    def _tell(self, route: bytes, id: bytes, job: FakeJob, watch: m.Watch) -> None:
        last = watch.after
        for event, payload in job.events:
            if event.number > last and (event.kind != "preview" or watch.previews):
                self._reply(route, id, event, payload)
                last = event.number
        if job.info.state in FINAL:
            del self._watches[route, id]
            self._reply(route, id, m.Watched(last=last))
        else:
            self._watches[route, id] = (job, m.Watch(job=watch.job, after=last, previews=watch.previews))

    def _send_chunks(self, route: bytes, id: bytes, fetch: list[Any]) -> None:
        data, digest, offset, credit = fetch
        while credit and offset < len(data):
            part = data[offset : offset + self.limits.chunk]
            self._reply(route, id, m.Chunk(offset=offset, total=len(data), digest=digest), part)
            offset, credit = offset + len(part), credit - 1
            if self._cuts and offset >= self._cuts[0]:
                self._cuts.pop(0)
                time.sleep(0.05)  # what was sent gets there
                self._rebind()
                return
        fetch[2:] = [offset, credit]
        if offset >= len(data):
            del self._fetches[route, id]

    # ---- connections -----------------------------------------------------------------------------------------------

    def _reply(self, route: bytes, id: bytes, reply: m.Reply, payload: bytes | None = None) -> None:
        self._out([route, *frames.reply_frames(id, reply, payload)])

    def _out(self, message: list[bytes]) -> None:
        if time.monotonic() >= self._deaf_until:
            self._socket.send(message)

    def _leave(self, route: bytes) -> None:
        self._sessions.pop(route, None)
        for table in (self._watches, self._fetches):
            for key in [key for key in table if key[0] == route]:
                del table[key]

    def _forget(self) -> None:
        self._sessions.clear()
        self._watches.clear()
        self._fetches.clear()

    def _rebind(self) -> None:
        self._forget()
        self._socket.rebind()
