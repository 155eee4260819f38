"""Run a server on a thread of this process: for tests, benchmarks, and programs that serve beside something else."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType

from ...studio.service.context import OpenStudio, ServiceContext, open_studio
from ...studio.threads import start_thread
from .main import running, server_key
from .options import ServeOptions
from .server import Server


class BackgroundServer:
    """A server with an event loop of its own, as a context manager.

        with BackgroundServer(ServeOptions(listen=("tcp://127.0.0.1:0",), data=folder)) as server:
            client = Client(server.address)

    Args:
        options: the options of the server.
        studio: starts the workers; tests give another function than `open_studio`.

    Raises:
        SalonError: as `serve`.
    """

    def __init__(self, options: ServeOptions, studio: OpenStudio = open_studio) -> None:
        self.options = options
        self.key = server_key(options)
        self.context = ServiceContext(options, studio)
        self.server: Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """The first address at which it listens, as a client takes it."""
        assert self.server is not None
        return self.server.addresses[0]

    def start(self, timeout_s: float = 30.0) -> BackgroundServer:
        """Start the server, and wait until it listens. An error that keeps it from listening is raised here."""
        self._thread = start_thread(self._work, name="salon-server")
        if not self._ready.wait(timeout_s):
            raise TimeoutError(f"the server did not start within {timeout_s:g} s")
        if self._error is not None:
            raise self._error
        return self

    def stop(self, timeout_s: float = 60.0) -> None:
        """Stop the server; open jobs go on at the next start. Stopping a stopped server changes nothing."""
        if self._loop is not None and self.server is not None and self._thread is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self.server.stopped.set)
        if self._thread is not None:
            self._thread.join(timeout_s)

    def ended(self, timeout_s: float = 0.0) -> bool:
        """Wait at most `timeout_s` seconds for the server's end. Return whether it has ended or was never started."""
        if self._thread is not None:
            self._thread.join(timeout_s)
        return self._thread is None or not self._thread.is_alive()

    def __enter__(self) -> BackgroundServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _work(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()

    async def _run(self) -> None:
        async with running(self.context, self.options, self.key) as server:
            self.server, self._loop = server, asyncio.get_running_loop()
            self._ready.set()
            await server.stopped.wait()
