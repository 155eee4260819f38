"""The records of admission: the work of a submit, its place among an account's, and the answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import complaint
from ..values import flag_of, shown, whole_of
from .entries import LedgerEntry, Source
from .errors import Refused, TicketError
from .plans import AccountPlan, Kind, PlanBook, kind_of
from .tickets import Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The work of one job, as far as its price and its plan are concerned.

    Attributes:
        kind: one of the price list's kinds.
        images: number of images; None: as many as the price is for.
        quality: level of `--quality`.
        omni: whether it has an omni reference.
        draft: whether it is a draft in another lane than Draft.
        stealth: whether the images are private.

    Raises:
        TicketError: an unknown kind, or a flag that is neither true nor false.
    """

    kind: Kind
    images: int | None = None
    quality: int = 1
    omni: bool = False
    draft: bool = False
    stealth: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", kind_of(self.kind))
        for name in ("omni", "draft", "stealth"):
            flag = flag_of(given := getattr(self, name))
            if flag is None:
                raise TicketError(complaint(name, shown(given), "True or False", "give one of these"))
            object.__setattr__(self, name, flag)
        for name in ("images", "quality"):
            number = whole_of(given := getattr(self, name))
            object.__setattr__(self, name, given if number is None else number)  # the price list refuses others

    def charge(self, book: PlanBook, lane: Lane) -> int:
        """Return the price in ms of fast time. Raise TicketError for numbers that the price list does not have."""
        return book.prices.charge(
            self.kind, lane=lane, images=self.images, quality=self.quality, omni=self.omni, draft=self.draft
        )

    def use(self, book: PlanBook, lane: Lane) -> int:
        """Return the ms of GPU time that the work counts as, in Relax as well."""
        return book.prices.use(
            self.kind, lane=lane, images=self.images, quality=self.quality, omni=self.omni, draft=self.draft
        )


@dataclass(frozen=True, slots=True)
class Admission:
    """A submit that was taken on.

    Attributes:
        account: whose.
        lane: that it is queued and, for now, priced in.
        jobs: to be settled one by one: the job itself, or the children of a permutation.
        max_running: started jobs at a time in the lanes that share this one's limit.
        price_ms: set aside for each job.
        reserved_ms: for all of them.
        entries: of the ledger, to be stored.
    """

    account: str
    lane: Lane
    jobs: tuple[str, ...]
    max_running: int
    price_ms: int
    reserved_ms: int
    entries: tuple[LedgerEntry, ...] = ()


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
    """One submit in an account's count; `jobs` are those that have not ended, `parent` the id it was submitted as."""

    account: str
    lane: Lane
    work: Work
    parent: str
    jobs: dict[str, None]


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
        self.sorts[_sort(place.lane, place.work.kind)] += 1

    def remove(self, place: Place) -> None:
        """Count a place no more."""
        del self.places[place]
        self.sorts[_sort(place.lane, place.work.kind)] -= 1

    def num_places(self, lane: Lane, kind: Kind) -> int:
        """Return how many places are of the sort that shares a running limit with this one."""
        return self.sorts[_sort(lane, kind)]

    def num_queued(self) -> int:
        """Return how many places are beyond what the plan runs at a time, over all sorts."""
        limits = {_sort(lane, kind): self.plan.max_running(lane, kind) for lane in Lane for kind in Kind}
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


def _sort(lane: Lane, kind: Kind) -> tuple[bool, bool]:
    return lane is Lane.RELAX, kind is Kind.VIDEO
