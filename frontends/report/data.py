"""What a page or a sheet is made of that shows the report of a taste: its fields, its rows of pictures, its words.

The studio's reports (`studio/taste/types.py: TasteReport`) have these fields, and so have the wire's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol, TypeAlias

Pictures: TypeAlias = Mapping[str, Sequence[bytes]]  # a row of `ROWS` -> files of pictures: PNG, JPEG or WebP

NONE, PROFILE, ANTI, RANDOM = "none", "profile", "anti", "random"
ROWS: Final[Mapping[str, tuple[str, str]]] = {  # -> the label of a row of pictures, and what it shows
    NONE: ("without", "the same prompts and seeds, without a profile"),
    PROFILE: ("profile", "with this profile"),
    ANTI: ("anti-profile", "with its opposite: these should suit you less"),
    RANDOM: ("random", "with a random taste of the same strength: it should suit you no better than none"),
}
SHOWN: Final = 6  # classes that are named as liked, and as disliked
VERDICTS: Final[Mapping[str, str]] = {
    "strong": "The profile predicts choices that it has not seen clearly better than guessing.",
    "weak": "The profile predicts choices that it has not seen better than guessing, but not by much.",
    "does nothing": "The profile predicts choices no better than guessing. More answers help, if they follow a taste.",
}


class ShareFields(Protocol):
    """A share with its interval: see `studio.taste.types.Share`."""

    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def count(self) -> int: ...


class LikedFields(Protocol):
    """How much a profile goes by a class of a factor: see `studio.taste.types.Liked`."""

    @property
    def factor(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def utility(self) -> float: ...
    @property
    def deviation(self) -> float: ...


class EventFields(Protocol):
    """What is shown of an event: see `studio.taste.types.TasteEvent`."""

    @property
    def event(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def at_ms(self) -> int: ...
    @property
    def choice(self) -> str: ...
    @property
    def pull(self) -> float: ...


class ProfileFields(Protocol):
    """What is shown of a profile: see `studio.taste.types.TasteProfile`."""

    @property
    def profile(self) -> str: ...
    @property
    def account(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def events(self) -> int: ...


class ReportFields(Protocol):
    """A report: see `studio.taste.types.TasteReport`."""

    @property
    def profile(self) -> ProfileFields: ...
    @property
    def verdict(self) -> str: ...
    @property
    def held_out(self) -> ShareFields: ...
    @property
    def consistency(self) -> float: ...
    @property
    def effect(self) -> float: ...
    @property
    def calibration(self) -> float: ...
    @property
    def liked(self) -> Sequence[LikedFields]: ...
    @property
    def pulls(self) -> Sequence[EventFields]: ...
    @property
    def missing(self) -> int: ...
    @property
    def code(self) -> str: ...
    @property
    def anti_code(self) -> str: ...
    @property
    def random_code(self) -> str: ...
    @property
    def algorithm(self) -> int: ...
    @property
    def model_name(self) -> str: ...
    @property
    def made_ms(self) -> int: ...


def title_of(report: ReportFields) -> str:
    """Return what a report is headed by: the profile's name, or what kind of profile it is."""
    kind = {"global": "Taste", "moodboard": "Moodboard", "tuner": "Style"}.get(report.profile.kind, "Profile")
    return f"{kind} {report.profile.name}".strip()


def share(value: ShareFields) -> str:
    """Return a share with its interval of 95 % in words: "84 % (77 to 90)", or "not known"."""
    if not value.count:
        return "not known"
    return f"{value.value:.0%} ({100 * value.low:.0f} to {100 * value.high:.0f})".replace("%", " %")


def when(ms: int) -> str:
    """Return a time as UTC date and minute; "" for none."""
    return datetime.fromtimestamp(ms / 1e3, UTC).strftime("%Y-%m-%d %H:%M") if ms else ""


def verdict_of(report: ReportFields) -> str:
    """Return what the verdict means; "" of a profile that learns nothing."""
    return VERDICTS.get(report.verdict, "")


def sure(report: ReportFields) -> tuple[list[LikedFields], list[LikedFields]]:
    """Return the classes that are liked and disliked by more than their deviations, the strongest first, at most
    `SHOWN` of each."""
    clear = sorted(
        (each for each in report.liked if abs(each.utility) > each.deviation), key=lambda each: -each.utility
    )
    liked = [each for each in clear if each.utility > 0][:SHOWN]
    return liked, [each for each in reversed(clear) if each.utility < 0][:SHOWN]


def told(event: EventFields) -> str:
    """Return what an event was, in words: "pair, left"."""
    kind = {"pair": "pair", "grid": "picks of a grid", "like": "like"}.get(event.kind, event.kind)
    return f"{kind}, {event.choice}" if event.choice else kind
