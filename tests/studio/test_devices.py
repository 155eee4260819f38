"""Which worker computes where, and what happens when a device breaks in the middle of a step."""

from __future__ import annotations

import os
import queue
import textwrap
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from salon.engine.engine import Engine
from salon.engine.errors import DeviceFull, DeviceLost, SpecError
from salon.frontends.arguments import UsageError, parse
from salon.kernels import backends
from salon.studio.devices import worker_devices
from salon.studio.errors import WorkerLost
from salon.studio.scheduling.loop import Loop
from salon.studio.studio import Studio
from salon.studio.workers.idle import Idle
from salon.studio.workers.messages import Setup
from salon.studio.workers.process import Deadlines, ProcessWorker
from salon.studio.workers.thread import ThreadWorker

from .conftest import BACKEND, TIMEOUT, Solo, finals, spec


@pytest.mark.parametrize(
    ("device", "workers", "expected"),
    [
        (None, None, [None]),
        (None, 2, [None, None]),
        ("cuda:0,cuda:1", None, ["cuda:0", "cuda:1"]),
        (["cuda:1", "cuda:0"], 2, ["cuda:1", "cuda:0"]),
        ("cuda:0, cuda:1", 4, ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]),
        ("cpu", 2, ["cpu", "cpu"]),
    ],
)
def test_every_worker_has_a_device(device: Any, workers: int | None, expected: list[str | None]) -> None:
    assert worker_devices(device, workers) == expected


@pytest.mark.parametrize(
    ("device", "workers", "message"),
    [
        ("cuda:0,cuda:0", None, "device: got cuda:0 twice, allowed each once; ask for more workers instead"),
        ("GPU 0", None, "device: got 'GPU 0', allowed names like cuda:0 or cpu, with commas between; see the GPUs"),
        ("cuda:0,", None, "device: got 'cuda:0,', allowed names"),
        ([], None, "device: got '', allowed names"),
        ("cuda:0,cuda:1", 3, "workers: got 3, allowed a multiple of 2, the number of devices; leave it out"),
        (None, 0, "workers: got 0, allowed 1 to 256"),
        (None, "two", "workers: got 'two', allowed 1 to 256"),
    ],
)
def test_devices_that_make_no_sense(device: Any, workers: Any, message: str) -> None:
    with pytest.raises(SpecError, match=f"^{message}"):
        worker_devices(device, workers)


def test_workers_that_share_cores() -> None:
    """Threads are shared out among workers of backends that compute on them, and no other backend takes any."""
    assert [backends.uses_cores(name) for name in ("cpu", "reference", "triton", "none")] == [True, True, False, True]


def test_a_studio_hands_each_worker_its_device(tiny: Path) -> None:
    with Studio(tiny, backend=BACKEND, device="cpu", threads=1) as studio:
        assert list(studio.loop._core.pool.slots) == ["worker-0@cpu"]
    with pytest.raises(WorkerLost, match=r"device: got 'cuda:[01]', allowed cpu \(the cpu backend has no other\)"):
        Studio(tiny, backend="cpu", device="cuda:0,cuda:1", process=True)


# What a worker's Python runs first (PYTHONPATH): the third step of the first life meets a broken GPU.
BREAKS = """
    import os, sys
    from pathlib import Path

    MARK = Path(os.environ["SALON_TEST_BROKE"])

    def spoil():
        from salon.engine.engine import Engine
        from salon.engine.errors import DeviceLost
        step, count = Engine.step, [0]

        def fragile(self, generations):
            count[0] += 1
            if count[0] == 3 and not MARK.exists():
                MARK.touch()
                raise DeviceLost("cuda:0 (a GPU): got it fell off the bus amid 'step', allowed a working device")
            return step(self, generations)

        Engine.step = fragile

    if "salon.studio.workers.main" in sys.orig_argv:
        spoil()
"""


def test_a_gpu_that_falls_off_ends_its_worker_and_no_job(
    tiny: Path, tmp_path: Path, solo: Solo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process is replaced, by name of the reason, and its jobs run again with the same pixels."""
    (tmp_path / "sitecustomize.py").write_text(textwrap.dedent(BREAKS))
    monkeypatch.setenv("SALON_TEST_BROKE", str(tmp_path / "broke"))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    setup = Setup(model=os.fsencode(tiny), backend=BACKEND, threads=1)
    worker = ProcessWorker(setup, "worker-0@cuda:0", Deadlines(backoff_s=0.01))
    with Loop([worker], start_timeout_s=TIMEOUT) as loop:
        jobs = [loop.submit(spec(seed=i, steps=4), account=str(i)) for i in range(2)]
        for job in jobs:
            np.testing.assert_array_equal(job.result(TIMEOUT), solo(job.spec))
            assert finals(job) == ["done"]
        told = [event.reason for event in jobs[0].events(TIMEOUT) if event.kind == "requeued"]
    assert (tmp_path / "broke").exists()
    assert len(told) == 1
    assert "worker 'worker-0@cuda:0': DeviceLost: cuda:0 (a GPU): got it fell off the bus amid 'step'" in told[0]


def test_the_jobs_of_a_broken_device_go_on_elsewhere(new_engine: Any, solo: Solo) -> None:
    """A thread cannot be started anew: its worker is given up, and the other one does its work."""
    broken, sound = new_engine(), new_engine()
    step, count = broken.step, [0]

    def fragile(generations: Any) -> Any:
        count[0] += 1
        if count[0] == 3:
            raise DeviceLost("it fell off the bus")
        return step(generations)

    broken.step = fragile
    clients = [ThreadWorker(broken, "worker-0@cuda:0"), ThreadWorker(sound, "worker-1@cuda:1")]
    with Loop(clients, start_timeout_s=TIMEOUT) as loop:
        jobs = [loop.submit(spec(seed=i, steps=6), account=str(i)) for i in range(4)]
        for job in jobs:
            np.testing.assert_array_equal(job.result(TIMEOUT), solo(job.spec))
            assert finals(job) == ["done"]
    assert count[0] == 3


def test_a_full_device_harms_only_the_step_that_does_not_fit(new_engine: Any, solo: Solo) -> None:
    """A batch of three runs out of memory and is taken apart; everyone gets their picture."""
    engine: Engine = new_engine()
    step, broke = engine.step, []

    def fragile(generations: Any) -> Any:
        if len(generations) > 2:
            broke.append(len(generations))
            raise DeviceFull("cuda:0: got no memory left")
        return step(generations)

    engine.step = fragile  # type: ignore[method-assign]
    with Loop([ThreadWorker(engine, "worker-0@cuda:0")], start_timeout_s=TIMEOUT) as loop:
        loop.hold()
        jobs = [loop.submit(spec(seed=i, steps=6), account=str(i)) for i in range(4)]
        loop.release()
        for job in jobs:
            np.testing.assert_array_equal(job.result(TIMEOUT), solo(job.spec))
            assert finals(job) == ["done"]
    assert broke


def test_an_idle_worker_rests_once_and_draws_the_same_afterwards(new_engine: Any, solo: Solo) -> None:
    engine: Engine = new_engine()
    rested, woken = threading.Event(), []

    def rests() -> int:
        rested.set()
        return 10**9

    counted: Any = engine
    counted.unload = rests
    counted.wake = lambda: woken.append(rested.is_set())
    with Loop([ThreadWorker(engine, "worker-0", unload_after=0.02)], start_timeout_s=TIMEOUT) as loop:
        first = loop.submit(spec(seed=1, steps=2), account="a")
        np.testing.assert_array_equal(first.result(TIMEOUT), solo(first.spec))
        assert rested.wait(TIMEOUT)
        woken.clear()
        second = loop.submit(spec(seed=2, steps=2), account="a")
        np.testing.assert_array_equal(second.result(TIMEOUT), solo(second.spec))
        assert woken[0] is True


def test_a_wait_for_commands() -> None:
    """One rest between two commands, however long it takes; none without a worker or a time."""
    told: list[str] = []
    commands: Any = queue.SimpleQueue()

    def rest() -> None:
        told.append("rests")
        commands.put(("run", ()))  # which comes when it has rested

    resting: Any = SimpleNamespace(rest=rest)

    def idle(after: float | None = None) -> Any:
        return Idle(commands, after)

    assert idle(0.01).next(resting) == ("run", ())
    assert told == ["rests"]
    for each, worker in ((idle(0.01), None), (idle(), resting), (idle(9.0), resting)):
        commands.put(("next", ()))
        assert each.next(worker)[0] == "next"
    assert told == ["rests"]


@pytest.mark.parametrize("after", [0, -1, 10**9, "soon", float("nan"), True])
def test_a_time_to_unload_after_that_is_none(tiny: Path, after: Any) -> None:
    with pytest.raises(SpecError, match=r"unload_after: got .*, allowed seconds, more than 0 up to 10,000,000; 600"):
        Studio(tiny, backend="triton", unload_after=after)


def test_nothing_is_unloaded_of_what_lies_in_the_hosts_memory(tiny: Path) -> None:
    with pytest.raises(SpecError, match="unload_after: got it with backend 'cpu', allowed a backend on a device"):
        Studio(tiny, unload_after=600)
    with pytest.raises(UsageError, match="--unload-after: got it with backend 'cpu'"):
        parse(["serve", "--unload-after", "600"], "")
    assert parse(["serve", "--unload-after", "600", "--backend", "triton"], "").unload_after == 600
