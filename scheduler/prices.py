"""The price list, and what it has to know of a job to price it.

A list price is for the model's default job. Every picture costs its share of that, times its solver evaluations and its
pixels relative to the default's; the sum is rounded up once. GPU time is counted in whole milliseconds everywhere, and
no price ever passes through a float. docs/prices.md has the formula and examples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from ..errors import complaint
from ..values import flag_of, shown, whole_of
from .errors import TicketError
from .tickets import Lane

MAX_MS: Final = 10**12  # of any price or allowance: about 31 years
MAX_COUNT: Final = 1_000_000
MAX_NAME: Final = 200  # characters of the id of a job or of a submit
MAY_BE_ZERO: Final = ("evaluations", "draft_evaluations")  # of an `Effort`
PARTS: Final = 4  # of the default area: an area is rounded to a quarter of that, so that all aspects cost alike


class Kind(StrEnum):
    """The kinds of work that have a price.

    Rerolls are grids; pans, zooms and edits are variations; extending a clip is video.
    """

    GRID = "grid"
    VARIATION = "variation"
    TAKE_ONE = "take_one"
    UPSCALE = "upscale"
    VIDEO = "video"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """The effort that goes into each picture of a job, beside that which the list price is for.

    Attributes:
        evaluations: evaluations of the solver; 0: the pictures are those that the job starts from.
        default_evaluations: evaluations of the model's default job.
        draft_evaluations: evaluations of its default draft; 0: the model has no settings for drafts.
        pixels: pixels of the picture.
        default_pixels: pixels of a picture of the default job.

    Raises:
        TicketError: a number that is no whole one, or out of range.
    """

    evaluations: int
    default_evaluations: int
    draft_evaluations: int
    pixels: int
    default_pixels: int

    def __post_init__(self) -> None:
        for name in self.__slots__:
            number, least = whole_of(given := getattr(self, name)), int(name not in MAY_BE_ZERO)
            if number is None or not least <= number <= MAX_MS:
                allowed = f"a whole number from {least} to {MAX_MS}"
                raise TicketError(complaint(name.replace("_", " "), shown(given), allowed, "correct it"))
            object.__setattr__(self, name, number)

    @property
    def area(self) -> int:
        """The area in quarters of the default one, rounded; at least one."""
        return max(1, (2 * PARTS * self.pixels + self.default_pixels) // (2 * self.default_pixels))

    def percent(self, draft_percent: int | None) -> int:
        """Return the evaluations, each counted in percent.

        `draft_percent`: of the price list, for a job of the Draft lane; None: it is of another. Draft's percentage is
        for what Draft's settings make, up to their evaluations; beyond, a job of that lane costs what it costs in Fast.
        It never costs less than Draft's percentage of the default evaluations.
        """
        if draft_percent is None:
            return self.evaluations * 100
        drafted = self.evaluations <= self.draft_evaluations
        own = draft_percent if drafted else max(100, draft_percent)
        return max(self.evaluations * own, self.default_evaluations * draft_percent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The work of one job, as far as its price and its plan are concerned.

    Attributes:
        kind: one of the price list's kinds.
        images: number of images; None: as many as the price is for.
        quality: level of `--quality`, where that is not among the evaluations.
        omni: whether it has an omni reference.
        draft: whether it is a draft in another lane than Draft.
        stealth: whether the images are private.
        effort: what goes into each image; None: what the price is for, as for every job of before there was this.
        submit: of a job that was submitted together with others (a permutation, a repeat): the id of that submit, which
            takes one place among the account's jobs; empty: it was submitted alone.
        times: how many times the steps were asked for (`--q`), to be told: they are among the evaluations already.

    Raises:
        TicketError: an unknown kind, a flag that is neither true nor false, no `Effort`, or no id of a submit.
    """

    kind: Kind
    images: int | None = None
    quality: int = 1
    omni: bool = False
    draft: bool = False
    stealth: bool = False
    effort: Effort | None = None
    submit: str = ""
    times: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", kind_of(self.kind))
        for name in ("omni", "draft", "stealth"):
            flag = flag_of(given := getattr(self, name))
            if flag is None:
                raise TicketError(complaint(name, shown(given), "True or False", "give one of these"))
            object.__setattr__(self, name, flag)
        for name in ("images", "quality", "times"):
            number = whole_of(given := getattr(self, name))
            object.__setattr__(self, name, given if number is None else number)  # the price list refuses others
        if self.effort is not None and not isinstance(self.effort, Effort):
            raise TicketError(complaint("effort", shown(self.effort), "an Effort", "leave it out"))
        if not isinstance(self.submit, str) or len(self.submit) > MAX_NAME:
            raise TicketError(complaint("submit", shown(self.submit), f"up to {MAX_NAME} characters", "give it an id"))


@dataclass(frozen=True, slots=True)
class Price:
    """`ms` of GPU time for `images` images (clips of a video)."""

    ms: int
    images: int


@dataclass(frozen=True, slots=True)
class PriceList:
    """The prices of finished jobs.

    Attributes:
        prices: the plain price of every kind, in Fast.
        draft_percent, omni_percent, turbo_percent: of the plain price; they multiply.
        quality: the levels of `--quality`; the price is multiplied by the level.
    """

    prices: Mapping[Kind, Price]
    draft_percent: int
    omni_percent: int
    turbo_percent: int
    quality: tuple[int, ...]

    def charge(self, work: Work, lane: Lane) -> int:
        """Return the ms of fast time that a finished job costs; 0 in Relax. Raise as `use`."""
        plain = self.use(work, lane)
        return 0 if lane is Lane.RELAX else plain

    def use(self, work: Work, lane: Lane) -> int:
        """Return the ms of GPU time that a job counts as, charged or not: in Relax, what Fast would cost.

        Images count in proportion, and the sum is rounded up to a whole ms.

        Raises:
            TicketError: an unknown quality, no whole number of images from 1, or a cost without measure.
        """
        price = self.prices[work.kind]
        images = price.images if work.images is None else work.images
        if isinstance(images, bool) or not isinstance(images, int) or not 1 <= images <= MAX_COUNT:
            allowed = f"a whole number from 1 to {MAX_COUNT:,}"
            raise TicketError(complaint("images", repr(images), allowed, "choose another number"))
        if type(work.quality) is not int or work.quality not in self.quality:  # True and 1.0 would pass for 1
            allowed = ", ".join(map(str, self.quality))
            raise TicketError(complaint("--quality", repr(work.quality), allowed, "choose one of these"))
        draft = self.draft_percent if work.draft or lane is Lane.DRAFT else None
        ms, per = price.ms * images * work.quality, price.images * 100**3
        if work.effort is None:
            ms *= 100 if draft is None else draft
        else:
            ms *= work.effort.percent(draft) * work.effort.area
            per *= work.effort.default_evaluations * PARTS
        ms *= self.omni_percent if work.omni else 100
        ms *= self.turbo_percent if lane is Lane.TURBO else 100
        ms = -(-ms // per)
        if ms > MAX_MS:
            remedy = "ask for fewer images, or for less of them"
            raise TicketError(complaint("cost", f"{ms} ms", f"at most {MAX_MS} ms for a job", remedy))
        return ms


def kind_of(kind: Any) -> Kind:
    """Return `kind` as a `Kind`. Raise TicketError if there is no such kind."""
    try:
        return Kind(kind)
    except ValueError:
        raise TicketError(complaint("kind", repr(kind)[:80], ", ".join(Kind), "choose one of these")) from None
