"""A job on its way: its next stage, its cost and its seat."""

from __future__ import annotations

from .cost import WorkerCost
from .fair import Account
from .tickets import Lane, StageWork, StepShape, Ticket

COST_EVERY = 8  # units of a job between looks at what they cost now


class Job:
    """One submitted job. Only the scheduler writes to it.

    Attributes:
        ticket: as submitted.
        lane: the one it is served in.
        arrival: when it was submitted, ms.
        seq: counts the submissions: the last tie-break.
        at, stage, done: the stage that comes next, by its place and its kind, and how many units of it are done.
        shape: of its next step; step_at: the place of steps among its stages, -1 for none.
        worker: the worker that it has a seat on; None while it waits to be started.
        queued: it waits in its class's queue.
        planned: it is in a plan that is not reported yet.
        paused, cancelled: as asked; a planned job is taken out at its report.
        alone: it was in a batch that broke, or a worker died under it, and is tried without company.
        slack: of a paused Turbo job, that of its worker (`Worker.slack`) when it was paused.
        cautious: of its units (counted like `units_seen`), those that it does alone because a worker died in the last
            one.
        losses: how many workers died under it.
        unit_ms: predicted cost of the next unit of each stage, alone, in their order.
        unit: of the next unit.
        load: what one step of it adds to a full step (`CostModel.load`).
        key: its place among jobs of its class: least work left, each ms of waiting outweighing `ageing` ms of it. The
            same order at all times, so that no clock is needed.
        state: its account's state in its class.
    """

    __slots__ = (
        "ageing", "alone", "arrival", "at", "cancelled", "done", "is_relax", "key", "lane", "left_ms", "load", "losses",
        "paused", "planned", "queued", "seq", "shape", "slack", "stage", "state", "step_at", "ticket", "unit",
        "unit_ms", "units_seen", "cautious", "worker",
    )  # fmt: skip

    def __init__(self, ticket: Ticket, seq: int, arrival: float, ageing: float, cost: WorkerCost) -> None:
        self.ticket, self.lane, self.seq, self.arrival, self.ageing = ticket, ticket.lane, seq, arrival, ageing
        self.is_relax = self.lane is Lane.RELAX
        self.state: Account[Job] = Account("")  # until the scheduler gives it its own
        self.shape: StepShape = ticket.shape
        self.step_at = next((n for n, work in enumerate(ticket.stages) if work.shape is not None), -1)
        self.at, self.stage, self.done = 0, ticket.stages[0].kind, 0
        self.worker: str | None = None
        self.queued = self.planned = self.paused = self.cancelled = self.alone = False
        self.losses = 0
        self.units_seen = self.cautious = 0
        self.unit_ms: list[float] = []
        self.left_ms = self.unit = self.load = self.key = self.slack = 0.0
        self.price(cost)

    # what the queue asks for
    @property
    def account(self) -> str:
        return self.ticket.account

    @property
    def work(self) -> float:
        """Predicted ms of everything that is left to do, alone."""
        return self.left_ms

    @property
    def max_running(self) -> int:
        return self.ticket.max_running

    @property
    def next(self) -> StageWork:
        """The stage that comes next."""
        return self.ticket.stages[self.at]

    def price(self, cost: WorkerCost) -> None:
        """Predict the cost of all its units anew by a worker's model."""
        stages, at = self.ticket.stages, self.at
        self.unit_ms = [cost.predict(work) for work in stages]
        self.left_ms = sum(work.count * ms for work, ms in zip(stages[at:], self.unit_ms[at:], strict=True))
        self.left_ms -= self.done * self.unit_ms[at]
        if any(work.later for work in stages):  # not all steps cost as much as the first
            done = [self.done, *(0 for _ in stages[at + 1 :])]
            parts = ((work, part) for work, n in zip(stages[at:], done, strict=True) for part in work.parts(n))
            self.left_ms = sum(count * cost.predict(work, shape) for work, (count, shape) in parts)
            self.unit_ms[at] = cost.predict(stages[at], stages[at].shape_at(self.done))
        self._settle(cost)

    def advance(self, cost: WorkerCost) -> bool:
        """Count a unit that is done. Return whether the job is done too."""
        self.done += 1
        self.units_seen += 1
        self.left_ms = max(0.0, self.left_ms - self.unit)
        stages = self.ticket.stages
        if self.done >= stages[self.at].count:
            if self.at + 1 == len(stages):
                return True
            self.at, self.done = self.at + 1, 0
            self.stage = stages[self.at].kind
        if stages[self.at].later:
            self.shape = stages[self.at].shape_at(self.done) or self.shape
        if self.units_seen % COST_EVERY == 0:
            self.price(cost)
        else:
            self.unit_ms[self.at] = cost.predict(stages[self.at], stages[self.at].shape_at(self.done))
            self._settle(cost)
        return False

    def _settle(self, cost: WorkerCost) -> None:
        self.unit = self.unit_ms[self.at]
        self.load = cost.step.load(self.shape)
        self.key = self.left_ms + self.ageing * self.arrival

    def restart(self) -> None:
        """Go back to the beginning: all that the job had is lost. A replay gives the same pixels.

        A job that was in a plan is a suspect: until it is past the unit in which its worker died, it puts no other job
        at risk.
        """
        if self.planned:
            self.losses += 1
            self.cautious = max(self.cautious, self.units_seen + 1)
        self.at, self.stage, self.done = 0, self.ticket.stages[0].kind, 0
        self.shape = self.ticket.shape
        self.worker, self.planned = None, False
        self.units_seen = 0
        self.alone = self.cautious > 0
