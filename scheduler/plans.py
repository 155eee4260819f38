"""Plans, prices and lane shares as data: the frozen values of `plans.toml`, and its strict reader."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from ..errors import complaint
from ..system import explain
from .calendar import END_MS
from .errors import PlanFileError, Refused, UnknownLane
from .policy import Policy
from .prices import MAX_COUNT, MAX_MS, Price, PriceList
from .prices import Kind as Kind
from .tables import Table
from .tickets import Lane

LATER: Final = ("max_floors",)  # of the policy: not in the files of earlier versions; then the default holds
DEFAULT_FILE: Final = Path(__file__).with_name("plans.toml")


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
        if field.name in LATER and field.name not in table.data:
            table.known.append(field.name)
        elif isinstance(field.default, int):
            values[field.name] = table.whole(field.name, 0, MAX_COUNT)
        else:
            kind = int if type(table.data.get(field.name)) is int else float
            values[field.name] = table.take(field.name, kind, "a number")
    table.close()
    try:
        return Policy(**values)
    except PlanFileError as error:
        raise PlanFileError(f"{table.file}: {table.prefix}{error}") from error
