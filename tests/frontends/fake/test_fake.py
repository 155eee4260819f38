"""The fake server is the real one: the same service, over a worker that makes plain pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from salon.errors import SalonError
from salon.frontends.client.client import Client
from salon.frontends.client.errors import Invalid, JobBlocked, LimitError
from salon.frontends.client.fake import FakeServer
from salon.frontends.zmq.server import Server
from salon.studio.service.service import Service

DONE_S = 60.0


def test_it_is_the_real_one() -> None:
    with FakeServer() as server:
        assert isinstance(server._server, Server)
        assert type(server._server.service) is Service


def test_it_refuses_what_the_real_one_refuses() -> None:
    """The fake that was a server of its own took any number of images, any size and any aspect."""
    with FakeServer() as server, Client(server.address, timeout_s=DONE_S) as client:
        with pytest.raises(Invalid, match="width: got 63"):
            client.imagine("a red apple", width=63, height=64)
        with pytest.raises(LimitError, match="pixels"):
            client.imagine("a red apple", width=4096, height=4096)
        with pytest.raises(Invalid, match="negative_prompt"):
            client.imagine("a red apple", guidance_scale=1, negative_prompt="worms")
        assert server.jobs == {}


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_all_stages_and_previews(solver: str) -> None:
    with FakeServer(step_s=0.01) as server, Client(server.address, timeout_s=DONE_S) as client:
        job = client.imagine("a red apple", solver=solver, steps=3, images=3, previews=1, width=16, height=24)
        info = job.wait(timeout_s=DONE_S)
        assert (info.state, info.step, info.steps) == ("done", 3, 3)
        assert job.pictures() == server.pictures[:3]


def test_a_restart_finishes_what_was_accepted() -> None:
    with FakeServer(hold=True) as first:
        address = first.address
        with Client(address, timeout_s=DONE_S) as client:
            job = client.imagine("a red apple", images=1, key="k")
    with FakeServer(address, house=first.house) as second, Client(address, timeout_s=DONE_S) as client:
        assert client.imagine("a red apple", images=1, key="k").id == job.id
        assert client.job(job.id).wait(timeout_s=DONE_S).state == "done"
        assert list(second.jobs) == ["job-1"]
        assert client.imagine("a whale").id == "job-2"


def test_its_folder_goes_with_it() -> None:
    server = FakeServer()
    folder = server.house.folder
    with server:
        assert (folder / "salon.db").exists()
    del server
    import gc

    gc.collect()
    assert not Path(folder).exists()


def test_pictures_that_must_not_be_shown() -> None:
    with FakeServer(block="not that") as server, Client(server.address, timeout_s=DONE_S) as client:
        with pytest.raises(JobBlocked, match="not that"):
            client.imagine("a red apple").wait(timeout_s=DONE_S)
        assert next(iter(server.jobs.values())).state == "blocked"
        assert client.ops.status().ended == {"blocked": 1}


def test_what_needs_a_running_one() -> None:
    server = FakeServer()
    with pytest.raises(SalonError, match="start it"):
        server.drop()
    server.stop()  # nothing happens
