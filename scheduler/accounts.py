"""Admission: who may submit what, what is set aside for it, and what it costs in the end.

Every operation returns the ledger entries that it made (`.entries`); they are stored before any user is told. The
monthly renewal happens by itself, at the account's next operation or at `renew`, whichever comes first.

Limits count places: a submit of its own takes one, and so does the parent of a permutation or repeat, however many
children it feeds to the queue, until the last child has ended. Places are of four sorts: pictures or videos, in Relax
or in the other lanes. Of each sort as many as the plan runs at a time count as running, the rest as queued, and the
account may have `queued` of those, over all sorts.

After a crash: `Ledger.replay`, `open` every account again with its anchor, then `restore` every job that the store
still has as open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from heapq import heappop, heappush

from ..errors import complaint
from .admission import Account, Admission, Info, Place, Settlement, alike, check_name, check_plan, kind_of_all, sort_of
from .calendar import period_of, stamp
from .entries import LedgerEntry, Source
from .errors import DuplicateJob, Refused, TicketError, UnknownAccount, UnknownJob, UnknownLane
from .ledger import MAX_MS, Ledger
from .plans import PlanBook, lane_of
from .prices import Kind, Work
from .tickets import Ended, Lane


class Accounts:
    """All accounts of an installation. Times are UTC ms that never go back (ClockError), as in the ledger."""

    def __init__(self, book: PlanBook, ledger: Ledger | None = None) -> None:
        self.book = book
        self.ledger = Ledger() if ledger is None else ledger
        self._accounts: dict[str, Account] = {}
        self._places: dict[str, Place] = {}  # by every job in them
        self._renewals: list[tuple[int, str]] = []  # heap of (period end, account); stale ones are skipped

    # ---- accounts and their time -----------------------------------------------------------------------------------

    def open(
        self, account: str, now_ms: int, *, plan: str | None = None, anchor_ms: int | None = None
    ) -> tuple[LedgerEntry, ...]:
        """Make an account known, with its plan (None: the default one) and the day that it renews on.

        Args:
            account: its id.
            now_ms: UTC ms.
            plan: a name in the book.
            anchor_ms: when the account began; None: now. At a restart, what it was.

        Raises:
            Refused: an unknown plan, or an account that is open already.
        """
        self.ledger.check_clock(now_ms)
        if account in self._accounts:
            raise Refused(complaint("account", f"{account!r} again", "an id that is not open", "open it once"))
        state = Account(self.book.plan(plan), now_ms if anchor_ms is None else anchor_ms)
        entries = self._renew(account, state, now_ms)
        self._accounts[account] = state
        heappush(self._renewals, (self.ledger.book(account).period_end_ms, account))
        return entries

    def change_plan(self, account: str, plan: str, now_ms: int) -> tuple[LedgerEntry, ...]:
        """Give an account another plan, from now on. Raise Refused for an unknown plan.

        With more monthly time, the difference to what was given in this period comes at once. With less, what was given
        stays until the renewal.
        """
        state = self._account(account, now_ms)
        new = self.book.plan(plan)
        entries = self._renew(account, state, now_ms)
        state.plan = new
        return entries + self._top_up(account, state, now_ms)

    def buy(self, account: str, amount_ms: int, now_ms: int) -> tuple[LedgerEntry, ...]:
        """Give an account time that it bought, which lasts as long as the book says. Raise LedgerError below 1 ms."""
        return self._give(account, amount_ms, Source.BOUGHT, now_ms, now_ms + self.book.bought_lifetime_ms)

    def award(self, account: str, now_ms: int, amount_ms: int | None = None) -> tuple[LedgerEntry, ...]:
        """Give an account bonus time. `amount_ms` None: the daily award of the most active rankers."""
        amount_ms = self.book.award_ms if amount_ms is None else amount_ms
        return self._give(account, amount_ms, Source.BONUS, now_ms, now_ms + self.book.bonus_lifetime_ms)

    def credit(self, account: str, amount_ms: int, now_ms: int, expires_ms: int) -> tuple[LedgerEntry, ...]:
        """Give an account time from the operator, to be spent before `expires_ms` (UTC ms)."""
        return self._give(account, amount_ms, Source.OPERATOR, now_ms, expires_ms)

    def renew(self, now_ms: int) -> tuple[LedgerEntry, ...]:
        """Renew every account whose billing period has ended, and write off every grant that has. O(log) each."""
        self.ledger.check_clock(now_ms)
        entries: tuple[LedgerEntry, ...] = ()
        while self._renewals and self._renewals[0][0] <= now_ms:
            _, account = heappop(self._renewals)
            entries += self._renew(account, self._accounts[account], now_ms)
            heappush(self._renewals, (self.ledger.book(account).period_end_ms, account))
        return entries + self.ledger.expire(now_ms)

    def info(self, account: str, now_ms: int) -> Info:
        """Return what an account has and does. This changes nothing, and is right even where a renewal is due."""
        state = self._account(account, now_ms)
        book, left = self.ledger.book(account), self.ledger.left(account, now_ms)
        left[Source.MONTHLY] += self._coming(account, state, now_ms)
        jobs = [job for place in state.places for job in place.jobs]
        return Info(
            account=account,
            plan=state.plan.name,
            renewal_ms=period_of(state.anchor_ms, now_ms)[1],
            fast_ms=None if state.plan.monthly_ms is None else left,
            held_ms=book.held,
            relax_ms=0 if book.period_end_ms <= now_ms else book.relax_ms,
            lifetime_ms=book.lifetime_ms,
            lifetime_jobs=book.lifetime_jobs,
            running=tuple(job for job in jobs if job in state.started),
            queued=tuple(job for job in jobs if job not in state.started),
        )

    # ---- jobs ------------------------------------------------------------------------------------------------------

    def quote(
        self, account: str, lane: Lane, work: Work, now_ms: int, *, job: str, children: Sequence[str] = ()
    ) -> Admission:
        """Return what `admit` would, or raise what it would. This makes and charges nothing."""
        return self.quote_many(account, lane, alike(work, job, children), now_ms, submit=job)

    def quote_many(self, account: str, lane: Lane, works: Mapping[str, Work], now_ms: int, *, submit: str) -> Admission:
        """Return what `admit_many` would, or raise what it would. This makes and charges nothing."""
        state = self._account(account, now_ms)
        self._check_new(submit, works)
        lane = lane_of(lane)
        kind = kind_of_all(works)
        for work in works.values():
            check_plan(self.book, state.plan, lane, work, len(works))
        limit = state.plan.max_running(lane, kind)
        queued = state.num_queued()
        if state.num_places(lane, kind) >= limit and queued >= state.plan.queued:
            allowed = f"{limit} running and {state.plan.queued} queued on the {state.plan.name} plan"
            raise Refused(complaint("queue", f"one more job with {queued} queued", allowed, "wait until a job ends"))
        prices = {job: self.book.prices.charge(work, lane) for job, work in works.items()}
        if state.plan.monthly_ms is None:
            prices = dict.fromkeys(prices, 0)
        admission = Admission(account, lane, limit, prices)
        if total := admission.reserved_ms:
            remedy, coming = self._remedy(state, lane, works, now_ms), self._coming(account, state, now_ms)
            self.ledger.check_left(account, total, now_ms, coming_ms=coming, remedy=remedy)
        return admission

    def admit(
        self, account: str, lane: Lane, work: Work, now_ms: int, *, job: str, children: Sequence[str] = ()
    ) -> Admission:
        """Take a submit on: check it against the plan, and set aside what it will cost.

        Args:
            account: whose it is.
            lane: what was asked for.
            work: what it makes; of a permutation, what each child makes.
            now_ms: UTC ms.
            job: its id, unique for ever.
            children: ids of the jobs of a permutation or repeat, which are then settled one by one; `job` itself is
                their parent, and no job to settle.

        Raises:
            UnknownAccount, UnknownLane, DuplicateJob.
            TicketError: impossible numbers.
            Refused: the plan does not allow it, the queue is full, or too little time is left. Nothing is charged.
        """
        return self.admit_many(account, lane, alike(work, job, children), now_ms, submit=job)

    def admit_many(self, account: str, lane: Lane, works: Mapping[str, Work], now_ms: int, *, submit: str) -> Admission:
        """Take all jobs of a submit on, or none; see `admit`.

        Args:
            account: whose they are.
            lane: what was asked for, for all of them.
            works: what each job makes, by its id.
            now_ms: UTC ms.
            submit: the id of the submit, unique for ever; of a single job it may be the job's own.

        Raises:
            UnknownAccount, UnknownLane, DuplicateJob, Refused: as `admit`.
            TicketError: no job at all, videos together with pictures, or impossible numbers.
        """
        admission = self.quote_many(account, lane, works, now_ms, submit=submit)
        state = self._accounts[account]
        entries = self._renew(account, state, now_ms)
        entries += self.ledger.reserve(account, admission.prices, now_ms)
        self._place(account, state, submit, {job: (admission.lane, work) for job, work in works.items()})
        return replace(admission, entries=entries)

    def restore(
        self, account: str, lane: Lane, work: Work, *, job: str, children: Sequence[str] = ()
    ) -> tuple[str, ...]:
        """Put back a submit that was admitted before a restart. Return those of its jobs that the ledger has as open.

        A job whose work names its submit shares that one's place with the others. Raises what `admit` raises except
        Refused, and DuplicateJob if the submit is there already.
        """
        state = self._known(account)
        lane = lane_of(lane)
        self.book.prices.use(work, lane)  # raises where the book no longer has a price for it
        if any(name in self._places for name in (job, *children)):
            raise DuplicateJob(complaint("job", repr(job), "a job that is not there", "restore every job once"))
        left = {name: (lane, work) for name in children or (job,) if self.ledger.is_open(name)}
        if left:
            place = self._places.get(work.submit)
            if place is not None and (place.account, place.sort) == (account, sort_of(lane, work.kind)):
                place.jobs |= left
                self._places |= dict.fromkeys(left, place)
            else:
                self._place(account, state, job if place is not None else work.submit or job, left)
        return tuple(left)

    def max_running(self, account: str, lane: Lane, kind: Kind) -> int:
        """Return how many jobs may be started at a time in the lanes that share this one's limit.

        Raise UnknownAccount if the account is not open.
        """
        return self._known(account).plan.max_running(lane_of(lane), kind)

    def is_open(self, account: str) -> bool:
        """Return whether `open` was called for an account."""
        return account in self._accounts

    def started(self, job: str) -> None:
        """Take note that a job was started: `info` lists it as running. Raise UnknownJob if the job is not open."""
        self._accounts[self._of(job).account].started.add(job)

    def settle(
        self, job: str, ended: Ended, now_ms: int, *, lane: Lane | None = None, relax_ms: int | None = None
    ) -> Settlement:
        """Charge a job that is done, and give back what was set aside for it.

        Args:
            job: a single job, or a child of a permutation.
            ended: only a job that is done costs anything.
            now_ms: UTC ms.
            lane: that it was served in; None: the one that it was admitted in. Turbo may have been served as Fast,
                and is then charged as Fast.
            relax_ms: what a Relax job adds to the account's Relax use; None: the list price if it is done, else 0.

        Raises:
            UnknownJob: a job that is not open: never admitted, or settled before.
            UnknownLane: a lane that the job cannot have been served in.
            TicketError: `ended` or `relax_ms` of another type, or below 0.
        """
        self.ledger.check_clock(now_ms)
        if not isinstance(ended, Ended):
            raise TicketError(complaint("ended", repr(ended)[:80], ", ".join(Ended), "give an Ended"))
        place = self._of(job)
        asked, work = place.jobs[job]
        served = asked if lane is None else lane_of(lane)
        if served is not asked and (asked, served) != (Lane.TURBO, Lane.FAST):
            allowed = "turbo or fast" if asked is Lane.TURBO else asked
            raise UnknownLane(complaint("lane", served, f"{allowed} for this job", "give the lane it was served in"))
        use = self.book.prices.use(work, served) if ended is Ended.DONE else 0
        if relax_ms is None or served is not Lane.RELAX:
            relax_ms = use if served is Lane.RELAX else 0
        if isinstance(relax_ms, bool) or not isinstance(relax_ms, int) or not 0 <= relax_ms <= MAX_MS:
            raise TicketError(
                complaint("relax_ms", repr(relax_ms), f"whole milliseconds from 0 to {MAX_MS}", "round it")
            )
        state = self._accounts[place.account]
        entries = self._renew(place.account, state, now_ms)
        charge = 0
        if ended is Ended.DONE:  # never more than was set aside, even if plan or prices changed meanwhile
            charge = min(self.book.prices.charge(work, served), self.ledger.held(job))
            entries += self.ledger.settle(job, charge, now_ms, use_ms=use, relax_ms=relax_ms)
        else:
            entries += self.ledger.release(job, now_ms, relax_ms=relax_ms)
        state.started.discard(job)
        del self._places[job]
        del place.jobs[job]
        if not place.jobs:
            state.remove(place)
            self._places.pop(place.submit, None)
        return Settlement(job, place.account, served, charge, entries)

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _known(self, account: str) -> Account:
        state = self._accounts.get(account) if isinstance(account, str) else None
        if state is None:
            raise UnknownAccount(complaint("account", repr(account)[:80], "an open account", "open it first"))
        return state

    def _account(self, account: str, now_ms: int) -> Account:
        self.ledger.check_clock(now_ms)
        return self._known(account)

    def _of(self, job: str) -> Place:
        place = self._places.get(job) if isinstance(job, str) else None
        if place is None or job not in place.jobs:
            got = f"{job!r}, which {'has ended' if self.ledger.has_ended(job) else 'is not there'}"
            raise UnknownJob(complaint("job", got, "an admitted job (of a permutation, a child)", "settle it once"))
        return place

    def _check_new(self, submit: str, works: Mapping[str, Work]) -> None:
        for name in (submit, *works):
            check_name(name)
            if name in self._places or self.ledger.is_open(name) or self.ledger.has_ended(name):
                raise DuplicateJob(complaint("job", repr(name), "an id that was never used", "give it a new one"))
        if submit in works and len(works) > 1:
            raise DuplicateJob(complaint("submit", f"{submit!r}, one of its jobs", "an id of its own", "give it one"))

    def _place(self, account: str, state: Account, submit: str, jobs: dict[str, tuple[Lane, Work]]) -> None:
        lane, work = next(iter(jobs.values()))
        place = Place(account, sort_of(lane, work.kind), submit, jobs)
        state.add(place)
        self._places |= dict.fromkeys((submit, *jobs), place)

    def _give(
        self, account: str, amount_ms: int, source: Source, now_ms: int, expires_ms: int
    ) -> tuple[LedgerEntry, ...]:
        self._account(account, now_ms)
        return self.ledger.grant(account, amount_ms, source, now_ms, expires_ms)

    def _coming(self, account: str, state: Account, now_ms: int) -> int:
        """Return the ms that a renewal which is due will give."""
        return (state.plan.monthly_ms or 0) if self.ledger.book(account).period_end_ms <= now_ms else 0

    def _renew(self, account: str, state: Account, now_ms: int) -> tuple[LedgerEntry, ...]:
        """Begin the billing period that `now_ms` lies in, unless it has begun."""
        end = period_of(state.anchor_ms, now_ms)[1]
        if self.ledger.book(account).period_end_ms > now_ms:
            return ()
        return self.ledger.renew(account, state.plan.monthly_ms or 0, now_ms, end)

    def _top_up(self, account: str, state: Account, now_ms: int) -> tuple[LedgerEntry, ...]:
        book = self.ledger.book(account)
        more = (state.plan.monthly_ms or 0) - book.period_grant_ms
        return self.ledger.grant(account, more, Source.MONTHLY, now_ms, book.period_end_ms) if more > 0 else ()

    def _remedy(self, state: Account, lane: Lane, works: Mapping[str, Work], now_ms: int) -> str:
        """Say what an account can do that has too little time."""
        ways = ["buy more hours", f"wait for the renewal on {stamp(period_of(state.anchor_ms, now_ms)[1])}"]
        try:
            for work in works.values():
                check_plan(self.book, state.plan, Lane.RELAX, replace(work, stealth=False), len(works))
        except Refused:
            pass
        else:
            ways.append("use the relax lane")
        if lane is Lane.TURBO:
            ways.append("use the fast lane, which costs less")
        return ", ".join(ways[:-1]) + f" or {ways[-1]}"
