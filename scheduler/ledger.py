"""The books of GPU time: entries that are only ever added, whole milliseconds, balance = sum of entries.

Time comes in grants (the month's, bought, bonus, an operator's), each with an end. A job takes its price out of them
when it is admitted (HOLD), oldest expiry first. When it ends, all of that comes back (RELEASE), what it really costs
goes out of the same grants (CHARGE, at most what was held), and DONE or VOID closes it, once. What is left of a grant
at its end goes out (EXPIRE). A held part outlives its grant for its own job; what comes back of it expires at once.

Every operation returns the entries that it made: they are stored whole or not at all, before any user is promised
anything. `Ledger.replay` of all stored entries is the ledger again. The ledger itself keeps no entries, only what they
add up to: open grants and jobs, and the ids of jobs that ended. An operation that raises changes nothing.

Costs per operation: O(grants of the account, dead ones not counted), and O(log of all grants) for `grant`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from heapq import heappop, heappush
from typing import Any, Final

from ..errors import complaint
from .calendar import check_ms, spoken
from .entries import AccountBook, Draft, EntryKind, Grant, Hold, LedgerEntry, Source, check_amount, parsed, torn
from .errors import ClockError, LedgerError, Refused

MAX_MS: Final = 10**15  # of any amount


class Ledger:
    """GPU time of all accounts. Times are UTC ms that never go back, over all accounts together.

    Every method that takes `now_ms` raises ClockError for a time before the last one.
    """

    def __init__(self) -> None:
        self._accounts: dict[str, AccountBook] = {}
        self._grants: dict[int, Grant] = {}  # those that are not dead: something available or held
        self._holds: dict[str, Hold] = {}
        self._ended: set[str] = set()  # for ever: no job is charged twice, no id used again (docs/operations.md)
        self._ends: list[tuple[int, int]] = []  # heap of (expires_ms, grant); stale ones are skipped
        self._seq = 0  # of the last entry
        self._now = 0

    @classmethod
    def replay(cls, entries: Iterable[LedgerEntry]) -> Ledger:
        """Make the ledger that made these entries.

        Raises:
            LedgerError: an entry that cannot follow those before it, or operations that were not stored whole.
        """
        ledger, whole = cls(), 0
        for entry in map(parsed, entries):
            whole = entry.last if entry.seq > whole else whole
            if entry.seq != ledger._seq + 1 or entry.last != whole or entry.last < entry.seq:
                got = f"entry {entry.seq} (of an operation up to {entry.last}) after entry {ledger._seq}"
                raise torn(got)
            try:
                check_ms("entry", entry.at_ms, ledger._now)
                ledger._apply(entry)
            except (ClockError, KeyError) as error:
                raise torn(f"entry {entry.seq}, {entry.kind} of job {entry.job!r}: {error}") from error
        if whole != ledger._seq:
            raise torn(f"entries up to {ledger._seq} of an operation up to {whole}")
        return ledger

    # ---- what the books say ----------------------------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        """The time of the last entry."""
        return self._now

    @property
    def last_seq(self) -> int:
        """The number of the last entry; 0: none yet."""
        return self._seq

    def book(self, account: str) -> AccountBook:
        """Return the sums of an account's entries, read-only; those of an account without entries are empty."""
        return self._accounts.get(account) or AccountBook()

    def balance(self, account: str) -> int:
        """Return the ms that are neither spent, held nor expired by an entry: the sum of the account's entries."""
        return self.book(account).balance

    def left(self, account: str, now_ms: int) -> dict[Source, int]:
        """Return the ms that can be spent now, by source.

        Expired grants do not count, whether written off already or not.
        """
        left = dict.fromkeys(Source, 0)
        for grant in self.book(account).grants:
            if grant.expires_ms > now_ms:
                left[grant.source] += grant.available
        return left

    def held(self, job: str) -> int:
        """Return the ms held for an open job. Raise LedgerError for a job that is not open."""
        return self._open(job).amount

    def is_open(self, job: str) -> bool:
        """Return whether a job was reserved and has not ended."""
        return job in self._holds

    def open_jobs(self) -> tuple[str, ...]:
        """Return the jobs that were reserved and have not ended."""
        return tuple(self._holds)

    def has_ended(self, job: str) -> bool:
        """Return whether a job was settled or released."""
        return job in self._ended

    def snapshot(self) -> tuple[Any, ...]:
        """Return all state as one comparable value: equal for a ledger and its replay."""
        accounts = {name: book.snapshot() for name, book in self._accounts.items()}
        grants = {number: grant.snapshot() for number, grant in self._grants.items()}
        holds = {job: hold.snapshot() for job, hold in self._holds.items()}
        return self._seq, self._now, accounts, grants, holds, frozenset(self._ended)

    # ---- operations ------------------------------------------------------------------------------------------------

    def check_clock(self, now_ms: int) -> int:
        """Return `now_ms`. Raise ClockError if it is no whole number of ms or lies before the last entry."""
        return check_ms("clock", now_ms, self._now)

    def grant(
        self, account: str, amount_ms: int, source: Source, now_ms: int, expires_ms: int
    ) -> tuple[LedgerEntry, ...]:
        """Give an account `amount_ms`, to be spent before `expires_ms` (UTC ms).

        Raises:
            LedgerError: an amount below 1 ms, an unknown source, or an end that has passed.
        """
        self._check(account, now_ms)
        check_amount("grant", amount_ms, 1, MAX_MS)
        self._check_end(now_ms, expires_ms)
        if not isinstance(source, Source):
            raise LedgerError(complaint("source", repr(source)[:80], ", ".join(Source), "choose one of these"))
        given = Draft(EntryKind.GRANT, amount_ms, self._seq + 1, source=source, expires_ms=expires_ms)
        return self._commit(account, now_ms, [given])

    def renew(self, account: str, amount_ms: int, now_ms: int, end_ms: int) -> tuple[LedgerEntry, ...]:
        """Begin a billing period that ends at `end_ms`: the month's time is written off where it is left, and given
        anew; Relax use starts again at 0. `amount_ms` may be 0.

        Raises:
            LedgerError: the account's present period has not ended, or an amount or end that is out of range.
        """
        self._check(account, now_ms)
        check_amount("monthly time", amount_ms, 0, MAX_MS)
        self._check_end(now_ms, end_ms)
        book = self.book(account)
        if now_ms < book.period_end_ms:
            allowed = f"a time from {book.period_end_ms} on"
            raise LedgerError(complaint("renewal", now_ms, allowed, "renew once a period"))
        drafts = book.due(now_ms)
        drafts.append(Draft(EntryKind.RENEW, expires_ms=end_ms))
        if amount_ms:
            number = self._seq + 1 + len(drafts)
            drafts.append(Draft(EntryKind.GRANT, amount_ms, number, source=Source.MONTHLY, expires_ms=end_ms))
        return self._commit(account, now_ms, drafts)

    def reserve(
        self, account: str, jobs: Mapping[str, int], now_ms: int, *, remedy: str = "buy more hours"
    ) -> tuple[LedgerEntry, ...]:
        """Hold the price of each of `jobs` (job id -> ms, 0 allowed): of all of them or, when it raises, of none.

        Raises:
            LedgerError: a job id that was used before, or an amount out of range.
            Refused: the account has not enough time left; says what is left, what it costs, and `remedy`.
        """
        self._check(account, now_ms)
        for job, amount in jobs.items():
            check_amount(f"price of job {job!r}", amount, 0, MAX_MS)
            if not isinstance(job, str) or not job or job in self._holds or job in self._ended:
                raise LedgerError(complaint("job", repr(job)[:80], "an id that was never used", "give it a new one"))
        book = self.book(account)
        if sum(jobs.values()):
            self.check_left(account, sum(jobs.values()), now_ms, remedy=remedy)
        drafts = book.due(now_ms)
        usable = [[grant.number, grant.available] for grant in book.grants if grant.expires_ms > now_ms]
        usable.reverse()  # the oldest expiry last, to pop
        for job, amount in jobs.items():
            if not amount:
                drafts.append(Draft(EntryKind.HOLD, 0, 0, job))
            while amount:
                number, available = usable[-1]
                part = min(amount, available)
                if part:
                    drafts.append(Draft(EntryKind.HOLD, -part, number, job))
                usable[-1][1] -= part
                amount -= part
                if amount:
                    usable.pop()
        return self._commit(account, now_ms, drafts)

    def check_left(self, account: str, cost_ms: int, now_ms: int, *, coming_ms: int = 0, remedy: str) -> None:
        """Raise Refused if the account cannot pay `cost_ms` now. `coming_ms`: what a renewal will add before."""
        left = sum(self.left(account, now_ms).values()) + coming_ms
        if cost_ms > left:
            held = self.book(account).held
            more = f" ({spoken(held)} more is held for jobs in progress)" if held else ""
            raise Refused(complaint("fast time", f"a cost of {spoken(cost_ms)}", f"{spoken(left)} left{more}", remedy))

    def settle(
        self, job: str, charge_ms: int, now_ms: int, *, use_ms: int | None = None, relax_ms: int = 0
    ) -> tuple[LedgerEntry, ...]:
        """Charge a job that is done `charge_ms` of what is held for it, and give back the rest.

        Args:
            job: an open job.
            charge_ms: at most what is held.
            now_ms: UTC ms.
            use_ms: added to the account's lifetime use; None: `charge_ms`.
            relax_ms: added to its Relax use of the billing period.

        Raises:
            LedgerError: a job that is not open, above all one that ended before; or more than is held.
        """
        use_ms = charge_ms if use_ms is None else use_ms
        return self._end(job, charge_ms, now_ms, EntryKind.DONE, use_ms, relax_ms)

    def release(self, job: str, now_ms: int, *, relax_ms: int = 0) -> tuple[LedgerEntry, ...]:
        """Give back all that is held for a job that failed or was cancelled.

        Raise LedgerError if the job is not open.
        """
        return self._end(job, 0, now_ms, EntryKind.VOID, 0, relax_ms)

    def expire(self, now_ms: int) -> tuple[LedgerEntry, ...]:
        """Write off what is left of every grant that has ended, of all accounts. O(log) a grant, once each."""
        self._check("-", now_ms)
        made: list[LedgerEntry] = []
        while self._ends and self._ends[0][0] <= now_ms:
            grant = self._grants.get(heappop(self._ends)[1])
            if grant is not None and grant.available:
                draft = Draft(EntryKind.EXPIRE, -grant.available, grant.number)
                made += self._commit(grant.account, now_ms, [draft])
        return tuple(made)

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _check(self, account: str, now_ms: int) -> None:
        self.check_clock(now_ms)
        if not isinstance(account, str) or not 1 <= len(account) <= 200:
            raise LedgerError(complaint("account", repr(account)[:80], "1 to 200 characters", "give it an id"))

    def _check_end(self, now_ms: int, end_ms: int) -> None:
        check_ms("end", end_ms)
        if end_ms <= now_ms:
            raise LedgerError(complaint("end", end_ms, f"a time after {now_ms}", "give a later one"))

    def _open(self, job: str) -> Hold:
        if job not in self._holds:
            got = f"{job!r}, which {'has ended' if job in self._ended else 'was never reserved'}"
            raise LedgerError(complaint("job", got, "a job that is open", "end every job once"))
        return self._holds[job]

    def _end(
        self, job: str, charge_ms: int, now_ms: int, kind: EntryKind, use_ms: int, relax_ms: int
    ) -> tuple[LedgerEntry, ...]:
        self.check_clock(now_ms)
        hold = self._open(job)
        check_amount(f"charge of job {job!r}", charge_ms, 0, hold.amount)
        check_amount("use", use_ms, 0, MAX_MS)
        check_amount("Relax use", relax_ms, 0, MAX_MS)
        drafts = [Draft(EntryKind.RELEASE, amount, number, job) for number, amount in hold.parts.items()]
        back = dict(hold.parts)
        for number, amount in hold.parts.items():
            if part := min(amount, charge_ms):
                drafts.append(Draft(EntryKind.CHARGE, -part, number, job))
                back[number] -= part
                charge_ms -= part
        drafts += self._accounts[hold.account].due(now_ms, back)
        drafts.append(Draft(kind, 0, 0, job, use_ms=use_ms, relax_ms=relax_ms))
        return self._commit(hold.account, now_ms, drafts)

    def _commit(self, account: str, now_ms: int, drafts: list[Draft]) -> tuple[LedgerEntry, ...]:
        first, last = self._seq + 1, self._seq + len(drafts)
        made = tuple(draft.entry(first + i, last, now_ms, account) for i, draft in enumerate(drafts))
        for entry in made:
            self._apply(entry)
        return made

    def _apply(self, entry: LedgerEntry) -> None:
        """Add one entry to the sums. The only place that changes state; checks what a foreign entry could break."""
        book = self._accounts.setdefault(entry.account, AccountBook())
        if entry.amount_ms and (not entry.grant or entry.kind in (EntryKind.RENEW, EntryKind.DONE, EntryKind.VOID)):
            raise LedgerError(complaint(entry.kind, entry, "no amount without a grant", "check the entries"))
        if entry.kind is EntryKind.GRANT:
            self._grants[entry.seq] = book.add(entry)
            heappush(self._ends, (entry.expires_ms, entry.seq))
        elif entry.kind is EntryKind.RENEW:
            book.period_end_ms, book.period_grant_ms, book.relax_ms = entry.expires_ms, 0, 0
        elif entry.kind in (EntryKind.DONE, EntryKind.VOID):
            book.close(self._open(entry.job), entry)
            del self._holds[entry.job]
            self._ended.add(entry.job)
        else:
            if entry.kind is EntryKind.HOLD and entry.job not in self._holds:
                if entry.job in self._ended:
                    self._open(entry.job)
                self._holds[entry.job] = Hold(entry.account)
            hold = self._open(entry.job) if entry.job else None
            if entry.grant:
                grant = self._grants[entry.grant]
                book.move(grant, hold, entry)
                if grant.is_dead:
                    del self._grants[grant.number]
                    book.grants.remove(grant)
        self._seq, self._now = entry.seq, entry.at_ms
