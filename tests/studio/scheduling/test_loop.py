"""The loop over engines in this process: the same pixels as alone, exactly one end, and callbacks that cannot harm."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from salon.engine.engine import Engine
from salon.engine.errors import CheckpointError, LimitError, SpecError, StateError
from salon.engine.spec import AdapterUse
from salon.scheduler.errors import DuplicateJob, TicketError, UnknownLane
from salon.scheduler.tickets import Lane
from salon.studio.errors import JobCancelled, JobFailed, JobTimeout, StudioClosed, StudioError
from salon.studio.job import Job, JobState
from salon.studio.scheduling.loop import Loop

from ...engine.conftest import branch_weights, start_pixels
from ..conftest import TIMEOUT, Solo, check_identity, draw_spec, finals, spec

MakeLoop = Callable[..., Loop]
MakeEngine = Callable[[], Engine]
PLANS = 40  # random mixed loads


def hold(engine: Engine, monkeypatch: pytest.MonkeyPatch, after: int = 0) -> tuple[threading.Event, threading.Event]:
    """(entered, release): the engine's step stands still from the call `after` on until released."""
    entered, release = threading.Event(), threading.Event()
    step, calls = engine.step, iter(range(1_000_000))

    def slow(generations: Any) -> Any:
        if next(calls) >= after:
            entered.set()
            assert release.wait(TIMEOUT)
        return step(generations)

    monkeypatch.setattr(engine, "step", slow)
    return entered, release


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that has no event."""
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.mark.parametrize(("workers", "dispatch_ms"), [(1, 3.0), (2, 3.0), (3, 0.0)])
def test_any_mix_equals_solo_runs(
    new_loop: MakeLoop,
    new_engine: MakeEngine,
    solo: Solo,
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
    dispatch_ms: float,
) -> None:
    """Random loads of all lanes. With a device whose steps have a price of their own, so that they are shared."""
    batches: list[int] = []

    def watch(engine: Engine) -> Engine:
        step = engine.step

        def slow(generations: Any) -> Any:
            batches.append(len(generations))
            time.sleep(dispatch_ms / 1e3)
            return step(generations)

        monkeypatch.setattr(engine, "step", slow)
        return engine

    loop = new_loop([watch(new_engine()) for _ in range(workers)])
    assert check_identity(loop, solo, PLANS // (1 if workers == 1 else 2), seed=workers) > PLANS
    assert not loop.scheduler.busy
    assert not loop._core.pool.entries
    assert max(batches) > 1 or not dispatch_ms


def test_cancel_hits_exactly_that_job(new_loop: MakeLoop, new_engine: MakeEngine, solo: Solo, monkeypatch: Any) -> None:
    engine = new_engine()
    loop = new_loop([engine])
    entered, release = hold(engine, monkeypatch)
    jobs = [loop.submit(spec(seed=i, steps=4), account="a", max_running=3) for i in range(5)]  # two of them queued
    assert entered.wait(TIMEOUT)
    assert jobs[1].cancel()
    assert jobs[4].cancel()
    assert jobs[4].wait(TIMEOUT)  # it was not started: at once
    release.set()
    for job in (jobs[1], jobs[4]):
        with pytest.raises(JobCancelled, match="cancelled"):
            job.result(TIMEOUT)
        assert finals(job) == ["cancelled"]
    for i in (0, 2, 3):
        np.testing.assert_array_equal(jobs[i].result(TIMEOUT), solo(spec(seed=i, steps=4)))
    assert not jobs[1].cancel()
    assert not jobs[0].pause()
    assert not jobs[0].resume()
    until(lambda: engine.num_open == 0)


def test_pause_and_resume(new_loop: MakeLoop, new_engine: MakeEngine, solo: Solo, monkeypatch: Any) -> None:
    engine = new_engine()
    loop = new_loop([engine])
    paused = threading.Event()
    _, release = hold(engine, monkeypatch, after=10)  # or the job could end before anybody is told of its third step

    def pause(job: Job, step: int, steps: int) -> None:
        if step == 3:
            job.pause()
            paused.set()

    job = loop.submit(spec(steps=200, seed=1), on_progress=pause)
    assert paused.wait(TIMEOUT)
    release.set()
    other = loop.submit(spec(seed=2))
    np.testing.assert_array_equal(other.result(TIMEOUT), solo(spec(seed=2)))
    until(lambda: loop._core.pool.slots["local-0"].idle)
    stood = job.step
    assert job.state is JobState.PAUSED
    assert 3 <= stood < 200
    with pytest.raises(JobTimeout, match="one that is paused"):
        job.result(0.05)
    assert job.step == stood
    assert job.resume()
    np.testing.assert_array_equal(job.result(TIMEOUT), solo(spec(steps=200, seed=1)))
    kinds = [event.kind for event in job.events(TIMEOUT)]
    assert kinds.count("step") == 200
    assert kinds[:2] == ["queued", "started"]
    assert kinds.index("paused") < kinds.index("resumed") < kinds.index("done") == len(kinds) - 1


def test_hooks(new_loop: MakeLoop, solo: Solo, caplog: pytest.LogCaptureFixture) -> None:
    loop = new_loop()
    seen: list[tuple[str, int]] = []
    ended = threading.Event()

    def preview(job: Job, step: int, pictures: Any) -> None:
        assert pictures.shape == (2, 16, 16, 3)
        assert pictures.dtype == np.uint8
        seen.append(("preview", step))

    def progress(job: Job, step: int, steps: int) -> None:
        assert steps == 5
        seen.append(("progress", step))

    request = spec(steps=5, images=2, solver="heun")
    job = loop.submit(request, preview_every=2, on_preview=preview, on_progress=progress, on_end=lambda _: ended.set())
    np.testing.assert_array_equal(job.result(TIMEOUT), solo(request))
    assert ended.wait(TIMEOUT)
    order = [("progress", 1), ("progress", 2), ("preview", 2), ("progress", 3), ("progress", 4), ("preview", 4)]
    assert seen == [*order, ("progress", 5)]

    def fail(*_: Any) -> None:
        raise ValueError("a bad hook")

    with caplog.at_level(logging.ERROR):
        bad = loop.submit(request, preview_every=1, on_preview=fail, on_progress=fail, on_end=fail)
        np.testing.assert_array_equal(bad.result(TIMEOUT), solo(request))
        loop.close()
    assert caplog.text.count("ValueError: a bad hook") == 5 + 4 + 1


def test_close_during_work(new_loop: MakeLoop, new_engine: MakeEngine, monkeypatch: Any) -> None:
    engine = new_engine()
    loop = new_loop([engine])
    entered, release = hold(engine, monkeypatch, after=2)
    jobs = [loop.submit(spec(seed=i, steps=50), on_end=lambda _: release.set()) for i in range(6)]
    assert entered.wait(TIMEOUT)
    loop.close(TIMEOUT)  # which waits for the step under way, and that for the first job that it ended
    for job in jobs:
        with pytest.raises(JobCancelled, match="studio closed"):
            job.result(0)
        assert finals(job) == ["cancelled"]
    loop.close()
    with pytest.raises(StudioClosed):
        loop.submit(spec())
    with pytest.raises(StudioClosed):
        loop.register_adapter("x", np.zeros((1, 12), np.float32))
    assert engine.num_open == 0


def test_bad_requests_leave_no_job(new_loop: MakeLoop, solo: Solo) -> None:
    loop = new_loop()
    for wrong, error, words in (
        ({"spec": spec(width=17)}, SpecError, "width: got 17, allowed multiples of 4"),
        ({"spec": spec(adapters=(AdapterUse("nobody"),))}, SpecError, "adapter: got 'nobody'"),
        ({"spec": spec(adapters=(AdapterUse("page", 1.0, "nobody"),))}, SpecError, "adapter: got 'nobody'"),
        ({"spec": spec(images=65)}, LimitError, "images"),
        ({"spec": spec(width=1024, height=1024, images=8)}, LimitError, "rows"),
        ({"spec": "a prompt"}, SpecError, "spec: got str"),
        ({"lane": "express"}, UnknownLane, "lane: got 'express', allowed turbo, fast, draft, relax"),
        ({"lane": []}, UnknownLane, "lane"),
        ({"account": ""}, TicketError, "account"),
        ({"job": "x" * 201}, TicketError, "job"),
        ({"job": "x\ud800"}, TicketError, "job"),
        ({"account": "x\ud800"}, TicketError, "account"),
        ({"job": 7}, TicketError, "job"),
        ({"max_running": 0}, TicketError, "max_running"),
        ({"preview_every": -1}, SpecError, "preview_every"),
        ({"preview_every": 2**64}, SpecError, "preview_every"),
    ):
        options: dict[str, Any] = {"spec": spec()} | wrong
        with pytest.raises(error, match=words):
            loop.submit(options.pop("spec"), **options)
    assert not loop.scheduler.busy
    loop.hold()
    job = loop.submit(spec(), job="mine", lane=Lane.RELAX)
    job.pause()
    loop.release()
    with pytest.raises(DuplicateJob, match="job: got 'mine'"):
        loop.submit(spec(), job="mine")
    job.resume()
    np.testing.assert_array_equal(job.result(TIMEOUT), solo(spec()))
    assert type(loop.submit(spec(), job=np.str_("derived")).id) is str


def test_adapters_stand_for_one_thing_for_ever(new_loop: MakeLoop) -> None:
    loop = new_loop()
    loop.register_adapter("mine", np.ones((2, 12), np.float32))
    loop.register_adapter("mine", np.ones((2, 12), np.float32))
    with pytest.raises(StateError, match="adapter 'mine': got other values"):
        loop.register_adapter("mine", np.zeros((2, 12), np.float32))
    for tokens in (np.ones((2, 13)), np.ones(12), np.full((1, 12), np.nan)):
        with pytest.raises(SpecError, match="adapter 'other'"):
            loop.register_adapter("other", tokens)
    with pytest.raises(SpecError, match="adapter branch"):
        loop.register_adapter("other", np.ones((2, 12), np.float32), branch="none")
    with pytest.raises(SpecError, match="adapter: got 'other'"):
        loop.submit(spec(adapters=(AdapterUse("other"),)))
    loop.register_adapter("other", np.ones((2, 12), np.float32))  # a failure leaves the name free
    wrong: Any
    for wrong in ("", 7, "x\ud800", None):
        with pytest.raises(SpecError, match="adapter: got"):
            loop.register_adapter(wrong, np.ones((2, 12), np.float32))
        with pytest.raises(SpecError, match="branch: got"):
            loop.add_branch({}, wrong)
        with pytest.raises(SpecError, match="weight: got"):
            loop.add_branch({wrong: np.ones(2)}, "mine")
    with pytest.raises(SpecError, match="adapter branch: got None"):
        loop.register_adapter("third", np.ones((2, 12), np.float32), branch=wrong)
    wrong = "words"
    with pytest.raises(SpecError, match="adapter 'third': got str, allowed an array of numbers"):
        loop.register_adapter("third", wrong)


def test_what_a_worker_does_not_take_fails_the_job_with_the_cause(
    new_loop: MakeLoop, new_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch, solo: Solo
) -> None:
    engine = new_engine()
    loop = new_loop([engine])
    loop.register_adapter("mine", np.ones((2, 12), np.float32))
    register = engine.register_adapter

    def refuse(name: str, *_: Any, **__: Any) -> None:
        raise LimitError(f"adapter {name!r}: no room for this one")

    monkeypatch.setattr(engine, "register_adapter", refuse)
    job = loop.submit(spec(adapters=(AdapterUse("mine"),)))
    with pytest.raises(JobFailed, match="adapter 'mine': no room for this one"):
        job.result(TIMEOUT)
    monkeypatch.setattr(engine, "register_adapter", register)
    other = loop.submit(spec(seed=3))
    np.testing.assert_array_equal(other.result(TIMEOUT), solo(other.spec))


def test_a_branch_of_another_model_is_refused_at_once(new_loop: MakeLoop) -> None:
    loop = new_loop()
    whole = branch_weights()
    key = min(whole)
    for wrong, told in (
        ({name: values for name, values in whole.items() if name != key}, "missing weight"),
        ({**whole, key: whole[key][:-1]}, "wrong shape.*the adapter belongs to another model"),
        ({**whole, "9.to_k_ip.weight": whole[key]}, "unexpected weight"),
    ):
        with pytest.raises(CheckpointError, match=told):
            loop.add_branch(wrong, "other")
    with pytest.raises(SpecError, match="adapter branch: got 'other', allowed 'default'"):
        loop.register_adapter("x", np.ones((2, 12), np.float32), branch="other")
    loop.add_branch(whole, "other")


def test_an_adapter_is_forgotten_when_no_job_needs_it(
    new_loop: MakeLoop, new_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = new_engine()
    loop = new_loop([engine])
    loop.register_adapter("mine", np.ones((2, 12), np.float32))
    entered, release = hold(engine, monkeypatch, after=1)
    job = loop.submit(spec(steps=5, adapters=(AdapterUse("mine", 0.0),)))  # also one that it does not draw with
    assert entered.wait(TIMEOUT)
    with pytest.raises(StateError, match="adapter 'mine': got forget, allowed no open job that uses it"):
        loop.forget_adapter("mine")
    release.set()
    job.result(TIMEOUT)
    loop.forget_adapter("mine")
    with pytest.raises(SpecError, match="adapter: got 'mine'"):
        loop.submit(spec(adapters=(AdapterUse("mine"),)))
    with pytest.raises(SpecError, match="adapter: got 'mine', allowed one that was registered"):
        loop.forget_adapter("mine")
    loop.register_adapter("mine", np.zeros((3, 12), np.float32))
    loop.submit(spec(adapters=(AdapterUse("mine"),))).result(TIMEOUT)


def test_a_clock_that_goes_back_is_held(new_loop: MakeLoop, solo: Solo) -> None:
    times = iter(range(10_000, 0, -1))
    loop = new_loop(clock=lambda: float(next(times, 0)))
    check_identity(loop, solo, 2, seed=7)


def test_a_bug_in_the_loop_ends_everything(
    new_loop: MakeLoop, new_engine: MakeEngine, monkeypatch: Any, caplog: Any
) -> None:
    engine = new_engine()
    loop = new_loop([engine])
    entered, release = hold(engine, monkeypatch)
    jobs = [loop.submit(spec(steps=200, seed=seed)) for seed in range(2)]
    jobs[1].pause()
    assert entered.wait(TIMEOUT)

    def bug(*_: Any, **__: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(loop.scheduler, "plan", bug)
    release.set()
    for job in jobs:
        assert job.wait(TIMEOUT)
        assert finals(job) == ["failed"]
        assert "internal error: RuntimeError: a bug" in job.reason
    assert "a bug" in caplog.text
    with pytest.raises(StudioError, match="internal error"):
        loop.submit(spec())


def test_many_threads(new_loop: MakeLoop, solo: Solo) -> None:
    """Submitting and cancelling from everywhere at once."""
    import random

    loop = new_loop()
    wrong: list[str] = []

    def use(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(8):
            request = draw_spec(rng)
            references = start_pixels(request)
            job = loop.submit(request, references=references, account=str(seed), lane=rng.choice(list(Lane)))
            if rng.random() < 0.4:
                job.cancel()
            if not job.wait(TIMEOUT):
                wrong.append(f"{job} did not end")
            elif job.state is JobState.DONE and not np.array_equal(job.result(0), solo_locked(job.spec)):
                wrong.append(f"{job} has other pixels")

    lock = threading.Lock()

    def solo_locked(request: Any) -> Any:
        with lock:
            return solo(request)

    threads = [threading.Thread(target=use, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * TIMEOUT)
        assert not thread.is_alive()
    assert not wrong
    assert not loop.scheduler.busy


def test_held_and_released(new_loop: MakeLoop, new_engine: MakeEngine) -> None:
    loop = new_loop([new_engine(), new_engine()])
    seen: list[str] = []
    loop._core.metrics.seen = lambda plan, *_: seen.append(plan.stage)
    loop.hold()
    told: list[str] = []
    hook = lambda job, event: told.append(event.kind) if job.spec.seed == 2 else None  # noqa: E731
    jobs = [
        loop.submit(spec(seed=i, steps=3), lane=lane, on_event=hook)
        for i, lane in enumerate(("fast", "relax", "relax"))
    ]
    jobs[2].pause()
    time.sleep(0.05)
    view = loop.snapshot()
    assert (view.held, view.queued, view.running, seen) == (True, {"fast": 1, "relax": 2}, {}, [])
    loop.release()
    for job in jobs[:2]:
        job.result(TIMEOUT)
    jobs[2].resume()
    jobs[2].result(TIMEOUT)
    view = loop.snapshot()
    assert (view.held, view.queued, view.running) == (False, {}, {})
    assert view.steps == seen.count("step") >= 6
    assert 1 <= view.batch_jobs <= 2
    assert sum(worker.steps for worker in view.workers) == view.steps
    assert all(0 <= worker.busy_share <= 1 and worker.step_ms >= 0 for worker in view.workers)
    assert {worker.state for worker in view.workers} == {"idle"}
    until(lambda: len(told) == 6)  # what happened is told beside, not before the result
    assert told == ["paused", "resumed", "started", "step", "step", "step"]


def test_arena_use_is_told(new_loop: MakeLoop) -> None:
    loop = new_loop()
    for _ in range(3):
        loop.submit(spec(adapters=(AdapterUse("short"),))).result(TIMEOUT)
    (worker,) = loop.snapshot().workers
    assert (worker.arena_hits, worker.arena_misses) == (2, 1)
    assert worker.arena_bytes > 0
