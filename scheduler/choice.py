"""The choice of a worker's next plan: whose turn it is, and which jobs ride along.

A choice looks at one worker's seats and at the heads of the queues.

Fast and Draft share one class ("prompt" here), Relax is the other; a Turbo job belongs to its worker. The rules, and
the inequalities that they keep, are in docs/lanes.md; the numbers in `policy.Policy`. This runs at every step of every
worker: no call, object or sort more than it needs.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from operator import attrgetter

from .fair import FairQueue
from .jobs import Job
from .policy import Policy
from .tickets import Lane, Stage
from .workers import Worker

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
        lowest = min([job.state.service for job in self.prompts], default=float("inf"))
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
        batch, ms = self._batch(lead)
        if lead.is_relax and self.turbo is None and (fresh := self._wider(batch, ms)):
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
        return turbo.unit + job.margin <= self._turbo_slack(turbo)

    def _turbo_slack(self, turbo: Job) -> float:
        """Return how long a step of the Turbo job may take in company.

        A promise is at stake: what is added counts at a high quantile of the model's error."""
        more = self.policy.turbo_slack * turbo.unit
        return turbo.unit + min(more, max(0.0, self.worker.slack + more)) / (1 + 2 * self.worker.cost.step.error)

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

    def _batch(self, lead: Job) -> tuple[list[Job], float]:
        """Join to the lead's step every job whose company pays and breaks no promise.

        Return them, and the predicted ms.

        Accounts that are ahead by more than the quantum join last, in time that no other could use."""
        worker = self.worker
        cap, rows = worker.row_cap, lead.shape.rows
        ms = lead.unit
        if lead is self.turbo:
            most, enough = self._turbo_slack(lead), float("inf")
        else:
            # company that hardly lengthens the lead's own step delays a newcomer no more than the lead alone does
            most = max(self.step_cap, (1 + self.policy.turbo_slack) * ms)
            if self.turbo is not None:
                most = min(most, worker.slack)
            enough = worker.cost.step.fixed_ms / max(1 - self.policy.efficiency, 1e-9)  # then company gains nothing
        if ms >= min(most, enough):
            return [lead], ms
        batch, bound, lowest = [lead], self.bound, self.lowest
        spent = {} if lead.is_relax or lead is self.turbo else {lead.account: lead.unit}
        # a step that Relax leads is its share: at least half of it stays Relax's
        guest_slack = ms if lead.is_relax else float("inf")
        ahead: list[tuple[float, int, Job]] = []  # (service of its account with what this batch adds, tie-break, job)
        for job in self._riders(lead):
            if job.stage is not Stage.STEP or job is lead or job.alone:
                continue
            if ms >= enough:
                break
            if ms + job.margin > most or rows + job.shape.rows > cap:
                continue
            if not job.is_relax:
                if guest_slack < job.margin:
                    continue
                account = job.account
                before = spent.get(account, 0.0)
                service = job.state.service + before
                if service > lowest and service + job.unit > bound:
                    ahead.append((service, job.seq, job))
                    continue
                spent[account] = before + job.unit
                guest_slack -= job.margin
            elif lead.is_relax:
                guest_slack += job.margin
            batch.append(job)
            ms += job.margin
            rows += job.shape.rows
        heapify(ahead)
        while ahead and ms < enough:
            asked, _, job = heappop(ahead)
            service = job.state.service + spent.get(job.account, 0.0)
            if service > asked:  # its account has joined since
                heappush(ahead, (service, job.seq, job))
            elif ms + job.margin <= most and rows + job.shape.rows <= cap and job.margin <= guest_slack:
                guest_slack -= job.margin
                spent[job.account] = spent.get(job.account, 0.0) + job.unit
                batch.append(job)
                ms += job.margin
                rows += job.shape.rows
        return batch, ms

    def _wider(self, batch: list[Job], ms: float) -> Job | None:
        """Choose a waiting Relax job to start now, so that the next Relax steps are shared; None if that does not
        pay."""
        if self.worker.free_seats(relax=True) < 1 or (fresh := self.relax.head()) is None or fresh.step_at < 0:
            return None
        if any(job.stage is not Stage.STEP for job in self.relaxed):
            return None
        if self.worker.cost.step.fixed_ms <= (1 - self.policy.efficiency) * ms:
            return None
        rows = sum(job.shape.rows for job in batch) + fresh.shape.rows
        return fresh if rows <= self.worker.row_cap and ms + fresh.margin <= self.step_cap else None
