"""Programs that were written for the released client go on working with the server of today."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from salon.engine.engine import Engine
from salon.frontends.client.client import Client
from salon.frontends.client.fake import FakeServer
from salon.frontends.recipe import read_png
from salon.frontends.wire.messages import Limits, Submit
from salon.frontends.zmq.background import BackgroundServer
from salon.frontends.zmq.options import ServeOptions

from ..engine.conftest import write_tiny
from ..studio.conftest import BACKEND
from ..studio.service.test_old_folder import COMMITS, unpack
from .conftest import PROGRAM, PROGRAMS, Salon, Start, finish, hear


def test_all_that_the_blocking_client_can_ask_for(run: Salon, server: FakeServer) -> None:
    server.step_s = 0.02
    run("blocking.py", server.address)
    submits = [request for request in server.requests if isinstance(request, Submit)]
    assert all(submit.parameters is None for submit in submits), "it is no client of then"


def test_all_that_the_asyncio_client_can_ask_for(run: Salon, server: FakeServer) -> None:
    server.step_s = 0.02
    run("awaiting.py", server.address)


def test_small_chunks_and_a_rate(run: Salon) -> None:
    """Limits that `welcome` tells are kept by the client, whatever they are."""
    with FakeServer(limits=Limits(chunk=7, max_credit=2, max_watches=2, max_fetches=1, heartbeat_ms=1000)) as server:
        run("awaiting.py", server.address)


@pytest.mark.parametrize("flavour", ["blocking", "asyncio"])
def test_the_server_is_restarted(start: Start, flavour: str) -> None:
    first = FakeServer(hold=True)
    with first:
        process = start(PROGRAM, str(PROGRAMS / "patient.py"), first.address, flavour)
        assert hear(process) == "waits\n", finish(process)
    with FakeServer(first.address, house=first.house) as second:
        result = finish(process)
        assert result.returncode == 0, result.stderr
        assert [job.state for job in second.jobs.values()] == ["done", "done"]


@pytest.mark.parametrize("trouble", ["drop", "forget", "say_closing"])
def test_the_connection_breaks(start: Start, server: FakeServer, trouble: str) -> None:
    server.hold = True
    process = start(PROGRAM, str(PROGRAMS / "patient.py"), server.address, "blocking")
    assert hear(process) == "waits\n", finish(process)
    getattr(server, trouble)()
    server.release()
    result = finish(process)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(("name", "words"), [("JobFailed", "out of memory"), ("JobBlocked", "not that")])
def test_jobs_that_end_without_pictures(run: Salon, name: str, words: str) -> None:
    with FakeServer(fail="out of memory" if name == "JobFailed" else "", block="not that") as server:
        run("unlucky.py", server.address, name, words)


@pytest.mark.parametrize("commit", COMMITS)
def test_an_old_data_folder(run: Salon, tmp_path: Path, commit: str) -> None:
    """The server was made anew, and neither its folder nor its users' programs were."""
    options = ServeOptions(
        listen=("tcp://127.0.0.1:0",),
        data=unpack(commit, tmp_path / "data"),
        model=str(write_tiny(tmp_path / "tiny")),
        backend=BACKEND,
        threads=1,
        process=False,
        metrics=None,
        grace_s=0.2,
    )
    with BackgroundServer(options) as server:
        run("upgraded.py", server.address)


def test_the_picture_is_the_one_without_the_models_own_style(run: Salon, tmp_path: Path) -> None:
    """There were no styles then: the file is, byte for byte, that of a request of today with `stylize=0`, and its
    pixels are those of an engine of one's own. Without `stylize` a request of today is drawn in the model's own style.
    """
    prompt = "a red apple, 3d render"
    fields: dict[str, Any] = {"images": 1, "steps": 2, "seed": 7, "aspect": (2, 1)}
    styles: tuple[dict[str, Any], ...] = ({"stylize": 0}, {})
    options = ServeOptions(
        listen=("tcp://127.0.0.1:0",), data=tmp_path / "data", process=False, metrics=None, grace_s=0.2
    )
    with BackgroundServer(options) as server, Client(server.address, timeout_s=60) as client:
        run("picture.py", server.address, str(tmp_path / "then.png"))
        files = []
        for style in styles:
            job = client.imagine(prompt, **fields, **style)
            job.wait(timeout_s=60)
            files.append(job.picture())
    then = (tmp_path / "then.png").read_bytes()
    assert then == files[0]
    assert then != files[1]
    pixels, recipe = read_png(tmp_path / "then.png")
    assert (recipe.spec.prompt, recipe.spec.adapters) == (prompt, ())
    engine = Engine.load()
    generation = engine.open(engine.make_spec(prompt, **fields))
    while not engine.step([generation])[0].done:
        pass
    assert (engine.finish(generation)[0] == pixels).all()
