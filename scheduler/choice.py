"""The choice of a worker's next plan: whose turn it is, and which jobs ride along.

A choice looks at one worker's seats and at the heads of the queues.

Fast and Draft share one class ("prompt" here), Relax is the other; a Turbo job belongs to its worker. The rules, and
the inequalities that they keep, are in docs/lanes.md; the numbers in `policy.Policy`. This runs at every step of every
worker: no call, object or sort more than it needs.
"""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush
from operator import attrgetter

from .fair import FairQueue
from .jobs import Job
from .policy import Policy
from .tickets import Lane, Stage
from .workers import Worker

BEYOND = 1.25  # times the largest step that was measured, how far its cost curve is trusted with a promise

_by_key = attrgetter("key")


class Chooser:
    """The choice for one worker at one time.

    Args:
        policy: the numbers.
        worker: whose plan it is.
        prompt, relax: the queues of the two classes.
        newcomers: whether this worker may start waiting Fast and Draft jobs now.
        step_cap: longest shared step, ms.
    """

    def __init__(
        self,
        policy: Policy,
        worker: Worker,
        prompt: FairQueue[Job],
        relax: FairQueue[Job],
        newcomers: bool,
        step_cap: float,
    ) -> None:
        self.policy, self.worker, self.prompt, self.relax = policy, worker, prompt, relax
        self.turbo = worker.turbo
        self.step_cap = step_cap
        self.first: Job | None = None  # the job that rides with the Turbo job before all others
        self.prompts: list[Job] = []
        self.relaxed: list[Job] = []
        for job in worker.seats.values():
            if not job.paused and job is not self.turbo:
                (self.relaxed if job.is_relax else self.prompts).append(job)
        self.newcomer = prompt.head() if newcomers and worker.free_seats(relax=False) > 0 else None
        lowest = min([job.state.service for job in self.prompts], default=math.inf)
        if self.newcomer is not None:
            lowest = min(lowest, self.newcomer.state.service)
        self.lowest = lowest  # service of the account that was served least, of those that wait here
        self.bound = lowest + policy.quantum_ms

    def choose(self) -> list[Job]:
        """Return the jobs of the next plan, the leading one first; none if there is nothing to do."""
        lead = self._lead()
        if lead is None:
            return []
        if lead.stage is not Stage.STEP or lead.alone:
            return [lead]
        batch = self._batch(lead)
        if lead.is_relax and self.turbo is None and (fresh := self._wider(batch)):
            return [fresh]
        return batch

    def _lead(self) -> Job | None:
        worker = self.worker
        relaxed = self._next_relaxed()
        due = relaxed is not None and worker.relax_credit >= relaxed.unit
        if self.turbo is not None:
            other = relaxed if due else self._next_prompt()
            if other is None or other.unit > worker.slack or self._can_ride(other, self.turbo):
                self.first = other
                return self.turbo
            return other
        return relaxed if due else self._next_prompt() or relaxed

    def _can_ride(self, job: Job, turbo: Job) -> bool:
        """Return whether a job may join the Turbo job's next step: it costs less there than in a plan of its own."""
        if job.stage is not Stage.STEP or turbo.stage is not Stage.STEP or job.alone or turbo.alone:
            return False
        if turbo.shape.rows + job.shape.rows > self._measured_rows(turbo):
            return False
        cost = self.worker.cost.step
        return cost.predict(turbo.shape + job.shape) <= self._turbo_slack(cost.predict(turbo.shape))

    def _turbo_slack(self, alone: float) -> float:
        """Return how long a step of the Turbo job, which takes so long alone, may take in company.

        A promise is at stake: what is added counts at a high quantile of the model's error."""
        more = self.policy.turbo_slack * alone
        return alone + min(more, max(0.0, self.worker.slack + more)) / (1 + 2 * self.worker.cost.step.error)

    def _measured_rows(self, turbo: Job) -> float:
        """Return the most rows of a step that carries the Turbo job: little beyond what this worker was seen to do."""
        return BEYOND * max(turbo.shape.rows, self.worker.cost.step.seen_rows)

    def _eligible(self, job: Job) -> bool:
        """Return whether serving a job keeps its account within the quantum of the account that was served least."""
        service = job.state.service
        return service <= self.lowest or service + job.unit <= self.bound

    def _next_prompt(self) -> Job | None:
        """Choose a newcomer at once, else the job with the least remaining work."""
        if self.newcomer is not None and self._eligible(self.newcomer):
            return self.newcomer
        return min(filter(self._eligible, self.prompts), key=_by_key, default=None)

    def _rank(self, job: Job) -> float:
        return job.state.service + self.policy.relax_ageing * job.arrival

    def _next_relaxed(self) -> Job | None:
        """Choose a Relax job by use.

        A job that waits is started only if its account is clearly behind those that have started.
        """
        seated = min(self.relaxed, key=self._rank, default=None)
        if self.worker.free_seats(relax=True) < 1 or (fresh := self.relax.head()) is None:
            return seated
        if seated is None or self._rank(fresh) + self.policy.quantum_ms < self._rank(seated):
            return fresh
        return seated

    def _riders(self, lead: Job) -> list[Job]:
        """Return the jobs that may join a step, in order of preference."""
        prompts, relaxed = sorted(self.prompts, key=_by_key), sorted(self.relaxed, key=self._rank)
        if lead is self.turbo:
            prompts.sort(key=lambda job: job.lane is not Lane.DRAFT)  # stable
        riders = relaxed + prompts if lead.is_relax else prompts + relaxed
        if self.first is not None and self.first in riders:
            riders.sort(key=lambda job: job is not self.first)
        return riders

    def _batch(self, lead: Job) -> list[Job]:
        """Join to the lead's step every job whose company pays and breaks no promise.

        Accounts that are ahead by more than the quantum join last, in time that no other could use."""
        worker, policy = self.worker, self.policy
        cost, cap, rows = worker.cost.step, float(worker.row_cap), lead.shape.rows
        promised = lead is self.turbo  # then every load is computed anew: a job's own is of when it was priced
        load = cost.load(lead.shape) if promised else lead.load
        ms = cost.step_ms(load)
        if promised:
            most, least = self._turbo_slack(ms), -math.inf
            cap = min(cap, self._measured_rows(lead))
        else:
            # company that hardly lengthens the lead's own step delays a newcomer no more than the lead alone does
            most, least = max(self.step_cap, (1 + policy.turbo_slack) * ms), 1 - policy.efficiency
            if cost.seen_rows < 2 * rows:  # what sharing gains with such a step is not known before it was tried
                most = max(most, 2 * ms)
            if self.turbo is not None:
                most = min(most, worker.slack)
        batch, bound, lowest = [lead], self.bound, self.lowest
        spent = {} if lead.is_relax or promised else {lead.account: lead.unit}
        # a step that Relax leads is its share: at most half of it is added by guests, and as it is booked (by what jobs
        # take alone) relax_share of it is Relax's
        guest_slack = ms if lead.is_relax else math.inf
        booked = self._guests(lead) if lead.is_relax else math.inf
        ahead: list[tuple[float, int, Job]] = []  # (service of its account with what this batch adds, tie-break, job)
        for job in self._riders(lead):
            if job.stage is not Stage.STEP or job is lead or job.alone or rows + job.shape.rows > cap:
                continue
            if ms >= most or cost.is_full(ms, least):
                break
            more = cost.load(job.shape) if promised else job.load
            together = cost.step_ms(load + more)
            if together > most or ms + job.unit - together <= least * ms:
                continue
            if not job.is_relax:
                if guest_slack < together - ms or booked < job.unit:
                    continue
                account = job.account
                before = spent.get(account, 0.0)
                service = job.state.service + before
                if service > lowest and service + job.unit > bound:
                    ahead.append((service, job.seq, job))
                    continue
                spent[account] = before + job.unit
                guest_slack -= together - ms
                booked -= job.unit
            elif lead.is_relax:
                guest_slack += together - ms
                booked += self._guests(job)
            batch.append(job)
            ms, load, rows = together, load + more, rows + job.shape.rows
        heapify(ahead)
        while ahead and ms < most and not cost.is_full(ms, least):
            asked, _, job = heappop(ahead)
            service = job.state.service + spent.get(job.account, 0.0)
            if service > asked:  # its account has joined since
                heappush(ahead, (service, job.seq, job))
                continue
            more = cost.load(job.shape) if promised else job.load
            together = cost.step_ms(load + more)
            if together > most or ms + job.unit - together <= least * ms:
                continue
            if rows + job.shape.rows <= cap and together - ms <= guest_slack and job.unit <= booked:
                guest_slack -= together - ms
                booked -= job.unit
                spent[job.account] = spent.get(job.account, 0.0) + job.unit
                batch.append(job)
                ms, load, rows = together, load + more, rows + job.shape.rows
        return batch

    def _guests(self, relaxed: Job) -> float:
        """Return how many ms of guests' steps, each as if alone, a Relax job leaves room for in a step that Relax
        leads."""
        return relaxed.unit * (1 / max(self.policy.relax_share, 1e-9) - 1)

    def _wider(self, batch: list[Job]) -> Job | None:
        """Choose a waiting Relax job to start now, so that the next Relax steps are shared; None if that does not
        pay."""
        if self.worker.free_seats(relax=True) < 1 or (fresh := self.relax.head()) is None or fresh.step_at < 0:
            return None
        if any(job.stage is not Stage.STEP for job in self.relaxed):
            return None
        rows = sum(job.shape.rows for job in batch) + fresh.shape.rows
        cost, load = self.worker.cost.step, sum(job.load for job in batch)
        ms, together = cost.step_ms(load), cost.step_ms(load + fresh.load)
        if ms + fresh.unit_ms[fresh.step_at] - together <= (1 - self.policy.efficiency) * ms:
            return None
        return fresh if rows <= self.worker.row_cap and together <= self.step_cap else None
