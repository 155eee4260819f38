"""What jobs are told while workers come and go, with workers that do and say exactly what a test wants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from salon.engine.engine import Engine
from salon.engine.info import ModelInfo
from salon.studio.job import Job, JobState
from salon.studio.scheduling.loop import Loop
from salon.studio.workers.messages import Lost, Park, Progress, Ran, Ready, Run
from salon.studio.workers.worker import info_of

from ..conftest import TIMEOUT, spec


class ScriptedPort:
    """A worker that keeps what it is sent, and answers when it is told to."""

    def __init__(self, name: str, info: ModelInfo) -> None:
        self.name, self.info, self.life = name, info, 0
        self.sent: list[Any] = []

    def start(self, notice: Callable[..., None]) -> None:
        self.notice = notice
        if self.name == "a":
            self.ready()

    def send(self, command: Any, frames: Any = (), *, life: int) -> None:
        if life == self.life:
            self.sent.append(command)

    def close(self, timeout_s: float) -> None:
        pass

    def ready(self) -> None:
        self.life += 1
        self.notice(self.name, Ready(self.info, self.life), ())

    def lose(self) -> None:
        self.sent.clear()
        self.notice(self.name, Lost("it died", True), ())

    def take(self) -> Any:
        """The one command that was not answered."""
        (command,) = self.sent
        self.sent.clear()
        return command

    def ran(self, run: Run) -> None:
        position = 0 if run.stage == "encode" else 1
        progress = dict.fromkeys(run.jobs, Progress(position, position))
        self.notice(self.name, Ran(number=run.number, elapsed_ms=1.0, progress=progress), ())


@pytest.fixture
def ports(new_engine: Callable[[], Engine]) -> list[ScriptedPort]:
    info = info_of(new_engine())
    return [ScriptedPort(name, info) for name in "ab"]


@pytest.fixture
def loop(ports: Any) -> Iterator[Loop]:
    with Loop(ports, start_timeout_s=TIMEOUT) as loop:
        yield loop


LARGE = spec(width=512, height=512, steps=9)  # of which a step is never shared


def told(job: Job) -> list[str]:
    return [event.kind for event in job._events]


def test_a_pause_amid_the_encoding_does_not_start_it_twice(loop: Loop, ports: list[ScriptedPort]) -> None:
    job = loop.submit(spec())
    encoding = ports[0].take()
    job.pause()
    job.resume()
    assert job.state is JobState.RUNNING
    ports[0].ran(encoding)
    ports[0].ran(ports[0].take())
    assert told(job) == ["queued", "started", "paused", "resumed", "step"]


def test_a_job_on_its_way_to_another_worker_goes_on(loop: Loop, ports: list[ScriptedPort]) -> None:
    a, b = ports
    staying, moving = loop.submit(LARGE), loop.submit(LARGE)
    for _ in range(2):
        a.ran(a.take())
    run = a.take()
    assert run.jobs == (staying.id,)
    a.ran(run)
    run = a.take()
    assert run.jobs == (staying.id,)
    b.ready()
    park = a.take()
    assert isinstance(park, Park)
    assert park.job == moving.id
    a.lose()
    assert told(staying) == ["queued", "started", "step", "requeued"]
    assert (staying.state, staying.step) == (JobState.QUEUED, 0)
    assert told(moving) == ["queued", "started"]
    assert moving.state is JobState.RUNNING
    run = b.take()
    assert [(arrival.job, arrival.parked) for arrival in run.arrivals] == [(moving.id, b"")]
    b.ran(run)
    assert told(moving) == ["queued", "started", "step"]


def test_a_paused_job_whose_worker_dies_stays_paused_and_is_told(loop: Loop, ports: list[ScriptedPort]) -> None:
    a, _ = ports
    job, waiting = loop.submit(LARGE), loop.submit(spec(), lane="relax")
    a.ran(a.take())
    a.ran(a.take())
    job.pause()
    waiting.pause()
    assert job.step == 1
    a.lose()
    assert told(job) == ["queued", "started", "step", "paused", "requeued"]
    assert told(waiting) == ["queued", "paused"]  # nothing was lost
    assert (job.state, job.step) == (JobState.PAUSED, 0)
    job.resume()
    assert job.state is JobState.QUEUED
    a.ready()
    assert told(job)[-2:] == ["resumed", "started"]
    assert a.take().stage == "encode"
