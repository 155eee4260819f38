"""How a job's state gets to the worker that a plan names, whatever dies on the way."""

from __future__ import annotations

from typing import Any, cast

import pytest

from salon.scheduler.tickets import Lane, Plan, Stage
from salon.studio.fleet import Entry, Fleet
from salon.studio.job import Job
from salon.studio.messages import Drop, Park, Parked, Progress, Ran, Run

from .conftest import spec


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
        self.fleet = Fleet(cast(Any, [self.a, self.b]))
        for slot in self.fleet.slots.values():
            slot.life = 1
        self.entry = self.fleet.entries["j"] = Entry(Job("j", spec(), "x", Lane.FAST, "", cast(Any, None)))
        self.entry.where, self.entry.position = "a", 3
        self.plan = Plan(1, "b", Stage.STEP, ("j",), 0, 1.0, Lane.FAST)
        self.fleet.dispatch(self.fleet.slots["b"], self.plan)
        (self.park,) = self.a.take()
        assert isinstance(self.park, Park)
        assert not self.b.take()  # it waits
        assert not self.fleet.slots["b"].idle

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
    scene.fleet.parked(scene.fleet.slots["a"], Parked(scene.park.number, "j", data))
    assert scene.arrival().parked == data
    run = scene.fleet.slots["b"].run
    assert run is not None
    assert scene.fleet.ran(scene.fleet.slots["b"], Ran(number=run + 1)) is None  # nobody waits for that
    assert scene.fleet.ran(scene.fleet.slots["b"], Ran(number=run, progress={"j": Progress(4, 4)})) is scene.plan
    assert (scene.entry.where, scene.entry.position) == ("b", 4)
    assert scene.fleet.slots["b"].idle


def test_the_source_dies(scene: Scene) -> None:
    scene.fleet.lost(scene.fleet.slots["a"])
    assert scene.arrival().parked == b""
    scene.fleet.parked(scene.fleet.slots["a"], Parked(scene.park.number, "j", b"late"))
    assert not scene.b.take()


def test_the_target_dies(scene: Scene) -> None:
    """The scheduler starts the job anew; what was parked is of no use."""
    scene.fleet.lost(scene.fleet.slots["b"])
    assert scene.entry.where == "a"
    again = Plan(2, "a", Stage.ENCODE, ("j",), 0, 1.0, Lane.FAST)
    scene.fleet.dispatch(scene.fleet.slots["a"], again)
    drop, run = scene.a.take()
    assert isinstance(drop, Drop)
    assert run.arrivals[0].position == 0
    scene.fleet.parked(scene.fleet.slots["a"], Parked(scene.park.number, "j", b"late"))
    assert not scene.a.take()
    assert not scene.b.take()
    assert scene.fleet.slots["a"].plan is again


def test_it_ends_while_it_waits(scene: Scene) -> None:
    scene.fleet.forget(scene.fleet.entries.pop("j"))
    (drop,) = scene.a.take()
    assert drop.jobs == ("j",)
    scene.fleet.parked(scene.fleet.slots["a"], Parked(scene.park.number, "j", b"late"))
    assert not scene.b.take()


def test_state_that_is_not_trusted_is_replayed(scene: Scene) -> None:
    slot = scene.fleet.slots["b"]
    scene.fleet.parked(scene.fleet.slots["a"], Parked(scene.park.number, "j", b"state"))
    scene.b.take()
    assert slot.run is not None
    scene.fleet.ran(slot, Ran(number=slot.run, dropped=("j",)))
    assert scene.entry.where is None
    scene.fleet.dispatch(slot, Plan(3, "b", Stage.STEP, ("j",), 0, 1.0, Lane.FAST))
    assert scene.arrival().parked == b""
