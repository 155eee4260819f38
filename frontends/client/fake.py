"""A server without an engine, for tests of whatever uses a client. It speaks the real protocol on a real socket.

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

import math
import queue
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

import zmq

from ...errors import SalonError
from ..wire import codec
from ..wire import messages as m
from .fake_jobs import FakeHouse, make_png
from .fake_sessions import FakeSessions
from .fake_socket import FakeSocket
from .threaded import Bell

if TYPE_CHECKING:
    from ..wire.keys import KeyPair

T = TypeVar("T")
START_S = 5.0  # for anything that the server's thread is asked to do
TICK_S = 0.05  # its longest pause
COLOURS = ((200, 30, 40), (30, 120, 200), (240, 190, 40), (40, 160, 90))


class FakeServer(FakeSessions):
    """See above. A context manager; also `start` and `stop`.

    Args:
        address: where to bind: loopback `tcp` (port 0: any free one), `ipc` or `inproc`.
        pictures: files of every job's images, in order, again and again; the first is also the grid. None: small PNGs.
        steps: of a job that asks for no number.
        step_s: seconds of a step.
        fail, block: every job ends so, with that reason.
        hold: jobs stay queued until `release`.
        role: of every client.
        limits: told to clients, and `chunk` and `max_credit` kept to.
        pair: encrypt; `address` then ends in its public key. tcp only.
        let_in: with `pair`: only these public keys (hex); None: all.
        house: jobs and accounts of a server before this one.

    Attributes:
        address: for clients.
        house: jobs and accounts; `house.jobs[id]` is a `FakeJob`.
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
        super().__init__(FakeSocket(address, pair, let_in))
        self.pictures = list(pictures) if pictures is not None else [make_png(*colour) for colour in COLOURS]
        self.steps, self.step_s, self.fail, self.block, self.hold = steps, step_s, fail, block, hold
        self.role, self.limits = role, limits if limits is not None else m.Limits()
        self.house = house if house is not None else FakeHouse()
        self.delay_s = 0.0
        self._orders: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._bell = Bell()
        self._thread: threading.Thread | None = None
        self._ended = False

    @property
    def address(self) -> str:
        """Where clients find it; after `start`."""
        return str(self._socket.place)

    def start(self) -> FakeServer:
        """Bind and serve."""
        self._socket.bind()
        thread = threading.Thread(target=self._serve, name="salon-fake-server", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._socket.close()
            raise
        self._thread = thread
        return self

    def stop(self) -> None:
        """Be gone at once, without a word to anybody. Again: nothing."""
        if self._thread is not None:
            self._ended = True
            self._bell.ring()
            self._thread.join(START_S)
            self._thread = None
        self._socket.close()

    def __enter__(self) -> FakeServer:
        return self.start()

    def __exit__(self, *exception: Any) -> None:
        self.stop()

    # ---- what can be made to happen --------------------------------------------------------------------------------

    def release(self) -> None:
        """Jobs go on, after `hold`."""
        self._do(lambda: setattr(self, "hold", False))

    def tell(self, job: str, kind: str, **fields: Any) -> None:
        """Something happens to a job: `FakeJob.tell`."""
        self._do(lambda: self.house.jobs[job].tell(kind, **fields))

    def refuse(self, code: str, *, times: int = 1, kind: str = "", retry_after_ms: int = 0) -> None:
        """The next requests get this Failure. `kind`: only requests of this type, such as "submit"."""
        text = f"refused on demand: {code}"
        failure = m.Failure(code=code, kind="OnDemand", text=text, retry_after_ms=retry_after_ms)
        self._do(lambda: self._refusals.extend([(failure, kind)] * times))

    def lose(self, kind: str, *, times: int = 1) -> None:
        """The next requests of this type are done, but their answers get lost, with the connection."""
        self._do(lambda: self._lost.extend([kind] * times))

    def cut(self, after: int, *, times: int = 1) -> None:
        """The next fetch breaks, with all connections, as soon as so many bytes were sent."""
        self._do(lambda: self._cuts.extend([after] * times))

    def drop(self) -> None:
        """Break all connections, and listen again at the same place. Jobs are kept."""
        self._do(self._rebind)

    def forget(self) -> None:
        """Lose all sessions, but not the connections: whatever comes is answered with "hello"."""
        self._do(self._forget)

    def silence(self, seconds: float) -> None:
        """Hear and say nothing for so long."""
        self._do(lambda: setattr(self, "_deaf_until", time.monotonic() + seconds))

    def say(self, record: m.Record | bytes, *, id: bytes = b"") -> None:
        """Say something unasked to everybody: a record, or any bytes."""
        data = record if isinstance(record, bytes) else codec.encode(record)
        self._do(lambda: self._say(id, data))

    def say_closing(self, reason: str = "maintenance", retry_after_ms: int = 100) -> None:
        """The notice that connections end; then they are forgotten."""
        self.say(m.Closing(reason=reason, retry_after_ms=retry_after_ms))
        self.forget()

    def _say(self, id: bytes, data: bytes) -> None:
        for route in self._sessions:
            self._out([route, id, data])

    # ---- its thread ------------------------------------------------------------------------------------------------

    def _do(self, order: Callable[[], T]) -> T:
        """Have it done by the server's thread."""
        if self._thread is None:
            return order()
        done: Future[T] = Future()

        def obey() -> None:
            try:
                done.set_result(order())
            except Exception as error:  # of whoever asked for it
                done.set_exception(error)

        self._orders.put(obey)
        self._bell.ring()
        try:
            return done.result(START_S)
        except TimeoutError:
            raise SalonError("fake server: its thread does not answer; see what it printed") from None

    def _serve(self) -> None:
        pause = 0.0
        while not self._ended:
            poller = zmq.Poller()
            poller.register(self._bell.fd, zmq.POLLIN)
            for socket in self._socket.sockets:
                poller.register(socket, zmq.POLLIN)
            poller.poll(math.ceil(pause * 1000))
            self._bell.hush()
            while not self._orders.empty():
                self._orders.get()()
            self._hear()
            self._advance()
            pause = min(TICK_S, max(0.0, self._next() - time.monotonic()))
        self._socket.close()
