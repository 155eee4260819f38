"""Tie accounts to jobs: admission before a job is made, settlement when it has ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from ...scheduler.accounts import Accounts
from ...scheduler.admission import Admission, Info, Work
from ...scheduler.entries import LedgerEntry
from ...scheduler.tickets import Ended, Final, Lane

LOG = logging.getLogger("salon.studio")
Keep = Callable[[tuple[LedgerEntry, ...]], object]


def utc_ms() -> int:
    """Return the ledger's time, UTC ms."""
    return time.time_ns() // 1_000_000


class Billing:
    """The accounts of a loop. Used under the loop's lock; no other thread touches `accounts` meanwhile.

    Args:
        accounts: the accounts, which the caller has opened.
        keep: called with the ledger entries of every operation, to store them before any user is told. It stores all of
            them or, if it raises, none; these are then given again, before what follows them, so that the books have no
            gap. If it raises at admission, there is no job.
        clock: returns UTC ms; if it goes back, its highest time stands.
        takes_back: whether the keeper of the entries keeps the jobs as well, and takes them back after a restart. The
            jobs then stay open if the studio ends by itself, above all when no worker is left.

    Attributes:
        closed: whether open jobs stay open.
    """

    def __init__(
        self,
        accounts: Accounts,
        keep: Keep | None = None,
        clock: Callable[[], int] = utc_ms,
        *,
        takes_back: bool = False,
    ) -> None:
        self.accounts, self.takes_back, self.closed = accounts, takes_back, False
        self._keep: Keep = keep or (lambda entries: None)
        self._clock, self._last = clock, 0
        self._unkept: list[LedgerEntry] = []  # entries that are not stored yet because `keep` raised
        self._periods: dict[str, int] = {}  # account -> end of the billing period that it was last seen in

    def admit(self, works: Mapping[str, Work], account: str, lane: Lane, submit: str) -> int:
        """Set aside what all jobs of a submit will cost, or take none of them. Return how many jobs of the account may
        run at a time.

        Args:
            works: what each makes, by its id.
            account, lane: of all of them.
            submit: the id of the submit; of a single job that of the job.

        Raises as `Accounts.admit_many`."""
        admission = self.accounts.admit_many(account, lane, works, self.now(), submit=submit)
        try:
            self._offer(admission.entries)
        except BaseException:
            for job in works:
                self._unkept += self.accounts.settle(job, Ended.CANCELLED, self.now()).entries
            raise
        return admission.max_running

    def quote(self, works: Mapping[str, Work], account: str, lane: Lane) -> Admission:
        """Return what `admit` would set aside, which makes and charges nothing. Raises as `Accounts.quote_many`."""
        first = next(iter(works))
        submit = first if len(works) == 1 else f"{first}.all"
        return self.accounts.quote_many(account, lane, works, self.now(), submit=submit)

    def readmit(self, job: str, account: str, lane: Lane, work: Work) -> int:
        """Take back a job that was admitted before a restart. A job that has ended in the ledger is not charged again.
        Jobs whose work names the submit that they came in with share its place.

        Return how many jobs of the account may run at a time; one where its plan has no such lane any more, since what
        was accepted is done. Raises as `Accounts.restore`."""
        self.accounts.restore(account, lane, work, job=job)
        return max(1, self.accounts.max_running(account, lane, work.kind))

    def renewed(self, account: str) -> bool:
        """Return whether a billing period has begun since the last call.

        If so, the account's Relax use counts from 0 again.
        """
        end = self.accounts.ledger.book(account).period_end_ms
        before = self._periods.get(account, end)
        self._periods[account] = end
        return before != end

    def withdraw(self, job: str, lane: Lane) -> None:
        """Give back what was set aside for a job that is not made after all."""
        self.settle(Final(job, Ended.CANCELLED, lane))

    def started(self, job: str) -> None:
        """Take note that a job has a seat."""
        if not self._settled(job):
            self.accounts.started(job)

    def settle(self, final: Final) -> int:
        """Charge a job that is done, or give back what was set aside.

        Return its cost, ms of GPU time. An error here is logged: the job has ended all the same. After `close` this
        does nothing.
        """
        if self.closed or self._settled(final.job):
            return 0
        try:
            settlement = self.accounts.settle(final.job, final.ended, self.now(), lane=final.lane)
        except Exception:
            LOG.exception("job %r ended as %s and could not be settled", final.job, final.ended)
            return 0
        self._unkept += settlement.entries
        self.flush()
        return settlement.charged_ms

    def do(self, act: Callable[[Accounts, int], tuple[LedgerEntry, ...]]) -> None:
        """Do an operation on the accounts, given the time, and keep the ledger entries that it returns.

        Raises what `act` raises: then nothing was done. Raises what `keep` raises: then it was done, and is stored
        later.
        """
        self._offer(act(self.accounts, self.now()))

    def flush(self) -> None:
        """Store the entries that are not stored yet. An error is logged."""
        try:
            self._offer(())
        except Exception:  # `keep` is the user's own code and may raise anything; what it missed is offered again
            LOG.exception("%d entries of the ledger could not be stored yet", len(self._unkept))

    def _offer(self, entries: tuple[LedgerEntry, ...]) -> None:
        self._unkept += entries
        if self._unkept:
            self._keep(tuple(self._unkept))
            self._unkept.clear()

    def close(self) -> None:
        """Settle nothing any more: open jobs stay open in the ledger, and go on after a restart."""
        self.closed = True

    def _settled(self, job: str) -> bool:
        """Return whether a job was settled before a restart, and only its pictures were missing."""
        return self.accounts.ledger.has_ended(job)

    def info(self, account: str) -> Info:
        """See `Accounts.info`."""
        return self.accounts.info(account, self.now())

    def now(self) -> int:
        """Return the time, UTC ms; it never goes back."""
        self._last = max(self._last, self._clock())
        return self._last
