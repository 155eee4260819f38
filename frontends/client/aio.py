"""Provide the client of a Salon server for asyncio: `client.py` with `await`, `async for` and `async with`.

async with salon.AsyncClient("tcp://localhost:5599") as client:
    job = await client.imagine("a red apple")
    await job.wait()
    await job.save("outputs")
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, TypeVar

from ..wire.messages import JobInfo, PairPicture, Source, TastePair
from .chatting import ChatCommands
from .client import NAME
from .commands import Commands, OpsCommands
from .core import Core
from .entering import EntryCommands
from .errors import ClientClosed, fresh
from .flavours import Awaiting
from .given import ARGUMENTS
from .jobs import JobCommands
from .link import Link, closed, find_address, find_pair, shut, threadless, unforeseen
from .lookout import Lookout, OnContact
from .organizing import OrganizeCommands
from .prompts import SettingsCommands
from .remakes import JobRemakes, PictureRemakes
from .steps import Item, Steps, Stream, Wait, Work, seconds_of
from .tasting import PairCommands, PairSide, TasteCommands

if TYPE_CHECKING:
    from ..wire.keys import KeyPair

T = TypeVar("T")
LONGEST_S = 3600.0  # the longest single wait


class Looped:
    """Runs steps in one event loop: that of the first request. The loop watches the sockets' file descriptors.

    Args:
        on_contact: see `AsyncClient`.
    """

    def __init__(self, core: Core, link: Link, on_contact: OnContact | None = None) -> None:
        self._core, self._link = core, link
        self._on_contact = on_contact
        self._lookout = None if on_contact is None else Lookout(core)
        self._pid = os.getpid()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watched: tuple[int, ...] = ()
        self._timer: asyncio.TimerHandle | None = None
        self._alarm = math.inf  # when the timer is due
        self._over: ClientClosed | None = None  # why this engine has ended

    async def run(self, steps: Steps[T]) -> T:
        """Run the steps of an operation, and return its result.

        Raises:
            ClientClosed: the client was closed, in this process or before a fork; the loop is another than the first;
                or an unforeseen error ended the client.
            ClientError: a thread for slow work, such as writing files, does not start.
        """
        value: Any = None
        try:
            while True:
                try:
                    step = self._step(steps, value)
                except StopIteration as end:
                    result: T = end.value
                    return result
                value = await self._await(step)
        finally:
            self._leave(steps)

    async def iterate(self, stream: Stream[T]) -> AsyncIterator[T]:
        """Yield the items of a stream, each when the caller asks for it."""
        value: Any = None
        try:
            while True:
                try:
                    step = self._step(stream, value)
                except StopIteration:
                    return
                if isinstance(step, Item):
                    value = yield step.value
                else:
                    value = await self._await(step)
        finally:
            self._leave(stream)

    def close(self) -> None:
        """End the connection. A second call changes nothing."""
        if os.getpid() == self._pid:
            self._shut(closed())

    def _step(self, steps: Any, value: Any) -> Any:
        if os.getpid() != self._pid:
            raise closed("it was made before a fork")
        if self._over is not None:
            raise fresh(self._over)
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise closed("it belongs to another event loop")
        return steps.send(value)

    async def _await(self, step: Wait | Work) -> Any:
        assert self._loop is not None
        if isinstance(step, Work):
            try:
                work = self._loop.run_in_executor(None, step.call)
            except RuntimeError as error:  # of the executor: the work itself has not begun
                raise threadless(error) from error
            return await work
        woken: asyncio.Future[None] = self._loop.create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)

        step.exchange.wake = wake
        self._turn()
        if step.exchange.ready:
            return None
        timer = self._loop.call_later(min(max(0.0, step.until - self._core.clock()), LONGEST_S), wake)
        try:
            await woken
        finally:
            timer.cancel()
        return None

    def _leave(self, steps: Any) -> None:
        if os.getpid() == self._pid:
            steps.close()
            if self._core.outbox and self._loop is not None and not self._loop.is_closed():
                self._turn()

    def _turn(self) -> None:
        """Carry what can be carried now, and arrange the next turn."""
        if self._over is not None:
            return
        try:
            if not self._core.has_socket:
                self._watch(())  # before the sockets are closed: another one may get the same descriptor
            self._link.mend()
            self._link.pump()
            if self._lookout is not None and self._lookout.look():
                self._link.pump()
            if not self._core.has_socket:
                self._watch(())
                self._link.release()
            self._watch(self._link.fds)
            self._attend()
            if self._lookout is not None and self._lookout.news:
                assert self._loop is not None
                self._loop.call_soon(self._tell)  # in a turn of its own: `on_contact` may close the client
        except Exception as error:
            self._shut(unforeseen(error))

    def _tell(self) -> None:
        """Call `on_contact` for each silence and for each answer that ends one."""
        try:
            for seconds in self._lookout.take() if self._lookout is not None and self._over is None else ():
                if self._on_contact is not None:
                    self._on_contact(seconds)
        except Exception as error:
            self._shut(unforeseen(error))

    def _attend(self) -> None:
        """Make the loop come back when the core needs it."""
        due = self._core.due if self._lookout is None else min(self._core.due, self._lookout.due)
        if due < self._alarm:  # a timer that is early does no harm, but a new one for each request would cost time
            assert self._loop is not None
            if self._timer is not None:
                self._timer.cancel()
            self._alarm = due
            self._timer = self._loop.call_later(max(0.0, due - self._core.clock()), self._alarmed)

    def _alarmed(self) -> None:
        self._alarm, self._timer = math.inf, None
        self._turn()

    def _watch(self, fds: tuple[int, ...]) -> None:
        if fds == self._watched or self._loop is None or self._loop.is_closed():
            return
        for fd in self._watched:
            self._loop.remove_reader(fd)
        for fd in fds:
            self._loop.add_reader(fd, self._turn)
        self._watched = fds

    def _shut(self, why: ClientClosed) -> None:
        if self._over is not None:
            return
        self._over = why
        with contextlib.suppress(Exception):  # the loop itself may be broken
            self._watch(())
        if self._timer is not None:
            self._timer.cancel()
        shut(self._core, self._link, why)


class _Part(Awaiting):
    """A part of a client, whose operations the client's engine runs."""

    def __init__(self, core: Core, engine: Looped, timeout_s: float) -> None:
        self._core, self._engine, self._timeout_s = core, engine, timeout_s

    async def _run(self, steps: Steps[T]) -> T:
        return await self._engine.run(steps)

    def _iterate(self, stream: Stream[T]) -> AsyncIterator[T]:
        return self._engine.iterate(stream)


class AsyncRemotePicture(PictureRemakes["AsyncRemoteJob"], _Part):
    """A picture on the server, of which more can be made."""

    def __init__(self, source: Source, client: AsyncClient) -> None:
        super().__init__(client._core, client._engine, client._timeout_s)
        self.source = source
        self._commands = client


class AsyncRemoteJob(JobCommands, JobRemakes["AsyncRemoteJob"], _Part):
    """A job on the server."""

    def __init__(self, info: JobInfo, client: AsyncClient) -> None:
        super().__init__(client._core, client._engine, client._timeout_s)
        self.info = info
        self.source = Source(job=info.job)
        self._commands = self._client = client  # so that the client is not collected before its jobs

    def __getitem__(self, index: int) -> AsyncRemotePicture:
        """Return one of the job's pictures, counted from 0, to make something of. IndexError: it has no such."""
        return AsyncRemotePicture(self._source(index), self._client)


class AsyncRemotePairPicture(AsyncRemotePicture, PairSide["AsyncRemoteJob"]):
    """A picture of a pair."""

    def __init__(self, info: PairPicture, client: AsyncClient) -> None:
        super().__init__(Source(job=info.job, index=info.index), client)
        self.info = info


class AsyncRemotePair(PairCommands, _Part):
    """Two pictures on the server to choose between.

    Attributes:
        left, right: the pictures.
    """

    def __init__(self, info: TastePair, client: AsyncClient) -> None:
        super().__init__(client._core, client._engine, client._timeout_s)
        self.info, self._client = info, client
        self.left, self.right = AsyncRemotePairPicture(info.left, client), AsyncRemotePairPicture(info.right, client)


class AsyncTaste(TasteCommands["AsyncRemoteJob", AsyncRemotePair], _Part):
    """What the account likes: its log, profiles and codes."""

    def __init__(self, client: AsyncClient) -> None:
        super().__init__(client._core, client._engine, client._timeout_s)
        self._commands = client


class AsyncConversations(ChatCommands, _Part):
    """The account's conversations about pictures; see `client.Conversations`."""


class AsyncOrganize(OrganizeCommands["AsyncRemoteJob"], _Part):
    """What is done with many jobs at once: names, changes, folders, presets."""

    def __init__(self, client: AsyncClient) -> None:
        super().__init__(client._core, client._engine, client._timeout_s)
        self._commands = client


class AsyncSettings(SettingsCommands, _Part):
    """What the account wants said where its prompts say nothing."""


class AsyncEntry(EntryCommands, _Part):
    """Links that let browsers in over HTTP, and tokens for programs."""

    def __init__(self, client: AsyncClient) -> None:
        super().__init__(client._core, client._engine, client._timeout_s)
        self._commands = client


class AsyncOps(OpsCommands, _Part):
    """The requests that operators can make."""


class AsyncClient(Commands[AsyncRemoteJob, AsyncRemotePicture, AsyncRemotePair], _Part):
    """A connection to a server, for one event loop.

    Arguments, attributes and errors are those of `client.Client`, except that `on_contact` is a plain function which
    the event loop calls.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        key: str | os.PathLike[str] | KeyPair | None = None,
        timeout_s: float = 30.0,
        on_contact: OnContact | None = None,
    ) -> None:
        timeout_s, place = seconds_of(timeout_s), find_address(address)
        on_contact = ARGUMENTS.read("OnContact | None", "on_contact", on_contact)
        pair = find_pair(key, place)
        core = Core(str(place), patience_s=timeout_s, clock=time.monotonic, client=NAME)
        super().__init__(core, Looped(core, Link(core, place, pair), on_contact), timeout_s)
        self.address = str(place)
        self.ops = AsyncOps(core, self._engine, timeout_s)
        self.settings = AsyncSettings(core, self._engine, timeout_s)
        self.chat = AsyncConversations(core, self._engine, timeout_s)

    def __repr__(self) -> str:
        return f"AsyncClient({self.address!r})"

    @property
    def entry(self) -> AsyncEntry:
        """Links that let browsers in over HTTP, and tokens for programs."""
        return AsyncEntry(self)

    @property
    def taste(self) -> AsyncTaste:
        """What the account likes: its log, profiles and codes."""
        return AsyncTaste(self)

    @property
    def organize(self) -> AsyncOrganize:
        """What is done with many jobs at once: names, changes, folders, presets."""
        return AsyncOrganize(self)

    async def close(self) -> None:
        """End the connection; jobs go on. Waiting requests end with ClientClosed."""
        self._engine.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *exception: Any) -> None:
        await self.close()

    def _job(self, info: JobInfo) -> AsyncRemoteJob:
        return AsyncRemoteJob(info, self)

    def _picture(self, source: Source) -> AsyncRemotePicture:
        return AsyncRemotePicture(source, self)

    def _pair(self, info: TastePair) -> AsyncRemotePair:
        return AsyncRemotePair(info, self)
