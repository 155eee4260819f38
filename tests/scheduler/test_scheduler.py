"""Joining, leaving, failing and losing: exactly that job, exactly once; and refusals that change nothing."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salon.scheduler.errors import (
    ClockError,
    DuplicateJob,
    SchedulerError,
    TicketError,
    UnknownJob,
    UnknownLane,
    UnknownWorker,
)
from salon.scheduler.policy import Policy
from salon.scheduler.scheduler import Scheduler
from salon.scheduler.tickets import BatchPlan, Ended, Lane, Stage, StageWork, StepShape, Ticket, drawing
from salon.scheduler.workers import WorkerSpec

from .house import House, ticket


def test_cancel_ends_exactly_that_job():
    house = House()
    for name in "abc":
        house.submit(ticket(name, name, rows=80, steps=10))
    house.at(25.0, lambda: house.finish(list(filter(None, [house.scheduler.cancel("b", house.now)]))))
    house.run()
    assert house.finals["b"].ended is Ended.CANCELLED
    assert {house.finals[name].ended for name in "ac"} == {Ended.DONE}
    assert len(house.of("b")) < 10


def test_cancel_of_a_waiting_job_answers_at_once():
    house = House()
    house.submit(ticket("a", max_running=1))
    house.submit(ticket("b", max_running=1))
    house.run(until=1.0)
    final = house.scheduler.cancel("b", 1.0)
    assert final is not None
    assert final.ended is Ended.CANCELLED
    with pytest.raises(UnknownJob, match="'b'"):
        house.scheduler.cancel("b", 1.0)
    house.run()
    assert set(house.finals) == {"a"}


def test_pause_takes_no_unit_until_resume():
    house = House()
    house.submit(ticket("a", "a"))
    house.submit(ticket("b", "b"))
    house.at(20.0, lambda: house.scheduler.pause("a", house.now))
    house.at(2000.0, lambda: house.scheduler.resume("a", house.now))
    house.run()
    assert house.all_done()
    starts = [start for start, _, _ in house.of("a")]
    assert not any(40 < start < 2000 for start in starts)
    assert house.ended_at["b"] < 2000 < house.ended_at["a"]


def test_running_limit_of_an_account():
    def watch(house: House, plan: BatchPlan) -> None:
        assert house.scheduler.num_started <= 2

    house = House(watch=watch)
    for i in range(8):
        house.submit(ticket(f"j{i}", "a", max_running=2))
    house.run()
    assert house.all_done()


def test_one_bad_job_fails_alone():
    house = House()
    for name in "abc":
        house.submit(ticket(name, name, rows=80))

    def outcome(plan: BatchPlan) -> dict[str, Any]:
        return {"failed": {"b": "NaN"}} if plan.stage is Stage.STEP and "b" in plan.jobs else {}

    house.run(outcome=outcome)
    assert house.finals["b"].ended is Ended.FAILED
    assert house.finals["b"].reason == "NaN"
    assert {house.finals[name].ended for name in "ac"} == {Ended.DONE}


def test_a_broken_batch_is_tried_one_by_one():
    house = House()
    for name in "abcd":
        house.submit(ticket(name, name, rows=80))

    def outcome(plan: BatchPlan) -> dict[str, Any]:
        return {"broken": "out of memory"} if plan.stage is Stage.STEP and "c" in plan.jobs else {}

    house.run(outcome=outcome)
    assert house.finals["c"].ended is Ended.FAILED
    assert house.finals["c"].reason == "out of memory"
    assert {house.finals[name].ended for name in "abd"} == {Ended.DONE}
    assert house.scheduler.workers["w0"].row_cap == WorkerSpec("x").max_rows  # the job was to blame, not the size


def test_a_worker_that_cannot_take_so_much_gets_smaller_batches():
    house = House()
    for i in range(8):
        house.submit(ticket(f"j{i}", f"a{i}", rows=80, steps=20))

    def outcome(plan: BatchPlan) -> dict[str, Any]:
        return {"broken": "out of memory"} if len(plan.jobs) > 3 else {}

    house.run(outcome=outcome)
    assert house.all_done()
    assert house.scheduler.workers["w0"].row_cap < 8 * 80
    assert max(len(plan.jobs) for _, _, plan in house.done) > 1


def test_jobs_of_a_lost_worker_start_again_elsewhere():
    house = House(workers=2)
    for i in range(6):
        house.submit(ticket(f"j{i}", f"a{i}", Lane.TURBO if i == 0 else Lane.FAST, steps=20))
    house.at(60.0, lambda: house.lose("w0"))
    house.run()
    assert house.all_done()


def test_a_job_that_loses_too_many_workers_fails():
    scheduler = Scheduler(Policy(max_losses=2))
    scheduler.submit(ticket("a"), 0.0)
    finals = []
    for i in range(3):
        scheduler.add_worker(WorkerSpec(f"w{i}"), float(i))
        assert scheduler.plan(f"w{i}", float(i)) is not None
        finals += scheduler.lose_worker(f"w{i}", float(i))
    assert [(f.job, f.ended) for f in finals] == [("a", Ended.FAILED)]
    assert not scheduler.busy


@pytest.mark.parametrize("fatal", [0, 4])
def test_what_kills_workers_does_so_alone(fatal):
    """From its step `fatal` on, a job kills whoever works on it: its company loses one worker by it, and is done."""
    company: list[int] = []

    def watch(house: House, plan: BatchPlan) -> None:
        if plan.stage is Stage.STEP and "bad" in plan.jobs and house.scheduler._jobs["bad"].done >= fatal:
            company.append(len(plan.jobs))
            house.at(house.now, partial(replace_worker, house, plan.worker))

    def replace_worker(house: House, name: str) -> None:
        house.lose(name)
        house.names = [f"{name}+"]
        house.scheduler.add_worker(WorkerSpec(f"{name}+"), house.now)

    house = House(Policy(quantum_ms=0), watch=watch)
    for name in ("a", "b", "bad", "c", "d", "e"):
        house.submit(ticket(name, name, rows=80, steps=12))
    house.run()
    assert company == [6, 1, 1, 1]
    assert house.finals["bad"].reason == "4 workers died while they worked on it"
    assert {house.finals[name].ended for name in "abcde"} == {Ended.DONE}
    assert max(len(plan.jobs) for _, _, plan in house.done[-20:]) == 5  # together again


def test_only_what_a_worker_was_doing_counts_as_its_loss():
    """A job that merely sits there may lose any number of workers."""
    scheduler = Scheduler(Policy(max_losses=0))
    for name in "ab":
        scheduler.submit(ticket(name, name), 0.0)
    scheduler.add_worker(WorkerSpec("w"), 0.0)
    for _ in range(2):
        plan = scheduler.plan("w", 0.0)
        assert plan is not None
        if plan.jobs == ("a",):
            scheduler.report(plan, 1.0, 0.0)
    assert [final.job for final in scheduler.lose_worker("w", 1.0)] == ["b"]
    scheduler.add_worker(WorkerSpec("w"), 1.0)
    again = scheduler.plan("w", 1.0)
    assert again is not None
    assert (again.jobs, again.stage) == (("a",), Stage.ENCODE)


def test_who_was_cleared_is_no_suspect_again():
    """A worker dies during a shared step; its jobs pass that step alone; the next one dies while they are paused."""
    house = House(Policy(quantum_ms=0))
    for name in "ab":
        house.submit(ticket(name, name, rows=80, steps=400))
    found = house.scheduler._jobs
    house.run(until=40.0)
    house.lose("w0")
    assert all(job.alone for job in found.values())
    house.names = ["w1"]
    house.scheduler.add_worker(WorkerSpec("w1"), house.now)
    house.at(41.0, lambda: None)
    house.run(until=400.0)
    assert not any(job.alone for job in found.values())
    for name in found:
        house.scheduler.pause(name, house.now)
    house.run(until=800.0)
    house.lose("w1")
    assert not any(job.alone for job in found.values())


def test_an_idle_worker_takes_over_what_waits_elsewhere():
    house = House(workers=2)
    for i in range(3):
        house.submit(ticket(f"j{i}", f"a{i}", rows=6400, steps=20))
    house.run()
    assert house.all_done()
    assert any(plan.moved for _, _, plan in house.done)
    busy = [house.scheduler.workers[name].busy_ms for name in ("w0", "w1")]
    assert max(busy) < 1.3 * min(busy)


events = st.lists(
    st.tuples(
        st.sampled_from(["submit", "submit", "submit", "cancel", "pause", "resume", "lose", "add"]),
        st.integers(0, 30),
        st.sampled_from(list(Lane)),
        st.floats(0, 600),
    ),
    max_size=60,
)


@settings(max_examples=80, deadline=None)
@given(events, st.randoms(use_true_random=False))
def test_whatever_happens_every_job_ends_exactly_once(trace, random):
    house = House(workers=2)
    numbers = iter(range(1000))

    def act(kind: str, number: int, lane: Lane) -> None:
        scheduler = house.scheduler
        if kind == "submit":
            job = f"j{len(house.tickets)}"
            house.tickets[job] = ticket(job, f"a{number % 5}", lane, 80 + 40 * number, number % 7 + 1, number % 3)
            house.lanes[job] = scheduler.submit(house.tickets[job], house.now).lane
        elif kind == "add":
            name = f"x{next(numbers)}"
            scheduler.add_worker(WorkerSpec(name), house.now)
            house.names.append(name)
        elif kind == "lose" and len(scheduler.workers) > 1:
            house.lose(random.choice(sorted(scheduler.workers)))
        elif (job := f"j{number}") in house.tickets and job not in house.finals:
            if kind == "cancel":
                house.finish(list(filter(None, [scheduler.cancel(job, house.now)])))
            elif kind in ("pause", "resume"):
                getattr(scheduler, kind)(job, house.now)

    def outcome(plan: BatchPlan) -> dict[str, Any]:
        roll = random.random()
        if roll < 0.02:
            return {"failed": {random.choice(plan.jobs): "bad numbers"}}
        return {"broken": "out of memory"} if roll < 0.04 else {}

    for kind, number, lane, time in trace:
        house.at(time, partial(act, kind, number, lane))

    def resume_all() -> None:
        for job in house.tickets:
            if job not in house.finals:
                house.scheduler.resume(job, house.now)

    house.at(1e6, resume_all)
    house.run(outcome=outcome)
    assert set(house.finals) == set(house.tickets)
    assert not house.scheduler.busy
    assert house.scheduler.num_started == house.scheduler.num_queued == 0
    assert all(not worker.seats and worker.turbo is None for worker in house.scheduler.workers.values())


def state(scheduler: Scheduler) -> tuple[Any, ...]:
    return scheduler.num_started, scheduler.num_queued, scheduler.service("a"), dict(scheduler.workers)


def test_refusals_change_nothing():
    scheduler = Scheduler()
    scheduler.add_worker(WorkerSpec("w"), 10.0)
    scheduler.submit(ticket("a"), 10.0)
    plan = scheduler.plan("w", 10.0)
    assert plan is not None
    before = state(scheduler)
    for error, call in (
        (DuplicateJob, lambda: scheduler.submit(ticket("a"), 11.0)),
        (ClockError, lambda: scheduler.submit(ticket("b"), 9.0)),
        (ClockError, lambda: scheduler.submit(ticket("b"), math.nan)),
        (ClockError, lambda: scheduler.report(plan, 1.0, 9.0)),
        (ClockError, lambda: scheduler.lose_worker("w", 9.0)),
        (UnknownJob, lambda: scheduler.cancel("b", 11.0)),
        (UnknownJob, lambda: scheduler.pause("b", 11.0)),
        (UnknownWorker, lambda: scheduler.plan("x", 11.0)),
        (UnknownWorker, lambda: scheduler.lose_worker("x", 11.0)),
        (SchedulerError, lambda: scheduler.add_worker(WorkerSpec("w"), 11.0)),
        (SchedulerError, lambda: scheduler.plan("w", 11.0)),
        (SchedulerError, lambda: scheduler.report(plan, -1.0, 11.0)),
        (SchedulerError, lambda: scheduler.report(plan, math.inf, 11.0)),
        (SchedulerError, lambda: scheduler.report(plan, 1.0, 11.0, preview_ms={"a": math.nan})),
        (SchedulerError, lambda: scheduler.report(plan, 1.0, 11.0, preview_ms={"a": -1.0})),
    ):
        with pytest.raises(error, match="allowed"):
            call()
        assert state(scheduler) == before
    scheduler.report(plan, 1.0, 11.0)
    with pytest.raises(SchedulerError, match="report it once"):
        scheduler.report(plan, 1.0, 11.0)


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"rows": 0}, "rows"),
        ({"rows": -5}, "rows"),
        ({"rows": 2**40}, "rows"),
        ({"steps": -1}, "steps"),
        ({"steps": 1.5}, "steps"),
        ({"images": -1}, "images"),
        ({"pixels": 0}, "pixels"),
        ({"max_running": 0}, "max_running"),
        ({"account": ""}, "account"),
    ],
)
def test_impossible_tickets(fields, names):
    with pytest.raises(TicketError, match=names):
        ticket("a", **fields)


def test_unknown_lane():
    express: Any = "express"
    with pytest.raises(UnknownLane, match="turbo, fast, draft, relax"):
        Ticket("a", "a", express, drawing(StepShape(1, 1), 1))


@pytest.mark.parametrize("lane", list(Lane))
def test_a_job_may_have_stages_of_its_own_and_no_step(lane):
    """A kind is known by its name alone: it is priced, planned alone and counted like any other."""
    house = House()
    house.submit(ticket("drawn", steps=3))
    house.submit(Ticket("told", "b", lane, (StageWork("describe", 2, 5.0), StageWork("upscale", 1, 16.0))), 1.0)
    for n in range(3):
        house.submit(ticket(f"more {n}", lane=Lane.RELAX, steps=2), 2.0)
    house.run()
    assert house.all_done()
    plans = [(plan.stage, plan.piece, plan.jobs) for _, _, plan in house.done if "told" in plan.jobs]
    assert plans == [("describe", 0, ("told",)), ("describe", 1, ("told",)), ("upscale", 0, ("told",))]
    lines = house.scheduler.workers["w0"].cost.stages
    assert {"describe", "upscale", "encode", "decode"} <= set(lines)
    assert lines["describe"].observations == 2


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ({"kind": ""}, "stage: got ''"),
        ({"kind": "step"}, "stage <?.*step.*: got no shape"),
        ({"kind": "describe", "shape": StepShape(1, 1)}, "got a shape, allowed one for steps"),
        ({"kind": "describe", "count": 0}, "pieces: got 0, allowed a whole number from 1"),
        ({"kind": "describe", "units": -1.0}, "units: got -1.0"),
        ({"kind": "describe", "units": float("nan")}, "units: got nan"),
        ({"kind": "step", "shape": StepShape(0, 1)}, "rows: got 0"),
    ],
)
def test_impossible_stages(stage, words):
    with pytest.raises(TicketError, match=words):
        StageWork(**stage)


def test_stages_of_a_ticket_are_one_or_more_and_each_once():
    for stages, got in (((), "none"), ((StageWork("a"), StageWork("a")), "a, a")):
        with pytest.raises(TicketError, match=f"stages: got {got}, allowed one or more, each kind once"):
            Ticket("j", "a", Lane.FAST, stages)
