"""Jobs whose steps grow heavier on their way: each step is planned, predicted and learnt as what it weighs."""

from __future__ import annotations

import pytest

from salon.scheduler.errors import TicketError
from salon.scheduler.scheduler import Scheduler
from salon.scheduler.tickets import Lane, Stage, StageWork, Ticket, drawing
from salon.scheduler.workers import WorkerSpec

from .house import FIXED, PER_ROW, exact_cost, shape

SMALL, LARGE, STEPS, GROWS = 100, 400, 12, 9


def test_every_step_is_planned_as_what_it_weighs() -> None:
    scheduler = Scheduler()
    scheduler.add_worker(WorkerSpec("w", cost=exact_cost()), 0.0)
    work = drawing(shape(SMALL), STEPS, later=((GROWS, shape(LARGE)),))
    scheduler.submit(Ticket("j", "a", Lane.FAST, work), 0.0)
    seen, rows, now = [], [], 0.0
    left = [scheduler._job("j").work]
    while (plan := scheduler.plan("w", now)) is not None:
        if plan.stage is Stage.STEP:
            seen.append(plan.predicted_ms)
            rows.append(scheduler.rows("j"))
        now += plan.predicted_ms
        if not scheduler.report(plan, plan.predicted_ms, now):
            left.append(scheduler._job("j").work)
    assert rows == [SMALL] * GROWS + [LARGE] * (STEPS - GROWS)
    assert seen == pytest.approx([FIXED + PER_ROW * each for each in rows], rel=1e-3)
    assert left[0] == pytest.approx(now, rel=1e-3), "all of it is known from the start"
    assert all(a > b > 0 for a, b in zip(left, left[1:], strict=False))


def test_a_replay_begins_with_the_first_weight() -> None:
    scheduler = Scheduler()
    scheduler.add_worker(WorkerSpec("w", cost=exact_cost()), 0.0)
    scheduler.submit(Ticket("j", "a", Lane.FAST, drawing(shape(SMALL), 2, later=((1, shape(LARGE)),))), 0.0)
    now = 0.0
    while scheduler.rows("j") == SMALL:
        plan = scheduler.plan("w", now)
        assert plan is not None
        now += 1.0
        scheduler.report(plan, 1.0, now)
    scheduler.lose_worker("w", now)
    assert scheduler.rows("j") == SMALL


@pytest.mark.parametrize(
    ("kind", "later", "words"),
    [
        (Stage.STEP, ((0, shape(2)),), "piece of a later shape: got 0"),
        (Stage.STEP, ((5, shape(2)),), "piece of a later shape: got 5"),
        (Stage.STEP, ((2, shape(2)), (2, shape(3))), "piece of a later shape: got 2"),
        (Stage.STEP, ((2, shape(0)),), "rows: got 0"),
        (Stage.DECODE, ((1, shape(2)),), "those of steps"),
    ],
)
def test_shapes_that_cannot_be(kind, later, words):
    with pytest.raises(TicketError, match=words):
        StageWork(kind, 5, shape=shape(1) if kind is Stage.STEP else None, later=later)


def test_pieces_by_weight() -> None:
    work = StageWork(Stage.STEP, 5, shape=shape(1), later=((2, shape(2)), (4, shape(3))))
    assert [work.shape_at(piece) for piece in range(5)] == [shape(n) for n in (1, 1, 2, 2, 3)]
    assert work.parts(0) == [(2, shape(1)), (2, shape(2)), (1, shape(3))]
    assert work.parts(3) == [(1, shape(2)), (1, shape(3))]
    assert StageWork(Stage.DECODE, 3).parts(1) == [(2, None)]
