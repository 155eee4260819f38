"""What Salon is compared with, each done as well as its idea allows: same costs, same stages, same limits of accounts,
and batch caps from the true costs (`Physics.pays`), which no real engine knows as exactly.
"""

from __future__ import annotations

from collections import deque

from ...scheduler.tickets import Admitted, Stage, Ticket
from .line import RANK, Baseline, Running, Traits, total
from .physics import Physics


class Fifo(Baseline):
    """One job at a time on each worker, in order of arrival: ComfyUI, A1111, most image servers."""

    name = "FIFO"

    def choose(self, worker: str, now: float) -> list[Running]:
        if self.seats[worker]:
            return self.seats[worker][:1]
        head = self.line.head()
        return [self.seat(worker, head[1], head[0])] if head else []


class DynamicBatching(Baseline):
    """Whole requests of equal shape and steps run together from start to end, as Triton's dynamic batcher does it.

    The oldest job decides; the longest it waits for company is one of its steps, and not at all when the batch is as
    large as pays. No job joins or leaves a batch on its way.
    """

    name = "request batch"

    def __init__(self, physics: Physics, traits: Traits) -> None:
        super().__init__(physics, traits)
        self._equals: dict[object, deque[tuple[tuple[int, float, int], Ticket]]] = {}
        self._gone: set[str] = set()
        self._until: dict[str, float] = {}

    @staticmethod
    def _key(ticket: Ticket) -> object:
        return ticket.shape.rows, ticket.shape.squares, ticket.count(Stage.STEP), ticket.count(Stage.DECODE)

    def submit(self, ticket: Ticket, now: float) -> Admitted:
        admitted = super().submit(ticket, now)
        self._equals.setdefault(self._key(ticket), deque()).append(((0, now, self._seq), ticket))
        return admitted

    def retry_at(self, worker: str) -> float | None:
        return self._until.pop(worker, None)

    def choose(self, worker: str, now: float) -> list[Running]:
        runs = self.seats[worker]
        if not runs:
            self._gather(worker, now)
        for stage in (Stage.ENCODE, Stage.STEP, Stage.DECODE, Stage.UPSCALE):
            same = [run for run in runs if run.stage is stage]
            if same:
                return same if stage is Stage.STEP else same[:1]
        return []

    def _gather(self, worker: str, now: float) -> None:
        head = self.line.head()
        if head is None:
            return
        waiting = self._equals[self._key(head[1])]
        while waiting and waiting[0][1].job in self._gone:
            self._gone.discard(waiting.popleft()[1].job)
        batch, shape, full = [head], head[1].shape, False
        extra: dict[str, int] = {head[1].account: 1}
        for entry in waiting:
            ticket = entry[1]
            if ticket is head[1] or ticket.job in self._gone:
                continue
            if not self.line.may_start(ticket, extra.get(ticket.account, 0)):
                continue
            if len(batch) >= self.max_seats or not self.physics.pays(shape, ticket.shape):
                full = True
                break
            batch.append(entry)
            extra[ticket.account] = extra.get(ticket.account, 0) + 1
            shape = shape + ticket.shape
        patience = head[0][1] + self.physics.step_ms(head[1].shape)
        full = full or not self.physics.pays(shape, head[1].shape)
        if not full and now < patience:
            self._until[worker] = patience
            return
        for order, ticket in batch:
            self.seat(worker, ticket, order)
            self._gone.add(ticket.job)


class EqualSteps(Baseline):
    """Step batching of equals, as vllm-omni's step scheduler does it, the best public engine we know.

    Jobs join and leave at every step, but a batch has one resolution, one guidance value and one adapter, and the line
    is first come first served: while its head does not fit, no job joins.
    """

    name = "equal steps"

    def choose(self, worker: str, now: float) -> list[Running]:
        runs = self.seats[worker]
        while (head := self.line.head()) is not None and len(runs) < self.max_seats:
            if runs:
                if self._key(runs[0].ticket) != self._key(head[1]):
                    break
                if not self.physics.pays(total(runs), head[1].shape):
                    break
            self.seat(worker, head[1], head[0])
        for stage in (Stage.DECODE, Stage.UPSCALE, Stage.ENCODE):
            for run in runs:
                if run.stage is stage:
                    return [run]
        return list(runs)

    def _key(self, ticket: Ticket) -> tuple[str, int, int]:
        size, _, guidance, adapters = self.traits(ticket.job)
        return size, guidance, adapters


class StrictPriority(Baseline):
    """Ragged step batching, as free as Salon's, but lanes by strict priority and first come first served within one."""

    name = "strict lanes"

    def rank(self, ticket: Ticket) -> int:
        return RANK[ticket.lane]

    def choose(self, worker: str, now: float) -> list[Running]:
        runs = self.seats[worker]
        while (head := self.line.head()) is not None and len(runs) < self.max_seats:
            ahead = [run for run in runs if run.order < head[0]]
            if ahead and not self.physics.pays(total(ahead), head[1].shape):
                break
            self.seat(worker, head[1], head[0])
        runs.sort(key=lambda run: run.order)
        if not runs or runs[0].stage is not Stage.STEP:
            return runs[:1]
        batch, shape = [runs[0]], runs[0].ticket.shape
        for run in runs[1:]:
            if run.stage is Stage.STEP and self.physics.pays(shape, run.ticket.shape):
                batch.append(run)
                shape = shape + run.ticket.shape
        return batch


BASELINES: tuple[type[Baseline], ...] = (Fifo, DynamicBatching, EqualSteps, StrictPriority)
