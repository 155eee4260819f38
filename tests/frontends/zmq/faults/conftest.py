"""Real server processes over the tiny checkpoint, and the pictures that it makes alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from salon.bench.faulty.audit import Solo
from salon.bench.faulty.process import ServerProcess
from salon.engine.engine import Engine

from ....studio.conftest import BACKEND
from ...wire.plain_client import PlainClient

Processes = Callable[..., ServerProcess]
Reach = Callable[..., PlainClient]


@pytest.fixture(scope="session")
def words(tiny: Path) -> list[str]:
    """Options of every server here."""
    return ["--model", str(tiny), "--backend", BACKEND]


@pytest.fixture(scope="session")
def solo(tiny: Path) -> Solo:
    return Solo(Engine.load(tiny, backend=BACKEND, threads=1))


@pytest.fixture
def process(words: list[str], tmp_path: Path) -> Iterator[Processes]:
    """Starts `salon serve`, which is gone afterwards, with all that belongs to it."""
    with ExitStack() as stack:

        def start(*more: str, folder: str = "server", **options: Any) -> ServerProcess:
            return stack.enter_context(ServerProcess(tmp_path / folder, [*words, *more], **options))

        yield start


@pytest.fixture
def reach() -> Iterator[Reach]:
    """Connects plain clients to an address."""
    with ExitStack() as stack:

        def enter(address: str, **options: Any) -> PlainClient:
            client = PlainClient(address, **options)
            stack.callback(client.close)
            client.hello()
            return client

        yield enter
