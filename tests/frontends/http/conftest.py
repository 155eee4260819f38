"""One server over the tiny checkpoint with HTTP and ZeroMQ, and OpenAI's own client."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from salon.bounds import FINAL
from salon.engine.engine import Engine
from salon.frontends.fake.worker import Behaviour, FakeWorker
from salon.frontends.zmq.background import BackgroundServer
from salon.frontends.zmq.options import ServeOptions
from salon.studio.studio import Studio

from ...engine.conftest import write_tiny
from ...studio.conftest import BACKEND

NUMBERS = itertools.count()
WAIT_S = 60  # for what takes milliseconds, and on a starved machine much longer; httpx itself gives up after 5
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


@pytest.fixture(scope="module")
def behaviour() -> Behaviour:
    """What the worker without a model does; a test may change it, and changes it back."""
    return Behaviour(drawn=True)


@pytest.fixture(scope="module")
def faked(tmp_path_factory: pytest.TempPathFactory, behaviour: Behaviour) -> Iterator[BackgroundServer]:
    """The real server over a worker without a model, where no pixels matter."""
    options = ServeOptions(
        listen=("tcp://127.0.0.1:0",), data=tmp_path_factory.mktemp("faked"), metrics=None, http="127.0.0.1:0",
        grace_s=0.2,
    )  # fmt: skip
    with fake_server(options, behaviour) as started:
        yield started


def fake_server(options: ServeOptions, behaviour: Behaviour) -> BackgroundServer:
    return BackgroundServer(options, lambda _, billing: Studio.over([FakeWorker(behaviour)], accounts=billing))


@pytest.fixture(scope="module")
def page(faked: BackgroundServer) -> Iterator[httpx.Client]:
    """What a page asks with."""
    with httpx.Client(base_url=address(faked), timeout=WAIT_S, headers={"x-salon-csrf": "1"}) as client:
        yield client


def made(page: httpx.Client, prompt: str = "a red apple", **fields: Any) -> dict[str, Any]:
    """Submit a prompt, and return its job once that has ended."""
    asked = {"key": f"k{next(NUMBERS)}", "prompt": prompt, "language": True, **fields}
    accepted = page.post("/api/submit", json=asked)
    assert accepted.status_code == 200, accepted.text
    job = accepted.json()["job"]["job"]
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        info: dict[str, Any] = page.post("/api/show", json={"job": job}).json()
        if info["state"] in FINAL:
            return info
        time.sleep(0.005)
    raise AssertionError(f"job {job} does not end")


def address(server: BackgroundServer) -> str:
    assert server.server is not None
    return server.server.http


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set by a test once it has seen a preview: no picture is finished before, on however busy a machine."""
    seen, decode = threading.Event(), Engine.decode

    def finish(self: Engine, *given: Any) -> Any:
        assert seen.wait(WAIT_S), "nobody has seen a preview"
        return decode(self, *given)

    monkeypatch.setattr(Engine, "decode", finish)
    return seen


def followed(stream: Any, shown: threading.Event) -> list[Any]:
    """Return all events of a stream."""
    events = []
    for event in stream:
        events.append(event)
        shown.set()
    return events


@pytest.fixture(scope="module")
def http(server: BackgroundServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address(server), timeout=WAIT_S) as client:
        yield client


@pytest.fixture(scope="module")
def client(server: BackgroundServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address(server)}/v1", api_key="none", max_retries=0, timeout=WAIT_S) as made:
        yield made
