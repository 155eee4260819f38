"""One server over the tiny checkpoint with HTTP and ZeroMQ, and OpenAI's own client."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import openai
import pytest

from salon.frontends.zmq.background import BackgroundServer
from salon.frontends.zmq.options import ServeOptions

from ...engine.conftest import write_tiny
from ...studio.conftest import BACKEND

SIZE = "16x16"
ASKED = {"prompt": "a red apple", "size": SIZE, "steps": 2}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackgroundServer]:
    folder = tmp_path_factory.mktemp("http")
    options = ServeOptions(
        listen=("tcp://127.0.0.1:0",), data=folder / "data", model=str(write_tiny(folder / "tiny")), backend=BACKEND,
        threads=1, process=False, metrics=None, http="127.0.0.1:0", grace_s=0.2,
    )  # fmt: skip
    with BackgroundServer(options) as started:
        yield started


def address(server: BackgroundServer) -> str:
    assert server.server is not None
    return server.server.http


@pytest.fixture(scope="module")
def http(server: BackgroundServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address(server), timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def client(server: BackgroundServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address(server)}/v1", api_key="none", max_retries=0, timeout=30) as made:
        yield made
