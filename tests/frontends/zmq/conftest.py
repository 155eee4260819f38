"""Servers over the tiny checkpoint, in this process, and plain clients of theirs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from salon.frontends.zmq.background import BackgroundServer
from salon.frontends.zmq.options import ServeOptions

from ...engine.conftest import write_tiny
from ...studio.conftest import BACKEND
from ...studio.store.conftest import cluster, postgres_place  # noqa: F401  (fixtures)
from ..wire.plain_client import PlainClient

Serve = Callable[..., BackgroundServer]
Connect = Callable[..., PlainClient]
TINY: dict[str, Any] = {"width": 16, "height": 16, "steps": 2, "images": 2}


def until(true: Callable[[], bool], timeout_s: float = 60.0) -> bool:
    """Wait for something that comes in milliseconds, and on a busy machine much later; whether it has come."""
    end = time.monotonic() + timeout_s
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    return true()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("server"))


@pytest.fixture
def serve(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Starts servers; stop one before the next is started in the same folder."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with ExitStack() as stack:

        def start(folder: str = "data", **options: Any) -> BackgroundServer:
            values: dict[str, Any] = {
                "listen": ("tcp://127.0.0.1:0",),
                "data": tmp_path / folder,
                "model": str(tiny),
                "backend": BACKEND,
                "threads": 1,
                "process": False,
                "metrics": None,
                "grace_s": 0.2,
            }
            data = values["data"]
            data.mkdir(exist_ok=True)
            server = BackgroundServer(ServeOptions(**(values | options))).start(120.0)
            stack.callback(server.stop, 120.0)
            return server

        yield start


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Connects plain clients, which have said hello."""
    with ExitStack() as stack:

        def enter(server: BackgroundServer, **options: Any) -> PlainClient:
            client = PlainClient(server.address, **options)
            stack.callback(client.close)  # also if nobody answers
            client.hello()
            return client

        yield enter
