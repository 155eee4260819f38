"""Work without a model: jobs go through all their stages at once, or as slowly as a test asks, to plain pictures."""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np

from ...engine import inquiries
from ...engine.evaluations import evaluations_of
from ...engine.info import Architecture, BackendInfo, ModelIdentity, ModelInfo
from ...engine.inquiries import Text, features
from ...engine.limits import Limits
from ...engine.memory import MemoryCoefficients
from ...engine.sigmas import SigmaConfig
from ...engine.solvers import Evaluation
from ...engine.spec import GenerationSpec
from ...engine.styles.choice import StyleInfo
from ...engine.styles.encoder import unit
from ...engine.taste.space import TasteSpace, space_of
from ...scheduler.tickets import Stage
from ...studio.threads import start_thread
from ...studio.workers.client import Notice
from ...studio.workers.messages import (
    Ack,
    Answer,
    Array,
    Arrival,
    Command,
    Failure,
    Frames,
    Park,
    Parked,
    Progress,
    Ran,
    Reading,
    Ready,
    Run,
    Stop,
)

SIDE: Final = 8  # pixels of a picture's side, if the request states no size; and the width of style vectors
WORDS: Final = ("plain", "fancy", "bold")  # styles


@dataclass
class Behaviour:
    """What a fake worker does with jobs. Tests may change it while it works.

    Attributes:
        steps: steps of a job that asks for no number, among jobs that are accepted from then on.
        step_s: seconds of a step.
        fail: reason with which every job fails, after its last step; "": jobs succeed.
        drawn: whether pictures are of a colour by prompt, styles and seed, and not grey by the seed.
    """

    steps: int = 4
    step_s: float = 0.0
    fail: str = ""
    drawn: bool = False


@cache
def _taste() -> TasteSpace:
    """Return the space of styles. It is the same for all fake workers, and takes a while to be looked through."""
    return space_of(np.eye(len(WORDS), SIDE, dtype=np.float32), WORDS, {}, {})


def info_of(behaviour: Behaviour) -> ModelInfo:
    """Return the facts of a model that does not exist."""
    return ModelInfo(
        identity=ModelIdentity(name="fake", version="", digest="0" * 64, components={}),
        backend=BackendInfo(name="fake", compute="float32"),
        architecture=Architecture(
            granularity=SIDE,
            token_channels=1,
            text_width=1,
            pooled_width=1,
            embedded_guidance=None,
            adapter_layers=1,
            adapter_width=1,
            sigmas=SigmaConfig(),
        ),
        memory=MemoryCoefficients(row=1, image_row=1, sample=1, pixel=1),
        limits=Limits(),
        text_rows=1,
        unconditional_rows=1,
        words={"subject": 4},
        defaults={"width": SIDE, "height": SIDE, "steps": behaviour.steps, "guidance_scale": 2.0, "solver": "euler"},
        styles=StyleInfo(tokens=1, words=WORDS),
        taste=_taste(),
    )


def texts_of(spec: GenerationSpec) -> tuple[Text, ...]:
    """Return the answer to an inquiry: made up, but of the form of a real one."""
    if spec.inquiry == "features":
        assert spec.start is not None, "an inquiry about a picture"
        drawn = np.random.default_rng(int(spec.start.picture[:12], 16)).standard_normal(SIDE)
        return features.answer(unit(drawn))
    if spec.start is not None:
        return tuple(Text(f"thing {number}", round(0.4 / number, 4)) for number in range(1, 5))
    words = spec.prompt.split()
    told = [Text(word, round(1 / len(words), 4), "word") for word in words]
    return (*told, Text(words[-1], round(1 / len(words), 4)))


@dataclass
class _Held:
    arrival: Arrival
    table: tuple[Evaluation, ...]
    position: int = 0

    @property
    def step(self) -> int:
        spec = self.arrival.spec
        if spec.inquiry:
            return self.position
        return spec.steps_taken if self.position == len(self.table) else self.table[self.position].step


class FakeWorker:
    """A `WorkerClient` without a worker.

    Args:
        behaviour: what it does with jobs.
        name: the worker's name.
    """

    def __init__(self, behaviour: Behaviour, name: str = "worker-1") -> None:
        self._behaviour, self._name = behaviour, name
        self._info = info_of(behaviour)
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._held: dict[str, _Held] = {}
        self._thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        """See `WorkerClient`."""
        return self._name

    def start(self, notice: Notice) -> None:
        """See `WorkerClient`."""
        self._thread = start_thread(self._work, notice, name=f"salon-{self._name}")

    def send(self, command: Command, frames: Frames = (), *, life: int) -> None:
        """See `WorkerClient`."""
        self._commands.put(command)

    def close(self, timeout_s: float) -> None:
        """See `WorkerClient`."""
        self._closed.set()
        self._commands.put(Stop())
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _work(self, notice: Notice) -> None:
        notice(self._name, Ready(self._info, 1), ())
        while not isinstance(command := self._commands.get(), Stop):
            answer, frames = self._answer(command)
            if not self._closed.is_set():
                notice(self._name, answer, frames)

    def _answer(self, command: Command) -> tuple[Answer, list[Any]]:
        if isinstance(command, Run):
            return self._run(command)
        if isinstance(command, Park):
            self._held.pop(command.job, None)
            return Parked(command.number, command.job), []  # the job runs again from its beginning
        for job in getattr(command, "jobs", ()):
            self._held.pop(job, None)
        return Ack(getattr(command, "number", -1)), []

    def _run(self, run: Run) -> tuple[Answer, list[Any]]:
        for arrival in run.arrivals:
            self._held[arrival.job] = _Held(arrival, self._table(arrival), arrival.position)
        jobs = [job for job in run.jobs if job in self._held]
        dropped = tuple(job for job in run.jobs if job not in self._held)
        if dropped:
            return Ran(number=run.number, broken=Failure("StateError", "not held"), dropped=dropped), []
        pictures: list[tuple[Array, Any]] = []
        failed: dict[str, Failure] = {}
        texts: dict[str, tuple[Text, ...]] = {}
        start = time.perf_counter()
        if run.stage == Stage.STEP:
            self._closed.wait(self._behaviour.step_s)
            for job in jobs:
                held = self._held[job]
                held.position += 1
                every = held.arrival.preview_every
                if every and held.position < len(held.table) and held.step % every == 0:
                    pictures.append(Array.of(job, self._pixels(held)))
        elif run.stage == Stage.DECODE:
            if self._behaviour.fail:
                failed = {job: Failure("FakeFailure", self._behaviour.fail) for job in jobs}
            else:
                pictures = [Array.of(job, self._pixels(self._held[job])[0], run.piece) for job in jobs]
        elif run.stage in inquiries.names():
            self._closed.wait(self._behaviour.step_s)
            for job in jobs:
                held = self._held[job]
                held.position += 1
                if held.position == self._info.steps(held.arrival.spec):
                    if self._behaviour.fail:
                        failed[job] = Failure("FakeFailure", self._behaviour.fail)
                    else:
                        texts[job] = texts_of(held.arrival.spec)
        progress = {job: Progress(self._held[job].position, self._held[job].step) for job in jobs if job not in failed}
        for job in failed:
            del self._held[job]
        answer = Ran(
            number=run.number,
            elapsed_ms=max(0.01, 1e3 * (time.perf_counter() - start)),
            failed=failed,
            progress=progress,
            readings={job: Reading({"subject": self._held[job].arrival.spec.prompt}) for job in jobs if job in progress}
            if run.stage == Stage.ENCODE
            else {},
            pictures=tuple(record for record, _ in pictures),
            texts=texts,
        )
        return answer, [frame for _, frame in pictures]

    def _table(self, arrival: Arrival) -> tuple[Evaluation, ...]:
        return evaluations_of(arrival.spec, self._info.architecture)

    def _pixels(self, held: _Held) -> Any:
        """Return plain pictures uint8 [images, height, width, 3]; see `Behaviour.drawn`."""
        spec = held.arrival.spec
        if self._behaviour.drawn:
            colour = hashlib.sha256(repr((spec.prompt, spec.adapters, spec.seed)).encode()).digest()[:3]
            return np.full((spec.images, spec.height, spec.width, 3), list(colour), np.uint8)
        return np.full((spec.images, spec.height, spec.width, 3), spec.seed % 256, np.uint8)
