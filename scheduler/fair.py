"""Waiting jobs of one service class, by account: who may start next, in O(log n), with lazy deletion and no scan.

An account's `service` is the work done for it so far, in predicted ms. The next job comes from the account with the
lowest rank = service + ageing * arrival of its head. With `catch_up` (Fast and Draft), an account that comes back from
idleness starts at the lowest service of those that are busy, so that no account saves up time by being away. An idle
account no further than that is therefore forgotten, and of those further on, the furthest `IDLE` are remembered.
Without `catch_up` (Relax), service is the use in the billing period and is only reset from outside. Within an account
the job with the lowest key goes first.

Source: start-time fair queueing (Goyal, Vin, Cheng 1996) and its form for model servers, VTC (2401.00588); here the
cost of a unit is known before it runs, so that the bound of docs/lanes.md holds without the output-length term.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Final, Generic, Protocol, TypeVar

IDLE: Final = 10_000  # accounts without jobs that are remembered


class Queued(Protocol):
    """The part of a job that a queue needs."""

    seq: int
    queued: bool  # it waits here; False: an entry of a heap that names it is stale
    arrival: float
    key: float  # its place among the jobs of its account

    @property
    def account(self) -> str: ...
    @property
    def max_running(self) -> int: ...


J = TypeVar("J", bound=Queued)


class Account(Generic[J]):
    """One account within a class."""

    __slots__ = ("active", "heap", "limit", "name", "running", "service", "version", "waiting")

    def __init__(self, name: str) -> None:
        self.name = name
        self.service = 0.0  # ms of work
        self.heap: list[tuple[float, int, J]] = []
        self.waiting = 0  # jobs that wait to be started
        self.active = 0  # jobs that have not ended
        self.running = 0  # jobs that are started
        self.limit = 1  # most jobs that may be started at a time
        self.version = 0  # of its entry in the queue's heap


class FairQueue(Generic[J]):
    """Accounts with waiting jobs. All operations O(log n) in the number of jobs, amortised.

    Args:
        ageing: rank per ms of the head's arrival time; above 0, no stream of newcomers can starve an account.
        catch_up: whether an account that comes back from idleness starts at the lowest service of the busy ones.
    """

    def __init__(self, *, ageing: float, catch_up: bool) -> None:
        self.ageing, self.catch_up = ageing, catch_up
        self.accounts: dict[str, Account[J]] = {}
        self.num_waiting = 0
        self._startable: list[tuple[float, float, int, str]] = []  # (rank, arrival of the head, version, account)
        self._busy: list[tuple[float, str]] = []  # (service, account) of active accounts
        self._gone: list[tuple[float, str]] = []  # (service, account) when its last job ended
        self._versions = 0
        self._floor = 0.0  # lowest service of the busy accounts, when last looked at

    def account(self, name: str) -> Account[J]:
        """Return the account's state, made if new."""
        found = self.accounts.get(name)
        if found is None:
            found = self.accounts[name] = Account(name)
        return found

    def enter(self, job: J) -> Account[J]:
        """Take in a job of the class, which does not wait yet. Return its account."""
        account = self.account(job.account)
        account.limit = job.max_running
        if not account.active and self.catch_up:
            account.service = max(account.service, self.floor())
        account.active += 1
        if account.active == 1:
            heappush(self._busy, (account.service, account.name))
        return account

    def leave(self, job: J) -> None:
        """Take out a job that ended or changed its class."""
        account = self.accounts[job.account]
        account.active -= 1
        if account.active:
            return
        if not self.catch_up:
            if not account.service:
                del self.accounts[job.account]
            return
        heappush(self._gone, (account.service, account.name))
        while self._gone and (self._gone[0][0] <= self._floor or len(self._gone) > IDLE):
            service, name = heappop(self._gone)
            gone = self.accounts.get(name)
            if gone is not None and not gone.active and gone.service == service:
                del self.accounts[name]

    def push(self, job: J) -> None:
        """Have a job wait to be started."""
        account = self.account(job.account)
        job.queued = True
        heappush(account.heap, (job.key, job.seq, job))
        account.waiting += 1
        self.num_waiting += 1
        self._index(account)

    def remove(self, job: J) -> None:
        """Have a job wait no longer: it is started, paused or cancelled."""
        account = self.accounts[job.account]
        job.queued = False
        account.waiting -= 1
        self.num_waiting -= 1
        self._index(account)

    def started(self, job: J, by: int) -> None:
        """Count a job that takes one of its account's places (`by` +1) or gives it back (-1)."""
        account = self.accounts[job.account]
        account.running += by
        self._index(account)

    def charge(self, name: str, ms: float) -> None:
        """Charge an account for work that is about to be done."""
        account = self.accounts[name]
        account.service += ms
        heappush(self._busy, (account.service, name))
        if len(self._busy) > 2 * len(self.accounts) + 64:
            self._busy = [(a.service, a.name) for a in self.accounts.values() if a.active]
            heapify(self._busy)
        if account.waiting:
            self._index(account)

    def head(self) -> J | None:
        """Return the job to start next, or None if none may start."""
        while self._startable:
            _, _, version, name = self._startable[0]
            account = self.accounts.get(name)
            if account is None or account.version != version:
                heappop(self._startable)
                continue
            return self._head_of(account)
        return None

    def floor(self) -> float:
        """Return the lowest service of accounts with unfinished jobs; it never falls."""
        while self._busy:
            service, name = self._busy[0]
            account = self.accounts.get(name)
            if account is None or not account.active or account.service != service:
                heappop(self._busy)
                continue
            self._floor = max(self._floor, service)
            break
        return self._floor

    def _head_of(self, account: Account[J]) -> J | None:
        while account.heap and not account.heap[0][2].queued:
            heappop(account.heap)
        return account.heap[0][2] if account.heap else None

    def _index(self, account: Account[J]) -> None:
        """Bring the account's entry up to date."""
        self._versions += 1
        account.version = self._versions
        job = self._head_of(account)
        if job is None or account.running >= account.limit:
            return
        rank = account.service + self.ageing * job.arrival
        heappush(self._startable, (rank, job.arrival, account.version, account.name))
        if len(self._startable) > 4 * len(self.accounts) + 256:
            live = [e for e in self._startable if (a := self.accounts.get(e[3])) and a.version == e[2]]
            heapify(live)
            self._startable = live
