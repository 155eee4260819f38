"""The example of a web application, run by uvicorn over the tiny checkpoint, with a client of the standard library."""

from __future__ import annotations

import asyncio
import http.client
import importlib.util
import io
import itertools
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from PIL import Image

from salon.bounds import MAX_IMAGES
from salon.engine.engine import Engine
from salon.frontends.recipe import read_png

from ..engine.conftest import write_tiny
from ..studio.conftest import BACKEND

EXAMPLE = Path(__file__).parents[2] / "examples" / "asgi.py"
SMALL = {"prompt": "a red apple, 3d", "images": 2, "steps": 3, "seed": 5}
DONE_S = 90.0
LONG = SMALL | {"steps": 200, "images": 8, "aspect": [1, 1]}


class Site:
    """The application and its web server, on a thread."""

    def __init__(self, **options: Any) -> None:
        spec = importlib.util.spec_from_file_location("salon_example_asgi", EXAMPLE)
        assert spec is not None
        assert spec.loader is not None
        self.module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)
        self.app = self.module.Imagine(**options)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        config = uvicorn.Config(self.app, lifespan="on", ws="none", http="h11", log_config=None)
        self.server = uvicorn.Server(config)
        self.exit_code: Any = None
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.server.run(sockets=[self.socket])
        except SystemExit as leaving:
            self.exit_code = leaving.code

    def start(self) -> Site:
        self.thread.start()
        wait(lambda: self.server.started or not self.thread.is_alive())
        return self

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(DONE_S)
        assert not self.thread.is_alive()
        self.socket.close()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """(status, headers, body)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DONE_S)
        try:
            data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def json(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        status, _, data = self.ask(method, path, body, **headers)
        return status, json.loads(data)


def wait(until: Any, seconds: float = DONE_S) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("asgi"))


@pytest.fixture(scope="module")
def site(tiny: Path) -> Iterator[Site]:
    site = Site(model=tiny, backend=BACKEND, threads=1).start()
    yield site
    site.stop()


@contextmanager
def held(site: Site) -> Iterator[None]:
    """Let its studio do nothing: jobs stay open as long as a test needs them."""
    loop = site.app._studio.loop
    loop.hold()
    try:
        yield
    finally:
        loop.release()


@pytest.fixture
def one_step(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Let engines take one step; the others wait for the event."""
    go_on, step, taken = threading.Event(), Engine.step, itertools.count()

    def waiting(engine: Engine, generations: Any) -> Any:
        if next(taken):
            go_on.wait(DONE_S)
        return step(engine, generations)

    monkeypatch.setattr(Engine, "step", waiting)
    yield go_on
    go_on.set()


def events(data: bytes) -> list[tuple[str, Any]]:
    found = []
    for block in data.decode().split("\n\n"):
        if block and not block.startswith(":"):
            kind, text = block.split("\n")
            found.append((kind.removeprefix("event: "), json.loads(text.removeprefix("data: "))))
    return found


def test_who_wants_a_picture_gets_the_grid(site: Site, tmp_path: Path) -> None:
    status, headers, data = site.ask("POST", "/imagine", SMALL, accept="image/png")
    assert (status, headers["content-type"]) == (200, "image/png")
    assert Image.open(io.BytesIO(data)).format == "PNG"
    (tmp_path / "grid.png").write_bytes(data)
    _, recipe = read_png(tmp_path / "grid.png")
    assert (recipe.spec.prompt, recipe.spec.seed, recipe.kind) == (SMALL["prompt"], 5, "grid")
    assert site.ask("POST", "/imagine", SMALL, accept="image/png")[2] == data


def test_every_visitor_gets_another_picture(site: Site) -> None:
    """faults.md 14: without a seed everybody got the same one."""
    ask = {name: value for name, value in SMALL.items() if name != "seed"}
    seeds = {json.loads(site.ask("POST", "/imagine", ask)[2])["seed"] for _ in range(4)}
    assert len(seeds) > 1


def test_a_job_its_events_and_its_grid(site: Site) -> None:
    status, headers, body = site.ask("POST", "/imagine", SMALL)
    made = json.loads(body)
    assert status == 202
    assert headers["location"] == f"/jobs/{made['job']}"
    status, headers, data = site.ask("GET", f"{headers['location']}/events")
    assert (status, headers["content-type"]) == (200, "text/event-stream")
    told = events(data)
    assert told[-1][0] == "done"
    assert told[-1][1] == {"job": made["job"], "state": "done", "step": 3, "steps": 3, "seed": 5}
    steps = [state["step"] for _, state in told]
    assert steps == sorted(steps)
    assert events(site.ask("GET", f"/jobs/{made['job']}/events")[2]) == [told[-1]]  # later: only how it ended
    assert site.json("GET", f"/jobs/{made['job']}") == (200, told[-1][1])
    assert site.ask("GET", f"/jobs/{made['job']}/grid")[2] == site.ask("POST", "/imagine", SMALL, accept="image/png")[2]


def test_events_come_while_it_runs(site: Site, one_step: threading.Event) -> None:
    job = site.json("POST", "/imagine", LONG)[1]["job"]
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=DONE_S)
    connection.request("GET", f"/jobs/{job}/events")
    answer = connection.getresponse()
    first = answer.readline()
    assert first == b"event: step\n"
    while b'"step":1,' not in first:
        first += answer.readline()
    assert site.json("GET", f"/jobs/{job}/grid")[1]["error"] == "NotEnded"
    assert site.json("DELETE", f"/jobs/{job}") == (200, {"cancelled": True})
    one_step.set()
    assert events(first + answer.read())[-1][0] == "cancelled"
    connection.close()
    status, refusal = site.json("GET", f"/jobs/{job}/grid")
    assert (status, refusal["error"]) == (409, "JobCancelled")
    assert site.json("DELETE", f"/jobs/{job}") == (200, {"cancelled": False})


def test_who_leaves_before_the_grid_is_there_cancels_it(site: Site) -> None:
    before = set(site.app._jobs)
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=DONE_S)
    with held(site):
        connection.request("POST", "/imagine", json.dumps(LONG), {"accept": "image/png"})
        wait(lambda: set(site.app._jobs) - before)
        (job,) = set(site.app._jobs) - before
        connection.close()
        wait(lambda: site.json("GET", f"/jobs/{job}")[1]["state"] == "cancelled")


def test_who_leaves_the_events_cancels_nothing(site: Site) -> None:
    job = site.json("POST", "/imagine", LONG | {"images": 1, "steps": 60})[1]["job"]
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=DONE_S)
    connection.request("GET", f"/jobs/{job}/events")
    connection.getresponse().readline()
    connection.close()
    assert events(site.ask("GET", f"/jobs/{job}/events")[2])[-1][0] == "done"


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"not json", 400, "BadRequest"),
        ({"images": 2}, 400, "BadRequest"),
        (SMALL | {"colour": "red"}, 400, "BadRequest"),
        (SMALL | {"prompt": 7}, 400, "BadRequest"),
        (SMALL | {"steps": 500}, 422, "LimitError"),
        (SMALL | {"lane": "slow"}, 422, "UnknownLane"),
        (SMALL | {"images": 0}, 422, "SpecError"),
        (SMALL | {"images": MAX_IMAGES + 1}, 422, "LimitError"),  # it took the 64 of an engine of one's own
        (b" " * 70_000, 413, "TooLarge"),
    ],
)
def test_what_is_refused_says_what_is_allowed(site: Site, body: Any, status: int, error: str) -> None:
    got, refusal = site.json("POST", "/imagine", body)
    assert (got, refusal["error"]) == (status, error)
    assert len(refusal["message"]) > 20
    assert "\n" not in refusal["message"]


def test_unknown_jobs_and_places(site: Site) -> None:
    assert site.json("GET", "/jobs/none")[1]["error"] == "UnknownJob"
    assert site.json("GET", "/jobs/none/grid")[0] == 404
    assert site.json("PUT", "/imagine")[1]["error"] == "NotFound"


def test_too_many_open_jobs_are_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site.module, "MAX_OPEN", 2)
    with held(site):
        jobs = [site.json("POST", "/imagine", LONG)[1]["job"] for _ in range(2)]
        assert site.json("POST", "/imagine", SMALL)[0] == 429
        for job in jobs:
            site.json("DELETE", f"/jobs/{job}")
            site.ask("GET", f"/jobs/{job}/events")
    assert site.json("POST", "/imagine", SMALL)[0] == 202


def test_ended_jobs_are_forgotten_in_their_order(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site.module, "KEEP", 1)
    jobs = []
    for _ in range(3):
        jobs.append(site.json("POST", "/imagine", SMALL)[1]["job"])
        site.ask("GET", f"/jobs/{jobs[-1]}/events")
    site.json("POST", "/imagine", SMALL)
    assert [site.json("GET", f"/jobs/{job}")[0] for job in jobs] == [404, 404, 200]


def test_it_ends_cleanly_with_a_job_open(tiny: Path) -> None:
    before = set(threading.enumerate())
    site = Site(model=tiny, backend=BACKEND, threads=1).start()
    site.app._studio.loop.hold()
    job = site.json("POST", "/imagine", LONG)[1]["job"]
    handle = site.app._jobs[job].job
    assert handle.pause()  # so that it is open for as long as the web server takes to end
    site.stop()
    assert handle.state == "cancelled"
    assert set(threading.enumerate()) <= before


def test_a_model_that_is_not_there_ends_the_start(tmp_path: Path) -> None:
    site = Site(model=tmp_path).start()
    assert not site.server.started
    site.stop()
    assert site.exit_code


def test_a_job_that_has_ended_is_not_open_before_the_hook_has_run(site: Site) -> None:
    """A client that had seen its job cancelled got "too many are open": the studio's hook ran later."""

    async def open_ones() -> int:
        app, watched = site.module.Imagine(), site.module.Watched()
        watched.job = SimpleNamespace(state=SimpleNamespace(final=True))
        app._jobs["0"] = watched
        found: int = app._forget()
        return found

    assert asyncio.run(open_ones()) == 0


class SlowStudio:
    """Takes its time to accept a job, like a large queue under its lock."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.begun = threading.Event()
        self.made: list[Any] = []
        self._numbers = itertools.count()

    def imagine(self, *_: Any, **__: Any) -> Any:
        self.begun.set()
        self.go_on.wait(DONE_S)
        number, state = next(self._numbers), SimpleNamespace(final=False)
        job = SimpleNamespace(id=str(number), cancelled=threading.Event(), state=state)
        job.cancel = job.cancelled.set
        self.made.append(job)
        return job


def test_no_more_are_open_however_many_come_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site.module, "MAX_OPEN", 3)

    async def crowd() -> list[Any]:
        app, studio = site.module.Imagine(), SlowStudio()
        app._studio = studio
        asks = [asyncio.create_task(app._submit(b'{"prompt": "a cat"}')) for _ in range(10)]
        await asyncio.sleep(0.1)
        studio.go_on.set()
        answers = await asyncio.gather(*asks, return_exceptions=True)
        assert (len(studio.made), app._coming, len(app._jobs)) == (3, 0, 3)
        return answers

    statuses = [getattr(answer, "status", 202) for answer in asyncio.run(crowd())]
    assert sorted(statuses) == [202] * 3 + [429] * 7


def test_a_request_that_is_cancelled_leaves_no_job(site: Site) -> None:
    async def cancelled() -> None:
        app, studio = site.module.Imagine(), SlowStudio()
        app._studio = studio
        ask = asyncio.create_task(app._submit(b'{"prompt": "a cat"}'))
        assert await asyncio.to_thread(studio.begun.wait, DONE_S)
        ask.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ask
        assert app._coming == 1  # until the thread comes back
        studio.go_on.set()
        while not studio.made or not studio.made[0].cancelled.is_set():
            await asyncio.sleep(0.01)
        assert (app._coming, len(app._jobs)) == (0, 0)

    asyncio.run(asyncio.wait_for(cancelled(), 2 * DONE_S))


def test_a_job_that_ends_while_a_step_is_told_has_its_end_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream ended with that step: it asked the job, not what it had told, whether it was over."""
    job = site.json("POST", "/imagine", SMALL)[1]["job"]
    assert events(site.ask("GET", f"/jobs/{job}/events")[2])[-1][0] == "done"
    real, looks = site.module._state, 0

    def late(job: Any) -> dict[str, Any]:
        """Look at a job that ends just afterwards."""
        nonlocal looks
        looks += 1
        state: dict[str, Any] = real(job)
        if looks > 1:
            return state
        site.app._find(job.id)[0].news.set()
        return {**state, "state": "running", "step": 2}

    monkeypatch.setattr(site.module, "_state", late)
    told = events(site.ask("GET", f"/jobs/{job}/events")[2])
    assert [kind for kind, _ in told] == ["step", "done"]
