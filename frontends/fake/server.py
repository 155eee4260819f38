"""Run a server without a model, for tests of code that uses a client.

It is the real server and service, over a worker that makes plain pictures at once. Its jobs live in a folder of its
own, which is removed with it.

    from salon.frontends.client.client import Client
    from salon.frontends.client.fake import FakeServer

    def test_my_gallery() -> None:
        with FakeServer(steps=3) as server, Client(server.address) as client:
            job = client.imagine("a red apple", images=2)
            assert job.wait(timeout_s=60).state == "done"
            assert [len(picture) > 0 for picture in job.pictures()] == [True, True]

            server.refuse("busy", times=2, retry_after_ms=50)  # the client tries again by itself
            assert client.ping() > 0
            server.drop()  # all connections, now; jobs are kept
            assert client.job(job.id).state == "done"

`FakeServer(fail="out of memory")` makes every job fail, `hold=True` keeps jobs queued until `release()`. A second
server on the same address with `house=first.house` stands for the first one after a restart.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
import threading
import weakref
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import zmq

from ...bounds import GRID
from ...errors import SalonError
from ...studio.scheduling.billing import Billing
from ...studio.service.context import ServiceContext
from ...studio.service.errors import PicturesBlocked
from ...studio.service.job_record import JobRecord
from ...studio.service.options import ServiceOptions
from ...studio.service.pictures import files_of
from ...studio.service.service import Service
from ...studio.studio import Studio
from ...studio.threads import start_thread
from ..wire import messages as m
from ..wire.address import parse_address
from ..zmq.options import ServeOptions
from .orders import START_S, Orders, Serving
from .pictures import PICTURES
from .trouble import TroubledRouter
from .worker import Behaviour, FakeWorker

if TYPE_CHECKING:
    from ...engine.info import ModelInfo
    from ...studio.job import Job
    from ...studio.service.recipe import UInt8
    from ..wire.keys import KeyPair

MANY: Final = 100_000


class FakeHouse:
    """The data that outlive a fake server.

    The next server with the same object stands for the first one after a restart.

    Its folder is removed with it.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="salon-fake-"))
        self._numbers = itertools.count(1)
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    def new_id(self) -> str:
        """Return the id of the next job."""
        return f"job-{next(self._numbers)}"


class FakeServer(Orders):
    """A server without a model; see the module. A context manager, also with `start` and `stop`.

    Args:
        address: where to bind: loopback `tcp` (port 0: any free one), `ipc` or `inproc`.
        pictures: files of every job's images, in order, again and again; the first is also the grid. None: small PNGs.
        steps: steps of a job that asks for no number.
        step_s: seconds of a step.
        fail, block: reason with which every job fails, or is blocked; "": jobs succeed.
        hold: whether jobs stay queued until `release`.
        role: role of every client's account.
        limits: the limits that clients are told, and that the server keeps.
        pair: key pair for encryption; `address` then ends in its public key. tcp only.
        let_in: with `pair`, the public keys (hex) that may connect; None: all.
        drawn: whether pictures are drawn, each of a colour by its job's prompt, styles and seed, with their recipes;
            then `pictures` are not used.
        unlock: from how many events on a profile of a taste can be used.
        policy: what is asked about requests and pictures, as `ServiceOptions.policy`.
        house: jobs and accounts of a server before this one.

    Attributes:
        address: the address for clients.
        house: the data for the next server.
        requests: all requests that were understood, in order.
        answered: those that were answered, in order of their (first) answers.
        delay_s: pause before each answer, in seconds.
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
        drawn: bool = False,
        unlock: int = 200,
        policy: Any = None,
        house: FakeHouse | None = None,
    ) -> None:
        super().__init__()
        self.pictures = list(PICTURES if pictures is None else pictures)
        self.block, self.role = block, role
        self.limits = limits if limits is not None else m.Limits()
        self.house = house if house is not None else FakeHouse()
        self.requests: list[m.Request] = []
        self.answered: list[m.Request] = []
        self._behaviour = Behaviour(steps, step_s, fail, drawn)
        self._place = parse_address(address, bind=True)
        self._unlock, self._policy = unlock, policy
        self._pair, self._let_in, self._hold = pair, let_in, hold
        self._context: ServiceContext | None = None
        self._ready = threading.Event()
        self._error: BaseException | None = None

    @property
    def address(self) -> str:
        """The address for clients, after `start`."""
        return str(self._place)

    def start(self) -> FakeServer:
        """Bind and serve."""
        options = ServiceOptions(
            data=self.house.folder,
            open=True,
            open_accounts=MANY,
            open_plan="unlimited",
            taste_unlock=self._unlock,
            policy=self._policy,
        )
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
        """End at once, without telling any client. A second call changes nothing."""
        thread, self._thread = self._thread, None
        if thread is not None and self._loop is not None and self._serving is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._serving.stopped.set)
            thread.join(START_S)

    def __enter__(self) -> FakeServer:
        return self.start()

    def __exit__(self, *exception: Any) -> None:
        self.stop()

    # ---- state and orders for tests --------------------------------------------------------------------------------

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
        """Reason with which every job fails; "": jobs succeed."""
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
        """Let jobs go on, after `hold`."""
        self.hold = False

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _open_studio(self, options: ServiceOptions, billing: Billing) -> Studio:
        return Studio.over([FakeWorker(self._behaviour)], accounts=billing)

    def _make_files(self, info: ModelInfo, job: Job, pixels: UInt8, version: str) -> list[tuple[int, UInt8, bytes]]:
        """See `pictures.files_of`."""
        if self.block:
            raise PicturesBlocked(self.block)
        if self._behaviour.drawn:
            return files_of(info, job, pixels, version)
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
        serving = Serving(
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
            serving.router.requests, serving.router.answered = self.requests, self.answered
            serving.start()
            self._place = parse_address(serving.addresses[0])
            self._serving = serving
            self._ready.set()
            await serving.stopped.wait()
        finally:
            await serving.vanish()
