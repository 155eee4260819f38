"""The records of admission: the place of a submit among an account's, and the answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import complaint
from .entries import LedgerEntry, Source
from .errors import DuplicateJob, Refused, TicketError
from .plans import AccountPlan, PlanBook
from .prices import MAX_NAME, Kind
from .prices import Work as Work
from .tickets import Lane


@dataclass(frozen=True, slots=True)
class Admission:
    """A submit that was taken on.

    Attributes:
        account: whose.
        lane: that it is queued and, for now, priced in.
        max_running: started jobs at a time in the lanes that share this one's limit.
        prices: ms set aside for each job that is to be settled: the job itself, or the children of a permutation.
        entries: of the ledger, to be stored.
    """

    account: str
    lane: Lane
    max_running: int
    prices: Mapping[str, int]
    entries: tuple[LedgerEntry, ...] = ()

    @property
    def jobs(self) -> tuple[str, ...]:
        """The jobs that are to be settled one by one."""
        return tuple(self.prices)

    @property
    def reserved_ms(self) -> int:
        """The ms set aside for all of them."""
        return sum(self.prices.values())


@dataclass(frozen=True, slots=True)
class Settlement:
    """A job that ended: the lane that it was charged in, what it cost (ms), and the entries to be stored."""

    job: str
    account: str
    lane: Lane
    charged_ms: int
    entries: tuple[LedgerEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """The facts of an account, for its owner. All spans are ms of GPU time.

    Attributes:
        account, plan: names.
        renewal_ms: when the next billing period begins, UTC ms.
        fast_ms: time left by source; None: unlimited.
        held_ms: set aside for jobs in progress, not in `fast_ms`.
        relax_ms: Relax use in this billing period.
        lifetime_ms, lifetime_jobs: all use by finished jobs, at list price, and their number.
        running, queued: jobs that were started, and those that wait.
    """

    account: str
    plan: str
    renewal_ms: int
    fast_ms: Mapping[Source, int] | None
    held_ms: int
    relax_ms: int
    lifetime_ms: int
    lifetime_jobs: int
    running: tuple[str, ...]
    queued: tuple[str, ...]


@dataclass(eq=False, slots=True)
class Place:
    """One submit in an account's count.

    Attributes:
        account: whose.
        sort: which of those that share a running limit it is of (`sort_of`).
        submit: the id that it was submitted as; of a single job, that of the job.
        jobs: those that have not ended, with their lane and their work.
    """

    account: str
    sort: tuple[bool, bool]
    submit: str
    jobs: dict[str, tuple[Lane, Work]]


@dataclass(slots=True)
class Account:
    """An open account."""

    plan: AccountPlan
    anchor_ms: int
    places: dict[Place, None] = field(default_factory=dict)
    started: set[str] = field(default_factory=set)
    sorts: Counter[tuple[bool, bool]] = field(default_factory=Counter)  # of `places`, by what shares a running limit

    def add(self, place: Place) -> None:
        """Count a place."""
        self.places[place] = None
        self.sorts[place.sort] += 1

    def remove(self, place: Place) -> None:
        """Count a place no more."""
        del self.places[place]
        self.sorts[place.sort] -= 1

    def num_places(self, lane: Lane, kind: Kind) -> int:
        """Return how many places are of the sort that shares a running limit with this one."""
        return self.sorts[sort_of(lane, kind)]

    def num_queued(self) -> int:
        """Return how many places are beyond what the plan runs at a time, over all sorts."""
        limits = {sort_of(lane, kind): self.plan.max_running(lane, kind) for lane in Lane for kind in Kind}
        return sum(max(0, num - limits[sort]) for sort, num in self.sorts.items())


def check_plan(book: PlanBook, plan: AccountPlan, lane: Lane, work: Work, count: int) -> None:
    """Raise Refused if the plan does not allow `count` jobs of this work in this lane."""
    on = f"on the {plan.name} plan"
    others = ", ".join(other for other in Lane if other is not Lane.RELAX)
    if lane is Lane.RELAX and not plan.relax:
        words = f"Relax queues are only available for users with a {book.least('relax')}"
        raise Refused(complaint("lane", f"relax {on}", others, words))
    if lane is Lane.RELAX and work.kind is Kind.VIDEO and not plan.relax_video:
        words = f"Relax mode for videos is only available for users with a {book.least('relax_video')}"
        raise Refused(complaint("lane", f"relax for a video {on}", others, words))
    if work.stealth and not plan.stealth:
        words = f"Stealth mode is only available for users with a {book.least('stealth')}"
        raise Refused(complaint("private", f"a private job {on}", "public images", words))
    if count > plan.permutations:
        allowed = f"{plan.permutations} {on}"
        raise Refused(
            complaint("permutations", f"{count} jobs in one submit", allowed, "nothing was made; submit fewer")
        )
    if lane is Lane.RELAX and count > 1 and not plan.permutations_in_relax:
        words = "you can not submit batch jobs in relax mode: use fast, or submit them one by one"
        raise Refused(complaint("lane", f"relax for {count} jobs in one submit {on}", others, words))


def check_name(name: Any) -> None:
    """Raise TicketError for what is no id of a job or a submit."""
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME:
        allowed = f"1 to {MAX_NAME} characters"
        raise TicketError(complaint("job", repr(name)[:80], allowed, "give the job an id"))


def alike(work: Work, job: str, children: Sequence[str]) -> dict[str, Work]:
    """Return the works of a job, or of its children, which all make the same.

    Raises:
        TicketError: no id.
        DuplicateJob: an id twice.
    """
    for name in (job, *children):
        check_name(name)
    if len({job, *children}) < 1 + len(children):
        raise DuplicateJob(complaint("children", "an id twice", "ids of their own", "give each a new one"))
    return dict.fromkeys(children or (job,), work)


def kind_of_all(works: Mapping[str, Work]) -> Kind:
    """Return a kind of what is submitted together, all of which shares one running limit.

    Raise TicketError if there is no job, or if they have different limits.
    """
    kinds = [work.kind for work in works.values()]
    if not kinds:
        raise TicketError(complaint("jobs", "none", "at least one", "submit a job"))
    if len({kind is Kind.VIDEO for kind in kinds}) > 1:
        raise TicketError(complaint("jobs", "videos and pictures in one submit", "one of them", "submit them apart"))
    return kinds[0]


def sort_of(lane: Lane, kind: Kind) -> tuple[bool, bool]:
    """Return which of the jobs that share a running limit a job is of."""
    return lane is Lane.RELAX, kind is Kind.VIDEO
