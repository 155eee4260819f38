"""Plans, prices and lane shares as data: the frozen values of `plans.toml`, and its strict reader.

GPU time is counted in whole milliseconds everywhere; no price ever passes through a float.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from ..errors import complaint
from ..system import explain
from .calendar import END_MS
from .errors import PlanFileError, Refused, TicketError, UnknownLane
from .policy import Policy
from .tables import Table
from .tickets import Lane

DEFAULT_FILE: Final = Path(__file__).with_name("plans.toml")
MAX_MS: Final = 10**12  # of any price or allowance: about 31 years
MAX_COUNT: Final = 1_000_000


class Kind(StrEnum):
    """The kinds of work that have a price.

    Rerolls are grids; pans, zooms and edits are variations; extending a clip is video.
    """

    GRID = "grid"
    VARIATION = "variation"
    TAKE_ONE = "take_one"
    UPSCALE = "upscale"
    VIDEO = "video"


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

    def charge(
        self,
        kind: str,
        *,
        lane: str,
        images: int | None = None,
        quality: int = 1,
        omni: bool = False,
        draft: bool = False,
    ) -> int:
        """Return the ms of fast time that a finished job costs; 0 in Relax.

        Arguments and errors as for `use`, and UnknownLane.
        """
        lane = lane_of(lane)
        plain = self.use(kind, lane=lane, images=images, quality=quality, omni=omni, draft=draft)
        return 0 if lane is Lane.RELAX else plain

    def use(
        self,
        kind: str,
        *,
        lane: str,
        images: int | None = None,
        quality: int = 1,
        omni: bool = False,
        draft: bool = False,
    ) -> int:
        """Return the ms of GPU time that a job counts as, charged or not: in Relax, what Fast would cost.

        Args:
            kind: a `Kind`.
            lane: a `Lane`. Turbo costs `turbo_percent`; Draft implies `draft`.
            images: how many, in proportion, rounded up to a whole ms; None: as many as the price is for (4 of a grid).
            quality: one of the levels.
            omni: whether it has an omni reference.
            draft: a draft in another lane than Draft.

        Raises:
            TicketError: an unknown kind or quality, no whole number of images from 1, or a cost without measure.
            UnknownLane: a lane that does not exist.
        """
        lane = lane_of(lane)
        price = self.prices[kind_of(kind)]
        if images is None:
            images = price.images
        if isinstance(images, bool) or not isinstance(images, int) or not 1 <= images <= MAX_COUNT:
            allowed = f"a whole number from 1 to {MAX_COUNT:,}"
            raise TicketError(complaint("images", repr(images), allowed, "choose another number"))
        if type(quality) is not int or quality not in self.quality:  # True and 1.0 would pass for 1
            allowed = ", ".join(map(str, self.quality))
            raise TicketError(complaint("--quality", repr(quality), allowed, "choose one of these"))
        ms = price.ms * images * quality
        ms *= self.draft_percent if draft or lane is Lane.DRAFT else 100
        ms *= self.omni_percent if omni else 100
        ms *= self.turbo_percent if lane is Lane.TURBO else 100
        ms = -(-ms // (price.images * 100**3))
        if ms > MAX_MS:
            raise TicketError(complaint("cost", f"{ms} ms", f"at most {MAX_MS} ms for a job", "ask for fewer images"))
        return ms


@dataclass(frozen=True, slots=True)
class AccountPlan:
    """The rights of an account. `plans.toml` explains the fields; `monthly_ms` None is "unlimited"."""

    name: str
    monthly_ms: int | None
    relax: bool
    relax_video: bool
    stealth: bool
    running_fast: int
    running_relax: int
    video_fast: int
    video_relax: int
    queued: int
    permutations: int
    permutations_in_relax: bool

    def max_running(self, lane: Lane, kind: Kind) -> int:
        """Return how many jobs may be started at a time in the lanes that share this one's limit.

        Videos have limits of their own.
        """
        if kind is Kind.VIDEO:
            return self.video_relax if lane is Lane.RELAX else self.video_fast
        return self.running_relax if lane is Lane.RELAX else self.running_fast


@dataclass(frozen=True, slots=True)
class PlanBook:
    """All of a plans file.

    Attributes:
        plans: by name, lowest first.
        default_plan: of accounts opened without one.
        prices: the price list.
        bought_lifetime_ms, bonus_lifetime_ms: how long bought and bonus time can be spent, ms of the calendar.
        award_ms, winners: the daily bonus, ms of GPU time, for so many accounts that ranked most.
        policy: the scheduler's numbers.
    """

    plans: Mapping[str, AccountPlan]
    default_plan: str
    prices: PriceList
    bought_lifetime_ms: int
    bonus_lifetime_ms: int
    award_ms: int
    winners: int
    policy: Policy

    def plan(self, name: str | None = None) -> AccountPlan:
        """Return the plan of that name; None: the default one. Raise Refused for a name that is not in the book."""
        name = self.default_plan if name is None else name
        if not isinstance(name, str) or name not in self.plans:
            raise Refused(complaint("plan", repr(name)[:80], ", ".join(self.plans), "choose one of these"))
        return self.plans[name]

    def least(self, right: str) -> str:
        """Name the lowest plan that has a right (a boolean field), for refusals: `standard plan or higher`."""
        name = next((plan.name for plan in self.plans.values() if getattr(plan, right)), None)
        return "plan that this installation does not offer" if name is None else f"{name} plan or higher"


def load_plans(source: str | bytes | Path | None = None) -> PlanBook:
    """Read a plans file, strictly: nothing missing, nothing unknown, everything within range.

    Args:
        source: the TOML text itself, or the path of a file (`Path`); None: the `plans.toml` that ships with Salon.

    Raises:
        PlanFileError: names the file, the key, what came and what is allowed.
    """
    path = DEFAULT_FILE if source is None else source
    name = str(path) if isinstance(path, Path) else "plans"
    try:
        raw = path.read_bytes() if isinstance(path, Path) else path
        text = raw.decode() if isinstance(raw, bytes) else raw
        if not isinstance(text, str):
            raise PlanFileError(complaint(name, type(text).__name__, "TOML text or a Path", "give one of these"))
        data = tomllib.loads(text)
    except OSError as error:
        raise PlanFileError(complaint(name, *explain(error))) from error
    except (ValueError, RecursionError) as error:  # bad UTF-8, bad TOML, a key twice, tables nested without end
        raise PlanFileError(complaint(name, str(error)[:200], "TOML, every key once", "correct this place")) from error
    return _book(Table(name, "", data))


def kind_of(kind: Any) -> Kind:
    """Return `kind` as a `Kind`. Raise TicketError if there is no such kind."""
    try:
        return Kind(kind)
    except ValueError:
        raise TicketError(complaint("kind", repr(kind)[:80], ", ".join(Kind), "choose one of these")) from None


def lane_of(lane: Any) -> Lane:
    """Return `lane` as a `Lane`. Raise UnknownLane if there is no such lane."""
    try:
        return Lane(lane)
    except ValueError:
        raise UnknownLane(complaint("lane", repr(lane)[:80], ", ".join(Lane), "choose one of these")) from None


def _book(root: Table) -> PlanBook:
    default = root.take("default_plan", str, "the name of a plan")
    plans = _plans(root.table("plans"))
    if default not in plans:
        raise root.error("default_plan", repr(default), ", ".join(plans), "choose one of these")
    prices = _prices(root.table("prices"), root.table("factors"))
    bought, bonus, shares = root.table("bought"), root.table("bonus"), root.table("policy")
    bought_lifetime_ms = bought.whole("lifetime_ms", 1, END_MS // 2)
    bonus_lifetime_ms = bonus.whole("lifetime_ms", 1, END_MS // 2)
    award_ms, winners = bonus.whole("award_ms", 1, MAX_MS), bonus.whole("winners", 0, MAX_COUNT)
    policy = _policy(shares)
    for table in (bought, bonus, root):
        table.close()
    return PlanBook(plans, default, prices, bought_lifetime_ms, bonus_lifetime_ms, award_ms, winners, policy)


def _plans(table: Table) -> Mapping[str, AccountPlan]:
    if not table.data:
        raise table.error("", "no plan", "at least one plan", "add the default plan")
    plans = {}
    for name in list(table.data):
        plain = name.isascii() and name.replace("-", "").replace("_", "").isalnum() and name == name.lower()
        if not plain or len(name) > 40:
            raise table.error(name, repr(name), "a name of up to 40 lowercase letters, digits, - and _", "rename it")
        plans[name] = _plan(name, table.table(name))
    return MappingProxyType(plans)


def _plan(name: str, table: Table) -> AccountPlan:
    if table.data.get("monthly_ms") == "unlimited":
        monthly_ms = table.data.pop("monthly_ms") and None
        table.known.append("monthly_ms")
    elif type(table.data.get("monthly_ms")) is str:
        raise table.error("monthly_ms", repr(table.data["monthly_ms"]), 'whole milliseconds or "unlimited"')
    else:
        monthly_ms = table.whole("monthly_ms", 0, MAX_MS)
    relax, relax_video, stealth = (table.yes(key) for key in ("relax", "relax_video", "stealth"))
    if relax_video and not relax:
        raise table.error("relax_video", "true", "false where relax is false", "open relax, too")
    running_fast, video_fast = (table.whole(key, 1, MAX_COUNT) for key in ("running_fast", "video_fast"))
    running_relax = table.whole("running_relax", int(relax), MAX_COUNT if relax else 0)
    video_relax = table.whole("video_relax", int(relax_video), MAX_COUNT if relax_video else 0)
    queued, permutations = table.whole("queued", 0, MAX_COUNT), table.whole("permutations", 1, MAX_COUNT)
    permutations_in_relax = table.yes("permutations_in_relax")
    table.close()
    return AccountPlan(
        name, monthly_ms, relax, relax_video, stealth, running_fast, running_relax, video_fast, video_relax, queued,
        permutations, permutations_in_relax,
    )  # fmt: skip


def _prices(table: Table, factors: Table) -> PriceList:
    prices = {}
    for kind in Kind:
        price = table.table(kind)
        prices[kind] = Price(price.whole("ms", 0, MAX_MS), price.whole("images", 1, MAX_COUNT))
        price.close()
    draft, omni, turbo = (factors.whole(f"{key}_percent", 1, 10_000) for key in ("draft", "omni", "turbo"))
    allowed = "different whole numbers from 1 to 100, in rising order, with 1"
    quality: list[Any] = factors.take("quality", list, allowed)
    whole = all(type(level) is int and 1 <= level <= 100 for level in quality)
    if not whole or 1 not in quality or quality != sorted(set(quality)):
        raise factors.error("quality", repr(quality), allowed)
    table.close()
    factors.close()
    return PriceList(MappingProxyType(prices), draft, omni, turbo, tuple(quality))


def _policy(table: Table) -> Policy:
    values: dict[str, Any] = {}
    for field in fields(Policy):
        if isinstance(field.default, int):
            values[field.name] = table.whole(field.name, 0, MAX_COUNT)
        else:
            kind = int if type(table.data.get(field.name)) is int else float
            values[field.name] = table.take(field.name, kind, "a number")
    table.close()
    try:
        return Policy(**values)
    except PlanFileError as error:
        raise PlanFileError(f"{table.file}: {table.prefix}{error}") from error
