"""How a job's state gets to the worker that a plan names, whatever dies on the way."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from salon.engine.start import PictureForm, PictureUse
from salon.scheduler.tickets import BatchPlan, Lane, Stage
from salon.studio.job import Job
from salon.studio.scheduling import worker_pool
from salon.studio.scheduling.worker_pool import RunningJob, WorkerPool
from salon.studio.workers.messages import Drop, Park, Parked, Progress, Ran, Run

from ..conftest import spec


class FakePort:
    """Keeps what is sent."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sent: list[Any] = []

    def send(self, command: Any, frames: Any = (), *, life: int) -> None:
        if life:
            self.sent.append(command)

    def take(self) -> list[Any]:
        taken, self.sent = self.sent, []
        return taken


class Scene:
    """Two workers; job "j" sits on "a" after 3 evaluations, and is wanted on "b"."""

    def __init__(self) -> None:
        self.a, self.b = FakePort("a"), FakePort("b")
        self.pool = WorkerPool(cast(Any, [self.a, self.b]))
        for slot in self.pool.slots.values():
            slot.life = 1
        self.entry = self.pool.entries["j"] = RunningJob(Job("j", spec(), "x", Lane.FAST, "", cast(Any, None)))
        self.entry.where, self.entry.position = "a", 3
        self.plan = BatchPlan(1, "b", Stage.STEP, ("j",), 0, 1.0, Lane.FAST)
        self.pool.dispatch(self.pool.slots["b"], self.plan)
        (self.park,) = self.a.take()
        assert isinstance(self.park, Park)
        assert not self.b.take()  # it waits
        assert not self.pool.slots["b"].idle

    def arrival(self) -> Any:
        """Of the one Run that the target was sent."""
        (run,) = self.b.take()
        assert isinstance(run, Run)
        (arrival,) = run.arrivals
        assert (arrival.job, arrival.position) == ("j", 3)
        return arrival


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.mark.parametrize("data", [b"state", b""])  # b"": it could not be had, and is replayed
def test_it_is_parked_and_brought(scene: Scene, data: bytes) -> None:
    scene.pool.parked(scene.pool.slots["a"], Parked(scene.park.number, "j", data))
    assert scene.arrival().parked == data
    run = scene.pool.slots["b"].run
    assert run is not None
    assert scene.pool.ran(scene.pool.slots["b"], Ran(number=run + 1)) is None  # nobody waits for that
    assert scene.pool.ran(scene.pool.slots["b"], Ran(number=run, progress={"j": Progress(4, 4)})) is scene.plan
    assert (scene.entry.where, scene.entry.position) == ("b", 4)
    assert scene.pool.slots["b"].idle


def test_the_source_dies(scene: Scene) -> None:
    scene.pool.lost(scene.pool.slots["a"])
    assert scene.arrival().parked == b""
    scene.pool.parked(scene.pool.slots["a"], Parked(scene.park.number, "j", b"late"))
    assert not scene.b.take()


def test_the_target_dies(scene: Scene) -> None:
    """The scheduler starts the job anew; what was parked is of no use."""
    scene.pool.lost(scene.pool.slots["b"])
    assert scene.entry.where == "a"
    again = BatchPlan(2, "a", Stage.ENCODE, ("j",), 0, 1.0, Lane.FAST)
    scene.pool.dispatch(scene.pool.slots["a"], again)
    drop, run = scene.a.take()
    assert isinstance(drop, Drop)
    assert run.arrivals[0].position == 0
    scene.pool.parked(scene.pool.slots["a"], Parked(scene.park.number, "j", b"late"))
    assert not scene.a.take()
    assert not scene.b.take()
    assert scene.pool.slots["a"].plan is again


def test_it_ends_while_it_waits(scene: Scene) -> None:
    scene.pool.forget(scene.pool.entries.pop("j"))
    (drop,) = scene.a.take()
    assert drop.jobs == ("j",)
    scene.pool.parked(scene.pool.slots["a"], Parked(scene.park.number, "j", b"late"))
    assert not scene.b.take()


def test_state_that_is_not_trusted_is_replayed(scene: Scene) -> None:
    slot = scene.pool.slots["b"]
    scene.pool.parked(scene.pool.slots["a"], Parked(scene.park.number, "j", b"state"))
    scene.b.take()
    assert slot.run is not None
    scene.pool.ran(slot, Ran(number=slot.run, dropped=("j",)))
    assert scene.entry.where is None
    scene.pool.dispatch(slot, BatchPlan(3, "b", Stage.STEP, ("j",), 0, 1.0, Lane.FAST))
    assert scene.arrival().parked == b""


def test_a_picture_is_sent_to_a_worker_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it keeps it: the least recently used go, but for what the jobs of the moment need."""
    monkeypatch.setattr(worker_pool, "PICTURE_BYTES", 3 * 48)
    port = FakePort("a")
    pool = WorkerPool(cast(Any, [port]))
    slot = pool.slots["a"]
    slot.life = 1
    forms = {name: PictureForm(name * 64, PictureUse.START, (4, 4)) for name in "abcdef"}

    def opened(name: str, *pictures: str) -> tuple[str, str]:
        """(what is sent, what is to be forgotten) with a job that refers to pictures."""
        entry = RunningJob(Job(name, spec(), "x", Lane.FAST, "", cast(Any, None)))
        entry.references = {forms[each]: np.zeros((4, 4, 3), np.uint8) for each in pictures}
        pool.entries[name] = entry
        slot.plan = None
        pool.dispatch(slot, BatchPlan(1, "a", Stage.ENCODE, (name,), 0, 1.0, Lane.FAST))
        run = port.take()[-1]
        assert run.arrivals[0].pictures == tuple(entry.references)
        sent = "".join(each.form.digest[0] for each in run.pictures)
        return sent, "".join(form.digest[0] for form in run.forget)

    assert opened("1", "a", "b") == ("ab", "")
    assert opened("2", "b", "c") == ("c", "")
    assert opened("3", "a") == ("", "")
    assert opened("4", "d") == ("d", "b")
    assert opened("5", "b", "c", "e", "f") == ("bef", "ad")
    assert set(slot.pictures) == {forms[name] for name in "bcef"}
    pool.lost(slot)
    slot.life = 2
    assert opened("6", "b") == ("b", "")
