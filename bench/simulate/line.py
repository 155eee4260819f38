"""What all baselines share: a waiting line that respects accounts' limits, and jobs on their way through the stages."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

from ...scheduler.tickets import Admitted, BatchPlan, Ended, Final, Lane, StepShape, Ticket
from ...scheduler.workers import WorkerSpec
from .physics import Physics

Traits = Callable[[str], tuple[str, int, int, int]]
RANK = {lane: rank for rank, lane in enumerate((Lane.TURBO, Lane.FAST, Lane.DRAFT, Lane.RELAX))}


class Running:
    """A started job."""

    __slots__ = ("at", "done", "order", "stage", "ticket")

    def __init__(self, ticket: Ticket, order: tuple[int, float, int]) -> None:
        self.ticket, self.order = ticket, order
        self.at, self.stage, self.done = 0, ticket.stages[0].kind, 0

    def advance(self) -> bool:
        """Count a unit that is done. Return whether the job is done."""
        stages = self.ticket.stages
        self.done += 1
        if self.done < stages[self.at].count:
            return False
        if self.at + 1 == len(stages):
            return True
        self.at, self.done = self.at + 1, 0
        self.stage = stages[self.at].kind
        return False


class Line:
    """First come first served by key, except that accounts at their limit of started jobs stand aside."""

    def __init__(self) -> None:
        self._heap: list[tuple[tuple[int, float, int], Ticket]] = []
        self._aside: dict[tuple[str, bool], list[tuple[tuple[int, float, int], Ticket]]] = {}
        self._running: dict[tuple[str, bool], int] = {}
        self.taken: set[str] = set()  # taken out of turn; their entries are stale
        self.waiting = 0

    @staticmethod
    def _who(ticket: Ticket) -> tuple[str, bool]:
        return ticket.account, ticket.lane is Lane.RELAX

    def push(self, ticket: Ticket, order: tuple[int, float, int]) -> None:
        heappush(self._heap, (order, ticket))
        self.waiting += 1

    def may_start(self, ticket: Ticket, more: int = 0) -> bool:
        """Return whether its account, with `more` jobs started, is below its limit."""
        return self._running.get(self._who(ticket), 0) + more < ticket.max_running

    def head(self) -> tuple[tuple[int, float, int], Ticket] | None:
        """Return the next job that may start."""
        while self._heap:
            entry = self._heap[0]
            if entry[1].job in self.taken:
                heappop(self._heap)
                self.taken.discard(entry[1].job)
            elif not self.may_start(entry[1]):
                heappop(self._heap)
                heappush(self._aside.setdefault(self._who(entry[1]), []), entry)
            else:
                return entry
        return None

    def start(self, ticket: Ticket) -> None:
        """Take a job out of the line (lazily, if it is not the head)."""
        who = self._who(ticket)
        self._running[who] = self._running.get(who, 0) + 1
        self.waiting -= 1
        if self._heap and self._heap[0][1] is ticket:
            heappop(self._heap)
        else:
            self.taken.add(ticket.job)

    def end(self, ticket: Ticket) -> None:
        who = self._who(ticket)
        self._running[who] -= 1
        aside = self._aside.get(who)
        while aside:
            entry = heappop(aside)
            if entry[1].job in self.taken:
                self.taken.discard(entry[1].job)
                continue
            heappush(self._heap, entry)
            break


class Baseline:
    """The part of `salon.scheduler.Scheduler` that the simulator drives. Subclasses choose, in `choose`."""

    name = ""

    def __init__(self, physics: Physics, traits: Traits) -> None:
        self.physics, self.traits = physics, traits
        self.line = Line()
        self.seats: dict[str, list[Running]] = {}  # by worker
        self.max_seats = 64
        self._plans = self._seq = self.num_started = 0
        self._out: dict[int, list[Running]] = {}

    # ---- the interface ---------------------------------------------------------------------------------------------

    def add_worker(self, spec: WorkerSpec, now: float) -> None:
        self.seats[spec.name] = []
        self.max_seats = spec.max_seats

    @property
    def num_queued(self) -> int:
        return self.line.waiting

    @property
    def busy(self) -> bool:
        return self.line.waiting + self.num_started > 0

    def submit(self, ticket: Ticket, now: float) -> Admitted:
        self._seq += 1
        self.line.push(ticket, (self.rank(ticket), now, self._seq))
        return Admitted(ticket.job, ticket.lane)

    def plan(self, worker: str, now: float) -> BatchPlan | None:
        batch = self.choose(worker, now)
        if not batch:
            return None
        self._plans += 1
        lead = batch[0]
        self._out[self._plans] = batch
        ids = tuple(run.ticket.job for run in batch)
        return BatchPlan(self._plans, worker, lead.stage, ids, lead.done, 0.0, lead.ticket.lane)

    def report(self, plan: BatchPlan, elapsed_ms: float, now: float) -> list[Final]:
        finals = []
        for run in self._out.pop(plan.number):
            if run.advance():
                self.seats[plan.worker].remove(run)
                self.num_started -= 1
                self.line.end(run.ticket)
                finals.append(Final(run.ticket.job, Ended.DONE, run.ticket.lane))
        return finals

    def retry_at(self, worker: str) -> float | None:
        """Return when to ask again, for a worker that has to wait."""
        return None

    # ---- for subclasses --------------------------------------------------------------------------------------------

    def rank(self, ticket: Ticket) -> int:
        return 0

    def choose(self, worker: str, now: float) -> list[Running]:
        raise NotImplementedError

    def seat(self, worker: str, ticket: Ticket, order: tuple[int, float, int]) -> Running:
        self.line.start(ticket)
        run = Running(ticket, order)
        self.seats[worker].append(run)
        self.num_started += 1
        return run


def total(runs: list[Running]) -> StepShape:
    shape = runs[0].ticket.shape
    for run in runs[1:]:
        shape = shape + run.ticket.shape
    return shape
