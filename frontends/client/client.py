"""Provide the blocking client of a Salon server, safe to use from several threads. `aio.py` has the asyncio client.

with salon.Client("tcp://localhost:5599") as client:
    job = client.imagine("a red apple")
    job.wait()
    job.save("outputs")
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from ..wire.messages import JobInfo, PairPicture, Source, TastePair
from .chatting import ChatCommands
from .commands import Commands, OpsCommands
from .core import Core
from .entering import EntryCommands
from .flavours import Blocking
from .given import ARGUMENTS
from .jobs import JobCommands
from .link import Link, find_address, find_pair
from .lookout import OnContact
from .organizing import OrganizeCommands
from .prompts import SettingsCommands
from .remakes import JobRemakes, PictureRemakes
from .steps import Steps, Stream, seconds_of
from .tasting import PairCommands, PairSide, TasteCommands
from .threaded import Threaded

if TYPE_CHECKING:
    from ..wire.keys import KeyPair

T = TypeVar("T")
NAME = "salon-python"


class _Part(Blocking):
    """A part of a client, whose operations the client's engine runs."""

    def __init__(self, core: Core, engine: Threaded, timeout_s: float) -> None:
        self._core, self._engine, self._timeout_s = core, engine, timeout_s

    def _run(self, steps: Steps[T]) -> T:
        return self._engine.run(steps)

    def _iterate(self, stream: Stream[T]) -> Iterator[T]:
        return self._engine.iterate(stream)


class RemotePicture(PictureRemakes["RemoteJob"], _Part):
    """A picture on the server, of which more can be made."""

    def __init__(self, source: Source, client: Client) -> None:
        super().__init__(client._core, client._engine, client._timeout_s)
        self.source = source
        self._commands = client


class RemoteJob(JobCommands, JobRemakes["RemoteJob"], _Part):
    """A job on the server."""

    def __init__(self, info: JobInfo, client: Client) -> None:
        super().__init__(client._core, client._engine, client._timeout_s)
        self.info = info
        self.source = Source(job=info.job)
        self._commands = self._client = client  # so that the client is not collected before its jobs

    def __getitem__(self, index: int) -> RemotePicture:
        """Return one of the job's pictures, counted from 0, to make something of. IndexError: it has no such."""
        return RemotePicture(self._source(index), self._client)


class RemotePairPicture(RemotePicture, PairSide["RemoteJob"]):
    """A picture of a pair."""

    def __init__(self, info: PairPicture, client: Client) -> None:
        super().__init__(Source(job=info.job, index=info.index), client)
        self.info = info


class RemotePair(PairCommands, _Part):
    """Two pictures on the server to choose between.

    Attributes:
        left, right: the pictures.
    """

    def __init__(self, info: TastePair, client: Client) -> None:
        super().__init__(client._core, client._engine, client._timeout_s)
        self.info, self._client = info, client
        self.left, self.right = RemotePairPicture(info.left, client), RemotePairPicture(info.right, client)


class Taste(TasteCommands["RemoteJob", RemotePair], _Part):
    """What the account likes: its log, profiles and codes."""

    def __init__(self, client: Client) -> None:
        super().__init__(client._core, client._engine, client._timeout_s)
        self._commands = client


class Entry(EntryCommands, _Part):
    """Links that let browsers in over HTTP, and tokens for programs."""

    def __init__(self, client: Client) -> None:
        super().__init__(client._core, client._engine, client._timeout_s)
        self._commands = client


class Organize(OrganizeCommands["RemoteJob"], _Part):
    """What is done with many jobs at once: names, changes, folders, presets."""

    def __init__(self, client: Client) -> None:
        super().__init__(client._core, client._engine, client._timeout_s)
        self._commands = client


class Ops(OpsCommands, _Part):
    """The requests that operators can make."""


class Conversations(ChatCommands, _Part):
    """The account's conversations about pictures."""


class Settings(SettingsCommands, _Part):
    """What the account wants said where its prompts say nothing."""


class Client(Commands[RemoteJob, RemotePicture, RemotePair], _Part):
    """A connection to a server, made by the first request, and made again whenever it breaks.

    Args:
        address: see `wire/address.py`; None: the environment variable SALON_SERVER, else tcp://127.0.0.1:5599.
        key: a key pair or its file, if the address has a server key; None: the user's own (`SALON_KEY`, else
            ~/.config/salon/key).
        timeout_s: the longest wait for an answer, and for a server, in seconds.
        on_contact: called in the client's own thread. It gets the seconds of silence, once a request waits and the
            server has not answered for some seconds; then None, when the server answers again. If it raises, the client
            closes.

    Attributes:
        ops: the requests that operators can make.
        settings: what the account wants said where its prompts say nothing.
        chat: the account's conversations about pictures.
        address: the server's address.

    Raises:
        AddressError, KeyFileError: see `wire/errors.py`.
        Invalid: `timeout_s` is no number from 0, or `on_contact` no plain function of one argument.
        TooFewDescriptors, NoHome: see `system.py`.
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
        super().__init__(core, Threaded(core, Link(core, place, pair), on_contact), timeout_s)
        self.address = str(place)
        self.ops = Ops(core, self._engine, timeout_s)
        self.settings = Settings(core, self._engine, timeout_s)
        self.chat = Conversations(core, self._engine, timeout_s)
        self._finalizer = weakref.finalize(self, self._engine.abandon)

    def __repr__(self) -> str:
        return f"Client({self.address!r})"

    @property
    def entry(self) -> Entry:
        """Links that let browsers in over HTTP, and tokens for programs."""
        return Entry(self)

    @property
    def taste(self) -> Taste:
        """What the account likes: its log, profiles and codes."""
        return Taste(self)

    @property
    def organize(self) -> Organize:
        """What is done with many jobs at once: names, changes, folders, presets."""
        return Organize(self)

    def close(self) -> None:
        """End the connection; jobs go on. Requests that wait in other threads end with ClientClosed."""
        self._finalizer.detach()
        self._engine.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def _job(self, info: JobInfo) -> RemoteJob:
        return RemoteJob(info, self)

    def _picture(self, source: Source) -> RemotePicture:
        return RemotePicture(source, self)

    def _pair(self, info: TastePair) -> RemotePair:
        return RemotePair(info, self)
