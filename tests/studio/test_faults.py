"""What goes wrong on a device goes wrong for whoever caused it, and for nobody else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from salon.engine.engine import Engine
from salon.engine.errors import NumericalError
from salon.engine.generation import Generation, State
from salon.engine.spec import AdapterUse
from salon.scheduler.tickets import Stage
from salon.studio.errors import JobFailed, WorkerLost
from salon.studio.job import Job
from salon.studio.scheduling.loop import Loop
from salon.studio.workers.messages import Arrival, Drop, Park, Parked, Ran, Run, Setup
from salon.studio.workers.stages import HANDLERS, Outputs
from salon.studio.workers.thread import ThreadWorker
from salon.studio.workers.worker import Worker

from .conftest import TIMEOUT, Solo, add_adapters, finals, spec

MakeLoop = Callable[..., Loop]
MakeEngine = Callable[[], Engine]


def same(job: Job, solo: Solo) -> None:
    """Done, once, with the pixels of a solo run."""
    np.testing.assert_array_equal(job.result(TIMEOUT), solo(job.spec))
    assert finals(job) == ["done"]


def fails(job: Job, kind: str, words: str) -> None:
    """Failed, once, and says why."""
    with pytest.raises(JobFailed, match=words) as caught:
        job.result(TIMEOUT)
    assert caught.value.kind == kind
    assert finals(job) == ["failed"]


def test_numbers_that_break_fail_alone(new_loop: MakeLoop, new_engine: MakeEngine, solo: Solo) -> None:
    engine = new_engine()
    loop = new_loop([engine])
    jobs = [loop.submit(spec(seed=i, steps=20), account=str(i)) for i in range(3)]
    bad = loop.submit(spec(steps=20, adapters=(AdapterUse("wild", 10.0),)), account="b")
    fails(bad, "NumericalError", "NaN or infinity in the latents")
    for job in jobs:
        same(job, solo)
    loop.close()
    assert engine.num_open == 0


def break_step(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, when: Callable[[Sequence[Generation]], bool]
) -> list[int]:
    """The engine runs out of memory in the middle of some steps. Filled with the sizes of the batches that broke."""
    step, broke = engine.step, []

    def fragile(generations: Sequence[Generation]) -> Any:
        if when(generations):
            broke.append(len(generations))
            for generation in generations:  # half done: nothing that it touched can be trusted
                generation.latents = engine.ops.zeros(
                    generation.spec.images * generation.rows, generation.channels, "float32"
                )
            raise MemoryError("no room")
        return step(generations)

    monkeypatch.setattr(engine, "step", fragile)
    return broke


def test_a_batch_that_is_too_large_is_taken_apart(
    new_loop: MakeLoop, new_engine: MakeEngine, solo: Solo, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = new_engine()
    broke = break_step(engine, monkeypatch, lambda generations: len(generations) > 2)
    loop = new_loop([engine])
    loop.hold()
    jobs = [loop.submit(spec(seed=i, steps=12), account=str(i)) for i in range(6)]
    loop.release()
    for job in jobs:
        same(job, solo)
    assert broke


def test_the_culprit_fails_and_its_company_does_not(
    new_loop: MakeLoop, new_engine: MakeEngine, solo: Solo, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = new_engine()
    broke = break_step(
        engine, monkeypatch, lambda generations: any(g.spec.seed == 2 and g.position >= 3 for g in generations)
    )
    loop = new_loop([engine])
    jobs = [loop.submit(spec(seed=i, steps=12), account=str(i)) for i in range(5)]
    fails(jobs[2], "MemoryError", "no room")
    for job in (*jobs[:2], *jobs[3:]):
        same(job, solo)
    assert broke[-1] == 1
    loop.close()
    assert engine.num_open == 0


@pytest.mark.parametrize("error", [MemoryError("no room"), AssertionError(), RuntimeError("x"), NumericalError("NaN")])
@pytest.mark.parametrize("stage", ["open", "decode"])
def test_other_stages_fail_their_job(
    new_loop: MakeLoop,
    new_engine: MakeEngine,
    solo: Solo,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    error: Exception,
) -> None:
    engine = new_engine()
    work = getattr(engine, stage)

    def fragile(what: Any, *rest: Any) -> Any:
        if (what if stage == "open" else what.spec).seed == 1:
            raise error
        return work(what, *rest)

    monkeypatch.setattr(engine, stage, fragile)
    loop = new_loop([engine])
    good, bad, later = (loop.submit(spec(seed=seed)) for seed in (0, 1, 2))
    fails(bad, type(error).__name__, type(error).__name__)
    same(good, solo)
    same(later, solo)


@pytest.mark.parametrize("error", [NumericalError("NaN"), MemoryError(), RuntimeError("a bug")])
def test_a_preview_that_fails_is_left_out(
    new_loop: MakeLoop,
    new_engine: MakeEngine,
    solo: Solo,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    """And told in the log, once: previews that never worked were noticed by nobody."""
    engine = new_engine()

    def fail(_: Any) -> None:
        raise error

    monkeypatch.setattr(engine, "preview", fail)
    loop = new_loop([engine])
    for seed in (0, 1):
        same(loop.submit(spec(seed=seed, steps=4), preview_every=1), solo)
    assert caplog.text.count(f"a preview could not be made: {type(error).__name__}") == 1


def test_a_job_that_cannot_be_parked_is_told_once(
    new_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch, new_loop: MakeLoop, caplog: pytest.LogCaptureFixture
) -> None:
    """It is run from its beginning, which costs time and says nothing."""
    engine = new_engine()
    worker = Worker(engine)

    def fail(_: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(engine, "park", fail)
    answers = []
    for number in (1, 2):
        run(worker, Stage.ENCODE, "a", arrivals=(Arrival(job="a", spec=spec()),))
        answers.append(worker.handle(Park(number, "a"))[0])
    assert [answer.complaint.partition(":")[0] for answer in answers if isinstance(answer, Parked)] == [
        "a job could not be parked and is run from its beginning",
        "",
    ]
    loop = new_loop()
    loop._core.hear("local-0", answers[0], [])
    assert "a job could not be parked" in caplog.text


def break_handling(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the worker of an engine has a bug that it cannot answer for."""
    handle = Worker.handle

    def buggy(self: Worker, command: Any, frames: Any = ()) -> Any:
        if self.engine is engine and isinstance(command, Run):
            raise RuntimeError("a bug")
        return handle(self, command, frames)

    monkeypatch.setattr(Worker, "handle", buggy)


def test_a_thread_that_dies_says_so(
    new_loop: MakeLoop, new_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = new_engine()
    loop = new_loop([engine])
    break_handling(engine, monkeypatch)
    fails(loop.submit(spec()), "WorkerLost", "no worker is left; worker 'local-0': RuntimeError: a bug")
    with pytest.raises(WorkerLost, match="RuntimeError: a bug"):
        loop.submit(spec())


def test_others_go_on_when_a_thread_dies(
    new_loop: MakeLoop, new_engine: MakeEngine, solo: Solo, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = [new_engine(), new_engine()]
    loop = new_loop(engines)
    break_handling(engines[0], monkeypatch)
    for job in [loop.submit(spec(seed=i), account=str(i)) for i in range(4)]:
        same(job, solo)


def test_an_engine_that_reads_no_prompts_is_unfit(new_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = new_engine()
    monkeypatch.setattr(engine.model, "text", None)
    with pytest.raises(WorkerLost, match="without a text pipeline"):
        Loop([ThreadWorker(engine)], start_timeout_s=TIMEOUT).start()


# ---- a worker by itself --------------------------------------------------------------------------------------------


@pytest.fixture
def worker(new_engine: MakeEngine) -> Worker:
    engine = new_engine()
    add_adapters(engine)
    return Worker(engine)


def run(worker: Worker, stage: str, *jobs: str, **fields: Any) -> tuple[Ran, list[Any]]:
    answer, frames = worker.handle(Run(number=1, stage=stage, jobs=jobs, **fields))
    assert isinstance(answer, Ran)
    return answer, frames


@pytest.mark.parametrize("position", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("parked", [True, False])
def test_state_moves_or_is_replayed(
    worker: Worker, new_engine: MakeEngine, solo: Solo, position: int, parked: bool
) -> None:
    request = spec(steps=3, solver="heun", adapters=(AdapterUse("page", 0.7, "null"),))  # 5 evaluations
    run(worker, Stage.ENCODE, "a", arrivals=(Arrival(job="a", spec=request),))
    for i in range(position):
        assert run(worker, Stage.STEP, "a")[0].progress["a"].position == i + 1
    answer, _ = worker.handle(Park(7, "a"))
    assert isinstance(answer, Parked)
    assert answer.number == 7
    assert worker.engine.num_open == 0
    engine = new_engine()
    add_adapters(engine)
    other = Worker(engine)
    arrivals: Any = (Arrival(job="a", spec=request, position=position, parked=answer.data if parked else b""),)
    for _ in range(position, 5):
        run(other, Stage.STEP, "a", arrivals=arrivals)
        arrivals = ()
    said, frames = run(other, Stage.DECODE, "a", arrivals=arrivals)
    np.testing.assert_array_equal(said.pictures[0].read(frames[0]), solo(request)[0])
    other.handle(Drop(8, ("a", "unknown")))
    assert engine.num_open == 0


@pytest.mark.parametrize("sound", [True, False])
def test_previews_are_measured(worker: Worker, monkeypatch: pytest.MonkeyPatch, sound: bool) -> None:
    preview, now = worker.engine.preview, [0.0]
    monkeypatch.setattr("salon.studio.workers.worker.time", SimpleNamespace(perf_counter=lambda: now[0]))

    def slow(generation: Generation) -> Any:
        now[0] += 0.25
        if not sound:
            raise NumericalError("NaN")
        return preview(generation)

    monkeypatch.setattr(worker.engine, "preview", slow)
    wanted, other = (Arrival(job=job, spec=spec(), preview_every=every) for job, every in (("a", 1), ("b", 0)))
    run(worker, Stage.ENCODE, "a", arrivals=(wanted,))
    run(worker, Stage.ENCODE, "b", arrivals=(other,))
    said, frames = run(worker, Stage.STEP, "a", "b")
    assert [len(frames), len(said.pictures)] == [sound, sound]
    assert (said.preview_ms, said.elapsed_ms) == ({"a": 250.0}, 0.0)
    assert not run(worker, Stage.STEP, "a", "b")[0].preview_ms  # it is done: its pictures come


def test_a_worker_answers_anything(worker: Worker) -> None:
    said, _ = run(worker, Stage.STEP, "unknown")
    assert said.broken is not None
    assert said.dropped == ("unknown",)
    request = spec()
    said, _ = run(worker, Stage.STEP, "a", arrivals=(Arrival(job="a", spec=request, parked=b"nonsense"),))
    assert said.failed["a"].kind == "StateError"
    run(worker, Stage.ENCODE, "a", arrivals=(Arrival(job="a", spec=request),))
    assert run(worker, Stage.DECODE, "a")[0].broken is not None  # not done yet: refused, and nothing is lost by it
    broken = run(worker, Stage.UPSCALE, "a")[0].broken
    assert str(broken).startswith(
        "StudioError: stage: got 'upscale', allowed decode, describe, encode, features, shorten, step; use a worker"
    )


def test_a_kind_of_stage_is_one_handler(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    def halved(engine: Engine, held: Sequence[Generation], piece: int) -> Outputs:
        return Outputs(pictures=[engine.decode(held[0], piece)[::2, ::2]])

    monkeypatch.setitem(HANDLERS, "thumbnail", halved)
    request = spec(steps=1, images=2)
    run(worker, Stage.ENCODE, "a", arrivals=(Arrival(job="a", spec=request),))
    while not run(worker, Stage.STEP, "a")[0].progress["a"].step:
        pass
    said, frames = run(worker, "thumbnail", "a", piece=1)
    whole, pixels = run(worker, Stage.DECODE, "a", piece=1)
    small = said.pictures[0].read(frames[0])
    np.testing.assert_array_equal(small, whole.pictures[0].read(pixels[0])[::2, ::2])
    assert (said.pictures[0].name, said.pictures[0].index) == ("a", 1)
    answer, _ = worker.handle(Park(3, "unknown"))
    assert answer == Parked(3, "unknown")
    answer, _ = worker.handle(Setup())
    assert "AssertionError" in str(answer)
    worker.close()
    assert worker.engine.num_open == 0
    assert not any(g.state is State.RUNNING for g in worker.engine._open.values())
