"""HTTP as a part of a server: it opens with it, says how it is, and ends with it."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from salon.frontends.client.client import Client
from salon.frontends.fake.worker import Behaviour, FakeWorker
from salon.frontends.http import connections
from salon.frontends.http.place import HttpError
from salon.frontends.zmq.background import BackgroundServer
from salon.studio.errors import StoreFull

from .conftest import ASKED, WAIT_S, address

PAUSED: dict[str, Any] = {"paused": True, "http": "127.0.0.1:0"}


@pytest.fixture
def starting(server: BackgroundServer, tmp_path: Path) -> Any:
    """Makes further servers like the one of the package, in a folder of their own."""
    from dataclasses import replace

    return lambda **changes: BackgroundServer(replace(server.options, data=tmp_path / "data", **changes))


def test_alive_and_ready(server: BackgroundServer, http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert http.get("/healthz").json() == {"status": "alive"}
    assert http.get("/readyz").json() == {"status": "ready"}
    with Client(server.address) as client:
        client.ops.drain()
        answer = http.get("/readyz")
        refused = http.post("/v1/images/generations", json=ASKED)
        client.ops.resume()
    assert answer.status_code == refused.status_code == 503
    assert "draining" in answer.json()["reason"]
    assert (refused.headers["x-should-retry"], refused.headers["retry-after"]) == ("true", "2")

    def full() -> None:
        raise StoreFull("disk: finished pictures wait (store /home/ann/pictures: got no space)")

    assert server.server is not None
    monkeypatch.setattr(server.server.service, "want_open", full)
    reason = http.get("/readyz").json()["reason"]
    assert ("disk" in reason, "ann" in reason) == (True, False)


def test_a_job_that_is_cancelled_and_one_whose_reader_leaves(starting: Any) -> None:
    """They wait, as the server is paused; then it ends, and a stream says so."""
    with starting(**PAUSED) as server, Client(server.address) as other, httpx.Client(timeout=WAIT_S) as http:

        def asking() -> Any:
            return http.stream("POST", f"{address(server)}/v1/images/generations", json=ASKED | {"stream": True})

        assert "paused" in http.get(f"{address(server)}/readyz").json()["reason"]
        with asking() as answer:
            left = answer.headers["x-salon-jobs"]
        assert other.job(left).refresh().state == "queued"
        assert other.job(left).cancel()
        with asking() as answer:
            assert other.job(answer.headers["x-salon-jobs"]).cancel()
            said = list(answer.iter_lines())
        assert "event: error" in said
        assert any("is cancelled" in line for line in said)
        with asking() as answer:
            threading.Thread(target=server.stop).start()
            assert any("the server ends" in line for line in answer.iter_lines())
    assert server.ended(WAIT_S)


def test_a_client_that_leaves_in_mid_stream(
    page: httpx.Client, faked: BackgroundServer, behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its job goes on, can be seen, and can be cancelled."""
    asked = {"prompt": "a cat", "steps": 200, "stream": True, "partial_images": 3}
    pixels = FakeWorker._pixels

    def shown(self: FakeWorker, held: Any) -> Any:
        behaviour.step_s = 1.0  # from the first preview on: it is not done meanwhile, on however busy a machine
        return pixels(self, held)

    monkeypatch.setattr(FakeWorker, "_pixels", shown)
    try:
        with Client(faked.address) as other:
            with page.stream("POST", "/v1/images/generations", json=asked) as answer:
                job = other.job(answer.headers["x-salon-jobs"])
                assert any("partial_image" in line for line in answer.iter_lines())  # and no further
            assert job.refresh().state == "running"
            assert job.id in [each.job for each in other.jobs().jobs]
            assert job.cancel()
            assert job.refresh().state == "cancelled"
    finally:
        behaviour.step_s = 0.0


def test_requests_that_are_none_are_seldom_logged(
    faked: BackgroundServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections.SELDOM, "_told", {})
    host, port = address(faked).removeprefix("http://").rsplit(":", 1)
    for number in range(5):
        for line in (
            b"\x16\x03\x01 %d" % number,
            b"GET /healthz HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x%d" % number,
        ):
            with socket.create_connection((host, int(port)), timeout=WAIT_S) as connection:
                connection.sendall(line + b"\r\nHost: localhost\r\n\r\n")
                assert b"HTTP/1.1" in connection.recv(1 << 12)
    told = [line.getMessage() for line in caplog.records if line.name.startswith("uvicorn")]
    assert {"Invalid HTTP request received.", "Unsupported upgrade request."} <= set(told)
    assert len(told) == len(set(told))


def test_an_answer_does_not_wait_for_an_acknowledgement(http: httpx.Client) -> None:
    """Every one of them took 40 ms: the header went out at once, and the body when the client's kernel had answered."""

    def took() -> float:
        begun = time.perf_counter()
        assert http.get("/v1/models").status_code == 200
        return time.perf_counter() - begun

    assert any(took() < 0.03 for _ in range(200))  # one that nothing else has held up is enough


def test_a_taken_place(starting: Any, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(HttpError, match=f"--http {place}: got .*in use"):
            starting(http=place).start()
        with starting(http=place, http_optional=True) as server:
            assert address(server) == ""
    assert any("no HTTP: --http" in line.getMessage() for line in caplog.records)


def test_connections_are_bounded(server: BackgroundServer, http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that says nothing is closed, and one too many at once; those that ask in time stay."""
    host, port = address(server).removeprefix("http://").rsplit(":", 1)
    with monkeypatch.context() as bounds:
        bounds.setattr(connections, "HEADERS_S", 0.2)
        with socket.create_connection((host, int(port)), timeout=WAIT_S) as silent:
            silent.sendall(b"GET /healthz HTTP/1.1\r\n")
            assert _ends(silent)
    monkeypatch.setattr(connections.Connection, "timeout_keep_alive_handler", lambda _: None)  # uvicorn's own bound
    for length, begun in ((1, b"GET /healthz HTTP/1.1\r\n"), (3, b"b")):  # another request, or the rest of a body
        with socket.create_connection((host, int(port)), timeout=WAIT_S) as slow:
            slow.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\na" % length)
            answer = b""
            while not answer.endswith(b"}"):
                came = slow.recv(1 << 16)
                assert came, "its request came whole"
                answer += came
            with monkeypatch.context() as bounds:
                bounds.setattr(connections, "HEADERS_S", 0.2)
                bounds.setattr(connections, "REST_S", 0.2)
                slow.sendall(begun)
                assert _ends(slow)
    monkeypatch.setattr(connections, "MOST", 0)
    with socket.create_connection((host, int(port)), timeout=WAIT_S) as too_many:
        assert _ends(too_many)
    monkeypatch.undo()
    assert http.get("/healthz").status_code == 200


def _ends(connection: socket.socket) -> bool:
    """Return whether the other side closes it without a word."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
