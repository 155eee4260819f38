"""Serve over ZeroMQ: a service, its socket, and who is connected. `answers.py` carries the requests out."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final

import zmq

from ... import __version__
from ...bounds import FINAL
from ...studio.service.context import ServiceContext
from ...studio.service.job_record import JobRecord
from ...studio.service.service import Service
from ...studio.threads import thread_pool
from ..wire import messages as m
from ..wire.codec import encode
from ..wire.keys import KeyPair
from ..wire.version import negotiate
from . import views
from .answers import Answers
from .deliveries import Deliveries
from .failures import failure_of
from .options import ServeOptions
from .router import Router
from .sessions import Session
from .zap import ZapAuthenticator

LOG = logging.getLogger("salon.server")
CLEAN_UP_S: Final = 3600.0
MANY: Final = 2000  # ended jobs whose encoded records are kept, as many as the service remembers
RATE: Final = 500.0  # requests a second of an account, if clients prove their identity


class Server:
    """A service and its socket. It is made and used on the thread of a running event loop.

    Args:
        context: an open context, whose studio is on hold until `start`.
        options: where to listen, and the rates of accounts.
        key: the server's key pair; None: no encryption, for loopback only.
        service: carries requests out; None: a `Service` on the context. This and the following are for tests.
        router: makes the socket.
        limits: the limits that clients are told.
        sockets: the context of the sockets, which is then not ended with them.

    Attributes:
        addresses: where it listens, with the fragment that a client needs.
        http: address of HTTP; empty: there is none.
        http_clients, http_streams: count its connections, and the streams of events on these.
        stopped: set when the server shall end.
        broken: whether it ends because it cannot go on.
        hurry: set to cut the grace period at the end short.
        stop_asked: whether it shall end once no job is left, unless that is taken back.
        service: carries requests out.
        answers: carries out what gets one answer, also for other ways to ask.
        deliver: sends events and pictures.
        closers: called and awaited when no job goes on any more, before anything is closed.
    """

    def __init__(
        self,
        context: ServiceContext,
        options: ServeOptions,
        key: KeyPair | None,
        *,
        service: Service | None = None,
        router: Callable[..., Router] = Router,
        limits: m.Limits | None = None,
        sockets: zmq.Context[Any] | None = None,
    ) -> None:
        self.context, self.options = context, options
        self.stopped = asyncio.Event()
        self.stop_asked = self.broken = False
        self.addresses: list[str] = []
        self.http = ""
        self.http_clients: Callable[[], int] = int
        self.http_streams: Callable[[], int] = int
        self.service = Service(context) if service is None else service
        self._own_sockets, self._zmq = sockets is None, zmq.Context() if sockets is None else sockets
        self._key = key
        self._zap = ZapAuthenticator(self._zmq, context.accounts.admits) if key is not None else None
        rate = options.rate if options.rate is not None else (RATE if key is not None else 0.0)
        if limits is None:
            limits = m.Limits(rate=rate, burst=options.burst if rate else 0)
        self.router = router(
            self._zmq,
            limits,
            rate=rate,
            burst=options.burst,
            welcome=self._welcome,
            handle=self._handle,
            key=key,
        )
        self._ended: OrderedDict[str, tuple[JobRecord, bytes]] = OrderedDict()
        self._next_clean_up = 0.0
        self.hurry = asyncio.Event()
        self.deliver = Deliveries(self.service, self.router, self._spawn)
        self.closers: list[Callable[[], Awaitable[None]]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self.answers = Answers(self)

    def start(self) -> None:
        """Take back the jobs that were accepted before a restart, listen, and begin.

        Raises:
            zmq.ZMQError: it cannot listen there.
            ThreadUnavailable: the system gives too few threads.
        """
        self._loop.set_default_executor(thread_pool(2, "salon-aside"))  # asyncio starts the threads when it needs them
        self.service.restore()
        if self._zap is not None:
            self._zap.start()
        fragment = f"#{self._key.public}" if self._key is not None else ""
        self.addresses = [self.router.bind(address) + fragment for address in self.options.listen]
        self.router.start()
        if not self.options.paused:
            self.context.studio.loop.release()
        self._loop.call_later(1, self._every_second)

    def stop_when_idle(self) -> None:
        """End once no job is left, unless `stop_asked` is taken back before."""
        self.stop_asked = True
        self._spawn(self._stop_when_idle())

    async def close(self, grace_s: float) -> None:
        """End gracefully: accept nothing, let running jobs finish for `grace_s`, leave the rest for the next start."""
        await self.service.leave(grace_s, self.hurry)
        self.router.closing("the server ends", 1000)
        await asyncio.sleep(0.05)
        await self._end()

    async def _end(self) -> None:
        """Stop answering, and close everything."""
        for close in self.closers:
            await close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.router.close()
        if self._zap is not None:
            self._zap.close()
        await self.service.close()
        if self._own_sockets:
            self._zmq.term()

    def forget(self, job: str) -> None:
        """Forget the encoded record of a job, which was deleted."""
        self._ended.pop(job, None)

    def refresh_roles(self) -> None:
        """Give each session the rights that its account has now."""
        for session in self.router.sessions.values():
            row = self.context.accounts.rows.get(session.account)
            session.operator = row is not None and row.role == "operator"

    # ---- requests --------------------------------------------------------------------------------------------------

    def _welcome(self, session: Session, hello: m.Hello) -> m.Welcome:
        version, features = negotiate(hello)
        row = self.context.accounts.enter(session.account)
        session.close(gone=False)  # after a second hello, earlier watches and fetches are over
        session.operator = row.role == "operator"
        return m.Welcome(
            version=version,
            features=features,
            server=__version__,
            account=row.account,
            role=row.role,
            model=str(self.context.studio.loop.model.identity),
            limits=self.router.limits,
        )

    def _handle(self, session: Session, id: bytes, request: m.Request) -> None:
        """Answer now, or let a task answer. The caller turns exceptions into the answer."""
        if isinstance(request, m.Credit):
            self.deliver.credit(session, request)
            return
        if isinstance(request, m.Unwatch):
            self.deliver.unwatch(session, id, request)
            return
        if isinstance(request, m.Watch) and self.deliver.watch_now(session, id, request):
            return
        if isinstance(request, m.Show):
            record = self.service.find_cached(request.job, session.account)
            if record is not None:
                self.router.reply_frames(session, [id, self._encoded(record)])
                return
        session.working += 1
        self._spawn(self._answer(session, id, request))

    async def _answer(self, session: Session, id: bytes, request: m.Request) -> None:
        """Send exactly one final answer, also after an error."""
        try:
            record = await self._do(session, id, request)
        except asyncio.CancelledError:
            self.router.reply(
                session, id, m.Failure(code="draining", kind="Closing", text="the server ends; ask again")
            )
            raise
        except TimeoutError:
            text = "it takes too long; ask again"
            record = m.Failure(code="busy", kind="TimeoutError", text=text, retry_after_ms=1000)
        except Exception as error:
            record = failure_of(error, getattr(request, "prompt", ""))
        finally:
            session.working -= 1
        if record is not None:
            self.router.reply(session, id, record)

    async def _do(self, session: Session, id: bytes, request: m.Request) -> m.Record | None:
        """Carry out a request, and return the answer; None: a watch or a fetch brings it later."""
        if isinstance(request, m.Watch):
            await self.deliver.watch(session, id, request)
            return None
        if isinstance(request, m.Fetch):
            await self.deliver.fetch(session, id, request)
            return None
        return await self.answers.answer(request, session.account, operator=session.operator)

    def _encoded(self, record: JobRecord) -> bytes:
        """Return the encoded record of a job. That of an ended job is kept, since owners ask for it again and again."""
        kept = self._ended.get(record.job)
        if kept is not None and kept[0] is record:
            return kept[1]
        data = encode(views.job_info(record))
        if record.state in FINAL:
            self._ended[record.job] = record, data
            while len(self._ended) > MANY:
                self._ended.popitem(last=False)
        return data

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _stop_when_idle(self) -> None:
        await self.service.jobs.idle.wait()
        if self.service.draining and self.stop_asked:
            self.stopped.set()

    def _every_second(self) -> None:
        self.router.sweep()
        jobs = self.service.jobs
        if self.context.over and not jobs.storing.closing and not self.broken:
            LOG.error("no worker is left: ending, to be started again", extra={"jobs": len(jobs.live)})
            self.broken = True
            self.stopped.set()
        if self._loop.time() >= self._next_clean_up:
            self._next_clean_up = self._loop.time() + CLEAN_UP_S
            self._ended.clear()
            self._spawn(self.service.clean_up())
        if not jobs.storing.closing:
            self._loop.call_later(1, self._every_second)
