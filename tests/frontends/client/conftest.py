"""A fake server, clients of both flavours, and the check that nothing of them is left."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Final

import pytest

from salon.frontends.client.fake import FakeServer

from .helpers import Connect, until

LOG: Final = "salon-log"  # lives as long as its process, in which a server's tests may have run before


def _left() -> list[str]:
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith(("salon", "test-loop")) and name != LOG]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    with contextlib.suppress(AssertionError):
        until(lambda: not _left())
    assert _left() == []


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture(params=["blocking", "asyncio"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    connect = Connect(request.param)
    yield connect
    connect.close()
