"""Who takes the next plan of a worker, and who rides along. Looks at one worker's seats and at the heads of the queues.

Fast and Draft share one class ("prompt" here), Relax is the other; a Turbo job belongs to its worker. The rules, and
the inequalities that they keep, are in docs/lanes.md; the numbers in `policy.Policy`.
"""

from __future__ import annotations

from collections.abc import Iterator

from .fair import FairQueue
from .jobs import Job
from .policy import Policy
from .tickets import Lane, Stage, StepShape
from .workers import Worker


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
        self.first: Job | None = None  # who rides with the Turbo job before all others
        ready = [job for job in worker.seats.values() if not job.paused]
        turbo = worker.turbo
        self.turbo = turbo if turbo is not None and not turbo.paused else None
        self.step_cap = step_cap if self.turbo is None else min(step_cap, worker.slack)
        self.prompts = [job for job in ready if not job.is_relax and job is not turbo]
        self.relaxed = [job for job in ready if job.is_relax]
        head = prompt.head() if newcomers and worker.free_seats(relax=False) > 0 else None
        self.newcomer = head
        services = [prompt.accounts[job.account].service for job in self.prompts]
        if head is not None:
            services.append(prompt.accounts[head.account].service)
        self.lowest = min(services, default=0.0)  # among the accounts that wait here

    def choose(self) -> list[Job]:
        """The jobs of the next plan, the leading one first; empty if there is nothing to do."""
        lead = self._lead()
        if lead is None:
            return []
        batch = self._batch(lead)
        if lead.is_relax and self.turbo is None and lead.stage is Stage.STEP and (fresh := self._wider(batch)):
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
        """Whether it may join the Turbo job's next step: it costs less there than in a plan of its own."""
        if job.stage is not Stage.STEP or turbo.stage is not Stage.STEP or job.alone or turbo.alone:
            return False
        return self.worker.cost.step.predict(turbo.shape + job.shape) <= self._turbo_room(turbo.shape)

    def _turbo_room(self, shape: StepShape) -> float:
        """How long a step of a Turbo job of this shape may take in company.

        A promise is at stake: what is added counts at a high quantile of the model's error."""
        cost, slack = self.worker.cost.step, self.policy.turbo_slack
        alone = cost.predict(shape)
        return alone + min(slack * alone, max(0.0, self.worker.slack + slack * alone)) / (1 + 2 * cost.error)

    def _key(self, job: Job) -> tuple[float, int]:
        """Least remaining work first; waiting outweighs it (the same order at all times, so no clock is needed)."""
        return job.left_ms + self.policy.ageing * job.arrival, job.seq

    def _eligible(self, job: Job) -> bool:
        """Whether serving it keeps its account within the quantum of the account that was served least."""
        service = self.prompt.accounts[job.account].service
        return service <= self.lowest or service + job.unit <= self.lowest + self.policy.quantum_ms

    def _next_prompt(self) -> Job | None:
        """A newcomer at once, else the least remaining work."""
        if self.newcomer is not None and self._eligible(self.newcomer):
            return self.newcomer
        return min((job for job in self.prompts if self._eligible(job)), key=self._key, default=None)

    def _rank(self, job: Job) -> float:
        return self.relax.accounts[job.account].service + self.policy.relax_ageing * job.arrival

    def _next_relaxed(self) -> Job | None:
        """By use; a job that waits is started only if its account is clearly behind those that have started."""
        seated = min(self.relaxed, key=lambda job: (self._rank(job), job.seq), default=None)
        if self.worker.free_seats(relax=True) < 1 or (fresh := self.relax.head()) is None:
            return seated
        if seated is None or self._rank(fresh) + self.policy.quantum_ms < self._rank(seated):
            return fresh
        return seated

    def _riders(self, lead: Job) -> Iterator[Job]:
        """Who may join, in order of preference. A step that Relax leads is Relax's share: nobody else takes part."""
        prompts = [] if lead.is_relax else sorted(self.prompts, key=self._key)
        if lead is self.turbo:
            prompts.sort(key=lambda job: job.lane is not Lane.DRAFT)  # stable
        relaxed = sorted(self.relaxed, key=lambda job: (self._rank(job), job.seq))
        everyone = [*prompts, *relaxed]
        if self.first in everyone:
            everyone.sort(key=lambda job: job is not self.first)
        for job in everyone:
            if job is not lead and job.stage is Stage.STEP and not job.alone:
                yield job

    def _batch(self, lead: Job) -> list[Job]:
        """The lead's step with everyone whose company pays and breaks no promise."""
        worker, policy = self.worker, self.policy
        batch, shape = [lead], lead.shape
        if lead.stage is not Stage.STEP or lead.alone:
            return batch
        cost = worker.cost.step
        fixed, now = cost.fixed_ms, cost.predict(shape)
        spent: dict[str, float] = {}
        if not lead.is_relax:
            spent[lead.account] = lead.unit
        most = self._turbo_room(shape) if lead is self.turbo else self.step_cap
        for job in self._riders(lead):
            if lead is not self.turbo and fixed <= (1 - policy.efficiency) * now:
                break
            if not job.is_relax:
                service = self.prompt.accounts[job.account].service + spent.get(job.account, 0.0)
                if service > self.lowest and service + job.unit > self.lowest + policy.quantum_ms:
                    continue
            joined = shape + job.shape
            if joined.rows > worker.row_cap or (longer := cost.predict(joined)) > most:
                continue
            batch.append(job)
            shape, now = joined, longer
            if not job.is_relax:
                spent[job.account] = spent.get(job.account, 0.0) + job.unit
        return batch

    def _wider(self, batch: list[Job]) -> Job | None:
        """A waiting Relax job to start now, so that the Relax steps that follow are shared: if that pays."""
        if self.worker.free_seats(relax=True) < 1 or (fresh := self.relax.head()) is None:
            return None
        if any(job.stage is not Stage.STEP for job in self.relaxed) or batch[0].alone:
            return None
        cost = self.worker.cost.step
        shape = batch[0].shape
        for job in batch[1:]:
            shape = shape + job.shape
        if cost.fixed_ms <= (1 - self.policy.efficiency) * cost.predict(shape):
            return None
        joined = shape + fresh.shape
        fits = joined.rows <= self.worker.row_cap and cost.predict(joined) <= self.step_cap
        return fresh if fits else None
