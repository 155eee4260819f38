"""A server without a model, for tests of whatever uses a client: the real server and service, over a worker that makes
plain pictures at once. Its jobs live in a folder of its own, which goes with it.

    from salon.frontends.client.client import Client
    from salon.frontends.client.fake import FakeServer

    def test_my_gallery() -> None:
        with FakeServer(steps=3) as server, Client(server.address) as client:
            job = client.imagine("a red apple", images=2)
            assert job.wait(timeout_s=5).state == "done"
            assert [len(picture) > 0 for picture in job.pictures()] == [True, True]

            server.refuse("busy", times=2, retry_after_ms=50)  # the client tries again by itself
            assert client.ping() < 1
            server.drop()  # all connections, now; jobs are kept
            assert client.job(job.id).state == "done"

`FakeServer(fail="out of memory")` makes every job fail, `hold=True` keeps them queued until `release()`. A second
server on the same address with `house=first.house` is the first one, restarted.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
import zmq

from ...bounds import GRID
from ...errors import SalonError
from ...studio.desk import Desk
from ...studio.service.context import ServiceContext
from ...studio.service.errors import PicturesBlocked
from ...studio.service.job_record import JobRecord
from ...studio.service.options import ServiceOptions
from ...studio.service.service import Service
from ...studio.studio import Studio
from ...studio.threads import start_thread
from ..wire import codec
from ..wire import messages as m
from ..wire.address import parse_address
from ..zmq.options import ServeOptions
from ..zmq.server import Server
from ..zmq.sessions import Session
from .pictures import PICTURES
from .trouble import TroubledRouter, closing
from .worker import Behaviour, FakeWorker

if TYPE_CHECKING:
    from ...engine.info import ModelInfo
    from ...studio.job import Job
    from ...studio.service.recipe import UInt8
    from ..wire.keys import KeyPair

T = TypeVar("T")
START_S: Final = 20.0  # for anything that the server's thread is asked to do
MANY: Final = 100_000


class FakeHouse:
    """What outlives a fake server; hand it to the next one, and that is a restart. Its folder goes with it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="salon-fake-"))
        self._numbers = itertools.count(1)
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    def new_id(self) -> str:
        """Return the id of the next job."""
        return f"job-{next(self._numbers)}"


class _Serving(Server):
    """The real server, told who is what, and gone without a word."""

    role = "operator"

    async def vanish(self) -> None:
        """End at once; nobody is told."""
        await self.service.leave(0.0)
        await self._end()

    def _welcome(self, session: Session, hello: m.Hello) -> m.Welcome:
        assert isinstance(self.router, TroubledRouter)
        self.router.heard_hello(hello)
        row = self.context.accounts.enter(session.account)
        if row.role != self.role:
            self.context.accounts.put(msgspec.structs.replace(row, role=self.role))
        return super()._welcome(session, hello)


class FakeServer:
    """See above. A context manager; also `start` and `stop`.

    Args:
        address: where to bind: loopback `tcp` (port 0: any free one), `ipc` or `inproc`.
        pictures: files of every job's images, in order, again and again; the first is also the grid. None: small PNGs.
        steps: of a job that asks for no number.
        step_s: seconds of a step.
        fail, block: every job ends so, with that reason.
        hold: jobs stay queued until `release`.
        role: of every client.
        limits: told to clients, and kept to.
        pair: encrypt; `address` then ends in its public key. tcp only.
        let_in: with `pair`: only these public keys (hex); None: all.
        house: jobs and accounts of a server before this one.

    Attributes:
        address: for clients.
        house: what the next server goes on with.
        requests: everything that was understood, in order.
        delay_s: before each answer.
    """

    def __init__(
        self,
        address: str = "tcp://127.0.0.1:0",
        *,
        pictures: Sequence[bytes] | None = None,
        steps: int = 4,
        step_s: float = 0.0,
        fail: str = "",
        block: str = "",
        hold: bool = False,
        role: str = "operator",
        limits: m.Limits | None = None,
        pair: KeyPair | None = None,
        let_in: Collection[str] | None = None,
        house: FakeHouse | None = None,
    ) -> None:
        self.pictures = list(PICTURES if pictures is None else pictures)
        self.block, self.role = block, role
        self.limits = limits if limits is not None else m.Limits()
        self.house = house if house is not None else FakeHouse()
        self.requests: list[m.Request] = []
        self._behaviour = Behaviour(steps, step_s, fail)
        self._place = parse_address(address, bind=True)
        self._pair, self._let_in, self._hold = pair, let_in, hold
        self._context: ServiceContext | None = None
        self._serving: _Serving | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._error: BaseException | None = None

    @property
    def address(self) -> str:
        """Where clients find it; after `start`."""
        return str(self._place)

    def start(self) -> FakeServer:
        """Bind and serve."""
        options = ServiceOptions(data=self.house.folder, open=True, open_accounts=MANY, open_plan="unlimited")
        self._context = ServiceContext(options, self._open_studio)
        if (let_in := self._let_in) is not None:
            self._context.accounts.admits = lambda account: account in let_in  # type: ignore[method-assign]
        self._ready.clear()
        try:
            self._thread = start_thread(self._work, name="salon-fake-server")
        except BaseException:
            self._context.close()
            raise
        if not self._ready.wait(START_S):
            raise SalonError("fake server: it does not start; see what it printed")
        if self._error is not None:
            raise self._error
        return self

    def stop(self) -> None:
        """Be gone at once, without a word to anybody. Again: nothing."""
        thread, self._thread = self._thread, None
        if thread is not None and self._loop is not None and self._serving is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._serving.stopped.set)
            thread.join(START_S)

    def __enter__(self) -> FakeServer:
        return self.start()

    def __exit__(self, *exception: Any) -> None:
        self.stop()

    # ---- what can be looked at and made to happen ------------------------------------------------------------------

    @property
    def jobs(self) -> dict[str, JobRecord]:
        """All jobs of all accounts by id, oldest first."""

        async def look() -> dict[str, JobRecord]:
            service = self._server.service
            found: list[JobRecord] = []
            page = await service.page(None, limit=200)
            found += page.jobs
            while page.next:
                page = await service.page(None, before=page.next, limit=200)
                found += page.jobs
            return {record.job: record for record in reversed(found)}

        return self._ask(look())

    @property
    def hold(self) -> bool:
        """Whether jobs stay queued."""
        return self._hold

    @hold.setter
    def hold(self, held: bool) -> None:
        self._hold = held
        if self._context is not None and self._thread is not None:
            loop = self._context.studio.loop
            loop.hold() if held else loop.release()

    @property
    def fail(self) -> str:
        """Why every job fails, unless it is empty."""
        return self._behaviour.fail

    @fail.setter
    def fail(self, reason: str) -> None:
        self._behaviour.fail = reason

    @property
    def step_s(self) -> float:
        """Seconds of a step."""
        return self._behaviour.step_s

    @step_s.setter
    def step_s(self, seconds: float) -> None:
        self._behaviour.step_s = seconds

    @property
    def delay_s(self) -> float:
        """Seconds before each answer."""
        return self._router.delay_s

    @delay_s.setter
    def delay_s(self, seconds: float) -> None:
        self._router.delay_s = seconds

    def release(self) -> None:
        """Jobs go on, after `hold`."""
        self.hold = False

    def tell(self, job: str, kind: str, **fields: Any) -> None:
        """Something happens to a job that has not ended: an event of that kind. SalonError: there is no such job."""
        self._do(lambda: self._server.service.jobs.tell(job, kind, **fields))

    def refuse(self, code: str, *, times: int = 1, kind: str = "", retry_after_ms: int = 0) -> None:
        """The next requests get this Failure. `kind`: only requests of this type, such as "submit"; without, any but a
        "hello"."""
        text = f"refused on demand: {code}"
        failure = m.Failure(code=code, kind="OnDemand", text=text, retry_after_ms=retry_after_ms)
        self._do(lambda: self._router.refusals.extend([(failure, kind)] * times))

    def answer(self, kind: str, answer: m.Record | list[bytes] | None) -> None:
        """From now on every request of this type gets that answer, a record or frames, and nothing is done; None: as
        usual again."""

        def change() -> None:
            self._router.answers.pop(kind, None)
            if answer is not None:
                self._router.answers[kind] = answer

        self._do(change)

    def lose(self, kind: str, *, times: int = 1) -> None:
        """The next requests of this type are done, but their answers get lost, with the connection."""
        self._do(lambda: self._router.lost.extend([kind] * times))

    def cut(self, after: int, *, times: int = 1) -> None:
        """The next fetch breaks, with all connections, as soon as so many bytes were sent."""
        self._do(lambda: self._router.cuts.extend([after] * times))

    def drop(self) -> None:
        """Break all connections, and listen again at the same place. Jobs are kept."""
        self._do(lambda: self._router.rebind())

    def forget(self) -> None:
        """Lose all sessions, but not the connections: whatever comes is answered with "hello"."""
        self._do(lambda: self._router.forget())

    def silence(self, seconds: float) -> None:
        """Hear and say nothing for so long."""
        self._do(lambda: self._router.silence(seconds))

    def say(self, record: m.Record | bytes, *, id: bytes = b"") -> None:
        """Say something unasked to everybody: a record, or any bytes."""
        data = record if isinstance(record, bytes) else codec.encode(record)
        self._do(lambda: self._router.say(data, id))

    def say_closing(self, reason: str = "maintenance", retry_after_ms: int = 100) -> None:
        """The notice that connections end; then they are forgotten."""

        def close() -> None:
            self._router.say(closing(reason, retry_after_ms))
            self._router.forget()

        self._do(close)

    # ---- inside ----------------------------------------------------------------------------------------------------

    @property
    def _server(self) -> _Serving:
        if self._serving is None:
            raise SalonError("fake server: it was not started; start it")
        return self._serving

    @property
    def _router(self) -> TroubledRouter:
        router = self._server.router
        assert isinstance(router, TroubledRouter)
        return router

    def _do(self, order: Callable[[], T]) -> T:
        """Have it done by the server's thread."""

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

    def _open_studio(self, options: ServiceOptions, desk: Desk) -> Studio:
        return Studio.over([FakeWorker(self._behaviour)], accounts=desk)

    def _make_files(self, info: ModelInfo, job: Job, pixels: UInt8, version: str) -> list[tuple[int, UInt8, bytes]]:
        """See `pictures.files_of`."""
        if self.block:
            raise PicturesBlocked(self.block)
        files = self.pictures
        shown = [(i, shot, files[i % len(files)]) for i, shot in enumerate(pixels)]
        return [*shown, (GRID, pixels[0], files[0])]

    def _work(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._error = error
            raise
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        context = self._context
        assert context is not None
        options = ServeOptions(
            data=self.house.folder, listen=(self._place.endpoint,), paused=self._hold, metrics=None, rate=0.0
        )
        serving = _Serving(
            context,
            options,
            self._pair,
            service=Service(context, self.house.new_id, self._make_files),
            router=TroubledRouter,
            limits=self.limits,
            sockets=zmq.Context.instance() if self._place.transport == "inproc" else None,
        )
        serving.role = self.role
        try:
            self._loop = asyncio.get_running_loop()
            assert isinstance(serving.router, TroubledRouter)
            serving.router.requests = self.requests
            serving.start()
            self._place = parse_address(serving.addresses[0])
            self._serving = serving
            self._ready.set()
            await serving.stopped.wait()
        finally:
            await serving.vanish()
