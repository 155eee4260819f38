"""Loops on the tiny checkpoint of the engine's tests, and the pictures of jobs that ran alone."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from salon.engine.engine import Engine
from salon.engine.generation import State
from salon.engine.guidance import TextTerm
from salon.engine.spec import AdapterUse, GenerationSpec
from salon.engine.start import Start
from salon.kernels import backends
from salon.scheduler.tickets import Lane
from salon.studio.job import Job, JobState
from salon.studio.scheduling.loop import Loop
from salon.studio.workers.thread import ThreadWorker

from ..engine.conftest import ADAPTERS, TEXT, add_pictures, branch_weights, start_pixels, write_tiny

TIMEOUT = 120.0  # seconds; no test waits longer for anything, and on a busy machine all of it takes long
PROMPTS = ("a red apple, 3d, on teal", "cat", "a big dog, pink background", "house, neon")

Solo = Callable[[GenerationSpec], Any]


def _backend() -> str:
    try:
        backends.create("cpu")
    except ImportError:
        return "reference"
    return "cpu"


BACKEND = _backend()


def adapter_tokens() -> dict[str, Any]:
    """Four sound adapters and one that makes NaN."""
    tokens = {}
    for name, count in ADAPTERS.items():
        rng = np.random.default_rng([*name.encode()])
        tokens[name] = 2 * rng.standard_normal((count, TEXT)).astype(np.float32)
    return tokens | {"wild": np.full((2, TEXT), 3e38, np.float32)}


def add_adapters(to: Engine | Loop) -> None:
    """The same adapters for an engine or for all workers of a loop."""
    to.add_branch(branch_weights())
    for name, tokens in adapter_tokens().items():
        to.register_adapter(name, tokens)


def spec(**fields: Any) -> GenerationSpec:
    """A small request: 4 x 4 tokens, 2 steps."""
    values: dict[str, Any] = {"prompt": PROMPTS[0], "width": 16, "height": 16, "steps": 2, "seed": 0}
    return GenerationSpec(**(values | fields))


def draw_spec(rng: random.Random) -> GenerationSpec:
    """Any small request."""
    uses = [
        AdapterUse(name, rng.choice([0.0, 0.5, 1.0, -0.3]), rng.choice([None, "null"]))
        for name in rng.sample(["short", "page", "long"], rng.choice([0, 0, 1, 2]))
    ]
    return spec(
        prompt=rng.choice(PROMPTS),
        negative_prompt="" if (guidance := rng.choice([1.0, 3.0, 7.5])) == 1 else rng.choice(["", "a dog"]),
        width=rng.choice([4, 8, 16, 20]),
        height=rng.choice([4, 12, 16]),
        steps=rng.randint(1, 6),
        seed=rng.randint(0, 3),
        images=rng.randint(1, 3),
        guidance_scale=guidance,
        solver=rng.choice(["euler", "heun"]),
        adapters=tuple(uses),
        terms=tuple(TextTerm("a dog", rng.choice([0.4, -0.5, 0.0])) for _ in range(rng.choice([0, 0, 1, 2]))),
        start=None
        if rng.random() < 0.7
        else Start(
            picture=rng.choice("ab") * 64,
            strength=rng.choice([0.0, 0.3, 0.7, 1.0]),
            mask=rng.choice([None, "c" * 64]),
            feather=rng.choice([0, 2]),
        ),
    )


def check_identity(loop: Loop, solo: Solo, number: int, seed: int, disturb: Callable[[int], None] | None = None) -> int:
    """Run `number` random mixed loads, some of their jobs paused and resumed on the way, and compare every picture with
    its solo run. `disturb(i)` is called amid load i. The number of pictures compared."""
    rng = random.Random(seed)
    compared = 0
    for i in range(number):
        jobs = [
            loop.submit(
                request, references=start_pixels(request), account=rng.choice("abc"), lane=rng.choice(list(Lane))
            )
            for request in (draw_spec(rng) for _ in range(rng.randint(2, 6)))
        ]
        for job in rng.sample(jobs, rng.randint(0, 2)):
            job.pause()
        if disturb is not None:
            disturb(i)
        for job in jobs:
            job.resume()
        for job in jobs:
            np.testing.assert_array_equal(job.result(TIMEOUT), solo(job.spec))
            assert finals(job) == ["done"]
            compared += job.spec.images
    return compared


def amid(loop: Loop, request: GenerationSpec, step: int = 20, **options: Any) -> Job:
    """Return a job with a worker amid what follows `step`.

    The loop begins nothing more until it is released, however late the test goes on: the job does not end meanwhile.
    """
    core, reached = loop._core, threading.Event()
    dispatch = core.pool.dispatch

    def begin(slot: Any, plan: Any) -> None:
        dispatch(slot, plan)
        if not reached.is_set() and any(core.pool.entries[name].job.step >= step for name in plan.jobs):
            core.held = True
            reached.set()

    with patch.object(core.pool, "dispatch", begin):
        job = loop.submit(request, **options)
        assert reached.wait(TIMEOUT)
    return job


def finals(job: Job) -> list[str]:
    """Its final events: one, as they should be."""
    return [event.kind for event in job.events(TIMEOUT) if event.kind in list(JobState)[3:]]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("studio"))


@pytest.fixture(scope="session")
def new_engine(tiny: Path) -> Callable[[], Engine]:
    return lambda: Engine.load(tiny, backend=BACKEND, threads=1)


@pytest.fixture(scope="session")
def solo(new_engine: Callable[[], Engine]) -> Solo:
    """The pictures of a request that shares no batch and knows no scheduler."""
    engine = new_engine()
    add_adapters(engine)

    def run(request: GenerationSpec) -> Any:
        generation = engine.open(add_pictures(engine, request))
        while generation.state is State.RUNNING:
            engine.step([generation])
        pictures = engine.finish(generation)
        engine.close(generation)
        return pictures

    return cache(run)


@pytest.fixture
def new_loop(new_engine: Callable[[], Engine]) -> Iterator[Callable[..., Loop]]:
    """Makes started loops over engines of their own, and closes them."""
    made: list[Loop] = []

    def make(engines: Sequence[Engine] | None = None, **options: Any) -> Loop:
        ports = [ThreadWorker(e, f"local-{i}") for i, e in enumerate(engines or [new_engine()])]
        loop = Loop(ports, start_timeout_s=TIMEOUT, **options)
        made.append(loop)
        loop.start()
        add_adapters(loop)
        return loop

    yield make
    for loop in made:
        loop.close()
