"""Jobs that make texts, on loops: the same answer in any company, moved, after a worker's death; one end each."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.engine import inquiries
from salon.engine.engine import Engine
from salon.engine.errors import SpecError
from salon.engine.generation import State
from salon.engine.inquiries import Text
from salon.engine.spec import GenerationSpec
from salon.engine.start import Start
from salon.scheduler.tickets import Lane, Stage
from salon.studio.errors import JobCancelled, StudioError
from salon.studio.job import Job, JobState
from salon.studio.scheduling.loop import Loop
from salon.studio.scheduling.tickets import ticket_of
from salon.studio.workers.messages import Setup
from salon.studio.workers.process import ProcessWorker
from salon.studio.workers.thread import ThreadWorker
from salon.studio.workers.worker import info_of

from ...engine.conftest import add_pictures, start_pixels, write_asked, write_tiny
from ..conftest import BACKEND, TIMEOUT, amid, finals
from ..conftest import spec as drawn


def asking(name: str, digest: str = "ab", **fields: Any) -> GenerationSpec:
    values: dict[str, Any] = {"prompt": "a red apple, on teal"}
    if name == "describe":
        values = {"prompt": "", "start": Start(digest * 32, 0.0)}
    values |= {"width": 16, "height": 16, "seed": 5, "guidance_scale": 1.0, "inquiry": name}
    return GenerationSpec(**(values | fields))


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_asked(tmp_path_factory.mktemp("asked"))


@pytest.fixture(autouse=True)
def pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut inquiries into pieces of four probes."""
    monkeypatch.setattr(inquiries, "PIECE_ROWS", 100)


@pytest.fixture
def engine(asked: Path) -> Engine:
    return Engine.load(asked, backend=BACKEND, threads=1)


@pytest.fixture
def loop(asked: Path) -> Iterator[Loop]:
    engines = [Engine.load(asked, backend=BACKEND, threads=1) for _ in range(2)]
    with Loop([ThreadWorker(each, f"local-{i}") for i, each in enumerate(engines)]) as loop:
        yield loop
        assert not loop._core.pool.entries


def alone(engine: Engine, request: GenerationSpec) -> tuple[Text, ...]:
    generation = engine.open(add_pictures(engine, request))
    while generation.state is State.RUNNING:
        engine.inquire(generation)
    texts = generation.texts
    engine.close(generation)
    return texts


def submit(loop: Loop, request: GenerationSpec, **options: Any) -> Job:
    return loop.submit(request, references=start_pixels(request), **options)


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Hold pieces from the fourth on, until this is set: a job does not end before somebody is told of its first."""
    inquire, calls, release = Engine.inquire, iter(range(1_000_000)), threading.Event()

    def held(engine: Engine, generation: Any) -> None:
        if next(calls) >= 3:
            assert release.wait(TIMEOUT)
        inquire(engine, generation)

    monkeypatch.setattr(Engine, "inquire", held)
    return release


def test_a_ticket_has_no_stage_of_drawing(engine: Engine) -> None:
    info = info_of(engine)
    ticket = ticket_of(info, asking("describe"), job="j", account="a", lane=Lane.FAST, max_running=1, adapters={})
    course = info.course(asking("describe"))
    assert [(work.kind, work.count) for work in ticket.stages] == [(Stage.ENCODE, 1), ("describe", course.pieces)]
    assert course.pieces > 5
    assert info.steps(asking("describe")) == course.pieces


def test_in_company_and_on_any_worker(loop: Loop, engine: Engine) -> None:
    requests = [asking("describe"), asking("shorten"), asking("describe", "cd"), asking("shorten", prompt="cat, 3d")]
    jobs = [submit(loop, request) for request in requests]
    pictures = [loop.submit(drawn(seed=seed, steps=20)) for seed in range(3)]
    for job, request in zip(jobs, requests, strict=True):
        assert job.texts(TIMEOUT) == alone(engine, request) != ()
        assert finals(job) == ["done"]
        steps = [event.step for event in job.events(TIMEOUT) if event.kind == "step"]
        assert steps == list(range(1, job.steps + 1))
        with pytest.raises(StudioError, match=f"one that makes texts .{request.inquiry}.*ask for its texts"):
            job.result(TIMEOUT)
    for job in pictures:
        assert job.result(TIMEOUT).shape == (1, 16, 16, 3)
        assert job.texts() == ()
    costs = [worker.cost.stages for worker in loop.scheduler.workers.values()]
    assert any("describe" in stages and stages["describe"].observations for stages in costs)


def test_paused_between_pieces_and_moved(loop: Loop, engine: Engine, release: threading.Event) -> None:
    paused = threading.Event()

    def pause(job: Job, step: int, steps: int) -> None:
        if step == 2:
            job.pause()
            paused.set()

    job = submit(loop, asking("describe"), on_progress=pause)
    assert paused.wait(TIMEOUT)
    release.set()
    others = [submit(loop, asking("shorten")) for _ in range(4)]
    assert all(other.texts(TIMEOUT) for other in others)
    assert job.state is JobState.PAUSED
    assert job.step < job.steps
    assert job.resume()
    assert job.texts(TIMEOUT) == alone(engine, asking("describe"))


def test_cancelled_between_pieces(loop: Loop, release: threading.Event) -> None:
    begun = threading.Event()

    def cancel(job: Job, step: int, steps: int) -> None:
        job.cancel()
        begun.set()

    job = submit(loop, asking("describe"), on_progress=cancel)
    assert begun.wait(TIMEOUT)
    release.set()
    with pytest.raises(JobCancelled, match="cancelled"):
        job.texts(TIMEOUT)
    assert finals(job) == ["cancelled"]
    assert job.step < job.steps


def test_a_worker_dies_in_the_middle(asked: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # a process of its own cuts its pieces as they are shipped
    setup = Setup(model=os.fsencode(asked), backend=BACKEND, threads=1)
    ports = [ProcessWorker(setup, f"worker-{i}") for i in range(2)]
    with Loop(ports) as processes:
        request = asking("shorten", prompt="a cat, " + "red blue green " * 10, width=192, height=192)
        job = amid(processes, request, 2, references=start_pixels(request))
        where = processes._core.pool.entries[job.id].where
        port = next(port for port in ports if port.name == where)
        assert port.pid is not None
        os.kill(port.pid, signal.SIGKILL)
        processes.release()
        texts = job.texts(TIMEOUT)
        assert "requeued" in [event.kind for event in job.events(TIMEOUT)]
        assert finals(job) == ["done"]
    assert texts == alone(engine, request)


def test_a_model_without_a_list_of_words_makes_no_job(tmp_path: Path) -> None:
    engine = Engine.load(write_tiny(tmp_path / "tiny"), backend=BACKEND, threads=1)
    with Loop([ThreadWorker(engine, "local")]) as loop:
        for request in (asking("describe"), asking("shorten")):
            with pytest.raises(SpecError, match=f"{request.inquiry}: got a model without a list of its words"):
                submit(loop, request)
        assert np.any(loop.submit(drawn()).result(TIMEOUT))
