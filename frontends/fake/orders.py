"""Make a fake server do wrong things. A test may give orders on any thread, and the server's own thread obeys."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import msgspec

from ...errors import SalonError
from ..wire import codec
from ..wire import messages as m
from ..zmq.server import Server
from ..zmq.sessions import Session
from .trouble import TroubledRouter, closing

T = TypeVar("T")
START_S: Final = 20.0  # the longest wait for an order to be carried out


class Serving(Server):
    """The real server, with roles of a test's choice, which can vanish without telling its clients."""

    role = "operator"

    async def vanish(self) -> None:
        """End at once, without telling any client."""
        await self.service.leave(0.0)
        await self._end()

    def _welcome(self, session: Session, hello: m.Hello) -> m.Welcome:
        assert isinstance(self.router, TroubledRouter)
        self.router.heard_hello(hello)
        row = self.context.accounts.enter(session.account)
        if row.role != self.role:
            self.context.accounts.put(msgspec.structs.replace(row, role=self.role))
        return super()._welcome(session, hello)


class Orders:
    """The orders of a `FakeServer`, which is the class to use."""

    def __init__(self) -> None:
        self._serving: Serving | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def tell(self, job: str, kind: str, **fields: Any) -> None:
        """Add an event of that kind to a job that has not ended. Raise SalonError if there is no such job."""
        self._do(lambda: self._server.service.jobs.tell(job, kind, **fields))

    def refuse(self, code: str, *, times: int = 1, kind: str = "", retry_after_ms: int = 0) -> None:
        """Answer the next requests with a Failure.

        Args:
            kind: only requests of this type, such as "submit"; "": any but "hello".
        """
        text = f"refused on demand: {code}"
        failure = m.Failure(code=code, kind="OnDemand", text=text, retry_after_ms=retry_after_ms)
        self._do(lambda: self._router.refusals.extend([(failure, kind)] * times))

    def answer(self, kind: str, answer: m.Record | list[bytes] | None) -> None:
        """Answer every request of this type with a record or frames from now on, and do nothing.

        None ends that.
        """

        def change() -> None:
            self._router.answers.pop(kind, None)
            if answer is not None:
                self._router.answers[kind] = answer

        self._do(change)

    def lose(self, kind: str, *, times: int = 1) -> None:
        """Carry out the next requests of this type, but lose their answers together with the connection."""
        self._do(lambda: self._router.lost.extend([kind] * times))

    def cut(self, after: int, *, times: int = 1) -> None:
        """Break the next fetch, with all connections, as soon as so many bytes were sent."""
        self._do(lambda: self._router.cuts.extend([after] * times))

    def drop(self) -> None:
        """Break all connections, and listen again at the same address. Jobs are kept."""
        self._do(lambda: self._router.rebind())

    def forget(self) -> None:
        """Lose all sessions, but not the connections: every message is answered with "hello"."""
        self._do(lambda: self._router.forget())

    def silence(self, seconds: float) -> None:
        """Neither read nor send for so long."""
        self._do(lambda: self._router.silence(seconds))

    def say(self, record: m.Record | bytes, *, id: bytes = b"") -> None:
        """Send all clients a record, or any bytes, that they have not asked for."""
        data = record if isinstance(record, bytes) else codec.encode(record)
        self._do(lambda: self._router.say(data, id))

    def say_closing(self, reason: str = "maintenance", retry_after_ms: int = 100) -> None:
        """Send the notice that connections end, and forget them."""

        def close() -> None:
            self._router.say(closing(reason, retry_after_ms))
            self._router.forget()

        self._do(close)

    # ---- inside ----------------------------------------------------------------------------------------------------

    @property
    def _server(self) -> Serving:
        if self._serving is None:
            raise SalonError("fake server: it was not started; start it")
        return self._serving

    @property
    def _router(self) -> TroubledRouter:
        router = self._server.router
        assert isinstance(router, TroubledRouter)
        return router

    def _do(self, order: Callable[[], T]) -> T:
        """Have the server's thread do something, and return its result."""

        async def obey() -> T:
            return order()

        return self._ask(obey())

    def _ask(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None or self._thread is None:
            work.close()
            raise SalonError("fake server: it does not run; start it")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(START_S)
        except TimeoutError:
            raise SalonError("fake server: its thread does not answer; see what it printed") from None
