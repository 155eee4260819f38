"""The parts of the ledger: entries, and the sums over them of a grant, a job and an account."""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from ..errors import complaint
from .errors import LedgerError


class Source(StrEnum):
    """The origin of GPU time."""

    MONTHLY = "monthly"
    BOUGHT = "bought"
    BONUS = "bonus"
    OPERATOR = "operator"


class EntryKind(StrEnum):
    """The kind of an entry, which decides the sign of its amount."""

    GRANT = "grant"  # +: time is given; the grant's number is the entry's
    RENEW = "renew"  # 0: a billing period begins, which ends at expires_ms
    HOLD = "hold"  # - or 0: an admitted job's price is set aside
    RELEASE = "release"  # +: and comes back
    CHARGE = "charge"  # -: what the job costs
    EXPIRE = "expire"  # -: the rest of a grant at its end
    DONE = "done"  # 0: the job is finished and counts as use
    VOID = "void"  # 0: the job ended without a result


class LedgerEntry(NamedTuple):
    """One line of the books, never changed or removed.

    Attributes:
        seq: 1, 2, 3, …
        at_ms: when, UTC ms.
        account: whose.
        kind: what.
        amount_ms: what it adds to the balance of the account and of the grant.
        grant: the grant; 0: none.
        job: the job; empty: none.
        last: the seq of the last entry of the same operation, which is stored whole or not at all.
        source, expires_ms: of a GRANT; expires_ms also of a RENEW.
        use_ms, relax_ms: of a DONE or VOID: lifetime use, and Relax use of the billing period.
    """

    seq: int
    at_ms: int
    account: str
    kind: EntryKind
    amount_ms: int
    grant: int
    job: str
    last: int
    source: Source | None = None
    expires_ms: int = 0
    use_ms: int = 0
    relax_ms: int = 0


class Draft(NamedTuple):
    """An entry before it has its place in the books."""

    kind: EntryKind
    amount_ms: int = 0
    grant: int = 0
    job: str = ""
    source: Source | None = None
    expires_ms: int = 0
    use_ms: int = 0
    relax_ms: int = 0

    def entry(self, seq: int, last: int, at_ms: int, account: str) -> LedgerEntry:
        """Return the entry, with its place, time and account."""
        return LedgerEntry(
            seq, at_ms, account, self.kind, self.amount_ms, self.grant, self.job, last, self.source, self.expires_ms,
            self.use_ms, self.relax_ms,
        )  # fmt: skip


@dataclass(slots=True)
class Grant:
    """A grant that is not used up: `available` ms can be spent until `expires_ms`, `held` ms wait for jobs' ends."""

    number: int
    account: str
    source: Source
    expires_ms: int
    available: int
    held: int = 0

    @property
    def is_dead(self) -> bool:
        """Whether nothing is left of the grant, and nothing can come back to it."""
        return not self.available and not self.held

    def snapshot(self) -> tuple[Any, ...]:
        return self.number, self.account, self.source, self.expires_ms, self.available, self.held


@dataclass(slots=True)
class Hold:
    """An open job: what it holds of which grant (oldest expiry first), what came back, and what was charged."""

    account: str
    parts: dict[int, int] = field(default_factory=dict)
    back: dict[int, int] = field(default_factory=dict)

    @property
    def amount(self) -> int:
        """All ms that the job holds."""
        return sum(self.parts.values())

    def snapshot(self) -> tuple[Any, ...]:
        return self.account, tuple(self.parts.items()), tuple(self.back.items())


@dataclass(slots=True)
class AccountBook:
    """The sums of an account's entries. Only the ledger writes them; all others read.

    Attributes:
        grants: that are not dead, oldest expiry first.
        balance, held: ms, over all grants.
        lifetime_ms, lifetime_jobs: use by finished jobs, at list price, and their number.
        relax_ms: Relax use in the billing period.
        period_end_ms: when the billing period ends; 0: none has begun.
        period_grant_ms: monthly time given in this period.
    """

    grants: list[Grant] = field(default_factory=list)
    balance: int = 0
    held: int = 0
    lifetime_ms: int = 0
    lifetime_jobs: int = 0
    relax_ms: int = 0
    period_end_ms: int = 0
    period_grant_ms: int = 0

    def due(self, now_ms: int, back: Mapping[int, int] | None = None) -> list[Draft]:
        """Return the entries that write off what has expired of the grants, once `back` (grant -> ms) has come back to
        them."""
        left = ((grant, grant.available + (back or {}).get(grant.number, 0)) for grant in self.grants)
        return [
            Draft(EntryKind.EXPIRE, -amount, grant.number)
            for grant, amount in left
            if grant.expires_ms <= now_ms and amount
        ]

    def add(self, entry: LedgerEntry) -> Grant:
        """Take in a GRANT entry."""
        if entry.grant != entry.seq or entry.source is None or entry.amount_ms <= 0:
            raise LedgerError(complaint("grant", entry, "a positive amount with its source", "check the entries"))
        grant = Grant(entry.seq, entry.account, entry.source, entry.expires_ms, entry.amount_ms)
        insort(self.grants, grant, key=lambda other: (other.expires_ms, other.number))
        self.balance += entry.amount_ms
        if grant.source is Source.MONTHLY:
            self.period_grant_ms += entry.amount_ms
        return grant

    def move(self, grant: Grant, hold: Hold | None, entry: LedgerEntry) -> None:
        """Take in a HOLD, RELEASE, CHARGE or EXPIRE entry.

        If it breaks the books, raise LedgerError before anything changes.
        """
        amount, number = entry.amount_ms, grant.number
        sound = grant.account == entry.account and grant.available + amount >= 0
        if hold is None:
            sound = sound and entry.kind is EntryKind.EXPIRE and amount < 0
        else:
            sound = sound and hold.account == entry.account
            if entry.kind is EntryKind.HOLD:
                sound = sound and amount < 0 and number not in hold.parts and not hold.back
            elif entry.kind is EntryKind.RELEASE:
                sound = sound and amount == hold.parts.get(number)
            else:
                sound = sound and entry.kind is EntryKind.CHARGE and 0 < -amount <= hold.back.get(number, 0)
        if not sound:
            allowed = "what the grant has and the job holds"
            raise LedgerError(complaint(f"{entry.kind} of {amount} ms", entry, allowed, "check the entries"))
        grant.available += amount
        self.balance += amount
        if hold is not None:
            if entry.kind is EntryKind.HOLD:
                hold.parts[number] = -amount
            elif entry.kind is EntryKind.RELEASE:
                hold.back[number] = hold.parts.pop(number)
            else:
                hold.back[number] += amount
            if entry.kind is not EntryKind.CHARGE:
                grant.held -= amount
                self.held -= amount

    def close(self, hold: Hold, entry: LedgerEntry) -> None:
        """Take in a DONE or VOID entry."""
        if hold.parts or hold.account != entry.account:
            raise LedgerError(complaint(entry.kind, entry, "a job that holds nothing any more", "check the entries"))
        self.lifetime_ms += entry.use_ms
        self.lifetime_jobs += entry.kind is EntryKind.DONE
        self.relax_ms += entry.relax_ms

    def snapshot(self) -> tuple[Any, ...]:
        grants = tuple(grant.snapshot() for grant in self.grants)
        return (
            grants, self.balance, self.held, self.lifetime_ms, self.lifetime_jobs, self.relax_ms, self.period_end_ms,
            self.period_grant_ms,
        )  # fmt: skip


def check_amount(what: str, value: Any, low: int, high: int) -> None:
    """Raise LedgerError unless `value` is a whole number of ms within the bounds."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        allowed = f"whole milliseconds from {low} to {high}"
        raise LedgerError(complaint(what, repr(value)[:80], allowed, "correct the amount"))


def parsed(entry: LedgerEntry) -> LedgerEntry:
    """Return an entry that a store gave back, with enums in place of its texts."""
    try:
        entry = LedgerEntry(*entry)
        return entry._replace(kind=EntryKind(entry.kind), source=Source(entry.source) if entry.source else None)
    except (TypeError, ValueError) as error:
        raise torn(f"{entry!r:.200}: {error}") from error


def torn(got: str) -> LedgerError:
    """Return the error of entries that no ledger made."""
    allowed = "all entries, in order, every operation stored whole"
    return LedgerError(complaint("entries", got, allowed, "restore the store from its last good copy"))
