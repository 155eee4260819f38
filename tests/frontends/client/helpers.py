"""Both flavours of the client behind one face, so that one test can try both."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from salon.frontends.client.aio import (
    AsyncClient,
    AsyncConversations,
    AsyncEntry,
    AsyncOps,
    AsyncOrganize,
    AsyncRemoteJob,
    AsyncRemotePair,
    AsyncRemotePicture,
    AsyncSettings,
    AsyncTaste,
)
from salon.frontends.client.client import Client
from salon.frontends.client.core import Core

DONE_S = 60.0  # of what is done at once, on a machine that is busy with something else
PATIENCE_S = 2 * DONE_S  # of what waits for that
PARTS = (
    *(AsyncClient, AsyncOps, AsyncOrganize, AsyncRemoteJob, AsyncRemotePair, AsyncRemotePicture, AsyncSettings),
    *(AsyncConversations, AsyncEntry, AsyncTaste),
)  # what has methods that are to be waited for


class Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="test-loop")
        self._thread.start()

    def run(self, awaitable: Any) -> Any:
        async def wait() -> Any:
            return await awaitable

        return asyncio.run_coroutine_threadsafe(wait(), self.loop).result(PATIENCE_S)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE_S)
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


def bare(value: Any) -> Any:
    """What a `Waiting` stands for."""
    return value._inner if isinstance(value, Waiting) else value


class Waiting:
    """Something of the asyncio client, with its methods and waited properties made blocking."""

    def __init__(self, inner: Any, loop: Loop) -> None:
        self._inner, self._loop = inner, loop

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if callable(value):
            return lambda *values, **named: self._wrap(value(*map(bare, values), **named))
        return self._wrap(value)

    def __getitem__(self, index: int) -> Any:
        return self._wrap(self._inner[index])

    def _wrap(self, value: Any) -> Any:
        if inspect.iscoroutine(value):
            value = self._loop.run(value)
        if isinstance(value, PARTS):
            return Waiting(value, self._loop)
        if isinstance(value, list):
            return [self._wrap(each) for each in value]
        return self._items(value) if isinstance(value, AsyncIterator) else value

    def _items(self, items: Any) -> Iterator[Any]:
        try:
            while True:
                try:
                    yield self._wrap(self._loop.run(anext(items)))
                except StopAsyncIteration:
                    return
        finally:
            self._loop.run(items.aclose())


class Connect:
    """Makes clients of one flavour, and closes them."""

    def __init__(self, flavour: str) -> None:
        self._loop = Loop() if flavour == "asyncio" else None
        self._clients: list[Any] = []

    def __call__(self, address: str | None = None, timeout_s: float = DONE_S, **options: Any) -> Any:
        """A client; for the checker, the blocking one."""
        if self._loop is None:
            self._clients.append(Client(address, timeout_s=timeout_s, **options))
        else:
            self._clients.append(Waiting(AsyncClient(address, timeout_s=timeout_s, **options), self._loop))
        return self._clients[-1]

    def close(self) -> None:
        for client in self._clients:
            client.close()
        if self._loop is not None:
            self._loop.close()


def until(holds: Callable[[], bool], seconds: float = DONE_S) -> None:
    """Wait until that holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.005)


def core_of(client: Any) -> Core:
    core: Core = bare(client)._core
    return core


def hurry(client: Any, seconds: float) -> None:
    """Give a client that little patience from now on."""
    core_of(client).patience_s = core_of(client).pending._patience_s = bare(client)._timeout_s = seconds


def fails_once(client: Any, kind: type[Exception], match: str, seen: Callable[[Core], object]) -> None:
    """Let a client ask a server in vain. The error has to say what it has met, however late it met that."""
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.ping)
        until(lambda: bool(seen(core_of(client))))
        hurry(client, 0.3)
        with pytest.raises(kind, match=match):
            client.ping()
        client.close()
        assert first.exception(DONE_S) is not None
