"""The queue of a class: what it remembers of accounts without jobs."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salon.scheduler import fair
from salon.scheduler.fair import FairQueue


@dataclass
class Standing:
    """As little as stands in a queue."""

    account: str
    seq: int = 0
    queued: bool = False
    arrival: float = 0.0
    key: float = 0.0
    max_running: int = 1


def catch_up() -> FairQueue[Standing]:
    return FairQueue(ageing=0.0, catch_up=True)


def test_memory_does_not_grow_with_the_names_of_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair, "IDLE", 20)
    queue = catch_up()
    for i in range(500):  # each alone, so that nobody is ever behind another one
        job = Standing(f"user {i}")
        queue.enter(job)
        queue.charge(job.account, 10.0)
        queue.leave(job)
    assert len(queue.accounts) <= 20
    often = Standing("often")
    for _ in range(500):
        queue.enter(often)
        queue.charge("often", 1000.0)
        queue.leave(often)
    assert len(queue.accounts) <= 20
    assert queue.accounts["often"].service == 500_000.0  # the furthest ahead is remembered


acts = st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["enter", "leave", "charge"]), st.integers(1, 9)))


@settings(max_examples=200, deadline=None)
@given(acts)
def test_forgetting_changes_nothing(trace) -> None:
    """Whoever comes back starts where it would have started had nobody been forgotten: service and floor by hand."""
    queue, busy, service, floor = catch_up(), dict.fromkeys("abcdef", 0), dict.fromkeys("abcdef", 0.0), 0.0
    for name, act, ms in trace:
        job = Standing(name)
        if act == "enter":
            lowest = min((service[other] for other in busy if busy[other]), default=floor)
            if not busy[name]:
                floor = max(floor, lowest)
                service[name] = max(service[name], floor)
            busy[name] += 1
            assert queue.enter(job).service == service[name]
        elif busy[name] and act == "charge":
            service[name] += ms
            queue.charge(name, ms)
        elif busy[name]:
            busy[name] -= 1
            queue.leave(job)
    assert all(queue.accounts[name].service == service[name] for name in busy if busy[name])
