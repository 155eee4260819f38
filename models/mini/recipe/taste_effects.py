"""What profiles do to pictures, by the kept judge and by the hidden tastes that they were learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ....bench.report import Goal
from ....bench.runner import Bench
from ....bench.taste.sessions import interval
from ....bench.taste.users import User
from .taste_painter import Judged, Painter, Way, main_met, met, preferred, wins

STRENGTHS: Final = (0.0, 50.0, 100.0, 400.0, 1000.0)
USUAL: Final = 100.0  # `--s` where nothing else is said
SWEPT, MIXED = 6, 4  # users whose profiles draw at every strength, and pairs of users whose codes are blended
NONE, OWN, EARLY, ANTI, OTHER = (
    "no profile", "own profile", "own profile after 16 events", "anti-profile", "another's profile",
)  # fmt: skip
TIMES, LOST, KEPT, WINS, FOREIGN, BETWEEN = 3.0, 0.05, 0.8, 0.76, 0.05, 0.9  # goals


@dataclass(frozen=True, eq=False)
class Taught:
    """A user with the vectors float32 [W] that its answers led to.

    Attributes:
        user: the user.
        least: utility from which on a picture is in the preferred style.
        own, early, anti: after all events, after 16, and the opposite of the first.
    """

    user: User
    least: float
    own: NDArray[np.float32]
    early: NDArray[np.float32]
    anti: NDArray[np.float32]


class Effects:
    """Draws and compares everything, and adds it to a benchmark's rows and goals."""

    def __init__(self, bench: Bench, painter: Painter, taught: Sequence[Taught]) -> None:
        self.bench, self.painter, self.taught = bench, painter, taught
        self.users = [each.user for each in taught]
        self.strengths = bench.pick((0.0, USUAL), STRENGTHS, STRENGTHS)
        self.base: dict[float, Judged] = {}

    def measure(self) -> None:
        """Do all of it."""
        ways = [Way(stylize) for stylize in self.strengths]
        self.base = dict(zip(self.strengths, self.painter.look(ways), strict=True))
        own = [self.painter.code(each.own) for each in self.taught]
        judged = self.look(own)
        taught, count = self.taught, len(self.taught)
        self.row(NONE, USUAL, taught, [self.base[USUAL]] * count)
        found = self.row(OWN, USUAL, taught, judged)
        for kind in dict.fromkeys(user.kind for user in self.users):
            chosen = [number for number, user in enumerate(self.users) if user.kind == kind]
            self.row(OWN, USUAL, [taught[k] for k in chosen], [judged[k] for k in chosen], kind)
        few = [*range(0, count, max(1, count // self.bench.pick(1, 3, SWEPT)))][:SWEPT]
        shares = self.sweep([taught[k] for k in few], [own[k] for k in few], [judged[k] for k in few])
        half = taught[::2]  # every other user is enough for a mean, and half of the time
        first = self.row(EARLY, USUAL, half, self.look([self.painter.code(each.early) for each in half]))
        against = self.row(ANTI, USUAL, half, self.look([self.painter.code(each.anti) for each in half]))
        others = self.row(OTHER, USUAL, taught, judged[1:] + judged[:1])
        self.identify(judged)
        self.blend([own[k] for k in few], [judged[k] for k in few])
        self.goals(found, first, against, others, shares)

    def look(self, codes: Sequence[str], stylize: float = USUAL) -> list[Judged]:
        """Draw with each code alone, and look."""
        return self.painter.look([Way(stylize, ((code, 1.0),)) for code in codes])

    def row(
        self, drawn: str, stylize: float, taught: Sequence[Taught], judged: Sequence[Judged], group: str = "all"
    ) -> dict[str, Any]:
        """Add the row of what was drawn for users, beside the base at the same `--s`."""
        base = self.base[stylize]
        both = [(each.user, each.least, seen) for each, seen in zip(taught, judged, strict=True)]
        classed = [(user, seen) for user, _, seen in both if user.importance]
        shares = [preferred(user, seen.looks, least) for user, least, seen in both]
        low, high = interval(shares)
        won = [wins(user, seen.looks, base.looks) for user, _, seen in both]
        win_low, win_high = interval(won)
        return self.bench.row(
            drawn=drawn,
            s=stylize,
            group=group,
            count=len(both),
            pictures=sum(each.looks.count for each in judged),
            preferred=mean(shares),
            preferred_low=low,
            preferred_high=high,
            base=mean([preferred(user, base.looks, least) for user, least, _ in both]),
            met=mean([met(user, seen.looks) for user, seen in classed]),
            base_met=mean([met(user, base.looks) for user, _ in classed]),
            main_factor=mean([main_met(user, seen.looks) for user, seen in classed]),
            base_main_factor=mean([main_met(user, base.looks) for user, _ in classed]),
            wins=mean(won),
            win_low=win_low,
            win_high=win_high,
            concept=mean([each.concept for each in judged]),
            base_concept=base.concept,
            shape_spread=mean([each.shape_spread for each in judged if each.shape_spread is not None]),
            base_shape_spread=base.shape_spread,
            style_spread=mean([each.style_spread for each in judged if each.style_spread is not None]),
            base_style_spread=base.style_spread,
        )

    def sweep(self, taught: Sequence[Taught], codes: Sequence[str], usual: Sequence[Judged]) -> list[float]:
        """Draw with profiles at every `--s` but the usual one, which is there, and return the shares in the preferred
        style."""
        shares = []
        for stylize in self.strengths:
            judged = usual if stylize == USUAL else self.look(codes, stylize)
            row = self.row(OWN, stylize, taught, judged, "those of the sweep")
            shares.append(float(row["preferred"]))
        plain, same = self.painter.draw([Way(0.0), Way(0.0, ((codes[0], 1.0),))])
        differ = int((plain != same).sum())
        self.bench.goal(Goal.at_most("pixels that a profile changes at --s 0", 0, differ))
        return shares

    def identify(self, judged: Sequence[Judged]) -> None:
        """Tell whose profile pictures are of: which of all users likes them most, beside the pictures of the others.

        A user's utilities are taken relative to all profiles' pictures, since some like everything more than others do.
        """
        table = np.array([[user.utilities(each.looks).mean() for each in judged] for user in self.users])
        table -= table.mean(1, keepdims=True)
        table /= np.maximum(table.std(1, keepdims=True), 1e-9)
        ranks = [int((table[:, k] > table[k, k]).sum()) for k in range(len(self.users))]
        top_1, top_5 = (float(np.mean([rank < n for rank in ranks])) for n in (1, 5))
        self.bench.row(found_among=len(self.users), top_1=top_1, top_5=top_5, guessing=1 / len(self.users))

    def blend(self, codes: Sequence[str], judged: Sequence[Judged]) -> None:
        """Draw with two codes at once, and say where between those of one code each the pictures' styles lie."""
        pairs = [(k, (k + 1) % len(codes)) for k in range(len(codes) if len(codes) > 2 else len(codes) - 1)]
        if not pairs:
            return
        pairs = pairs[:MIXED]
        for share in self.bench.pick((0.5,), (0.5,), (0.25, 0.5, 0.75)):
            mixed = self.painter.look([Way(USUAL, ((codes[a], 1 - share), (codes[b], share))) for a, b in pairs])
            places = []
            for (a, b), each in zip(pairs, mixed, strict=True):
                way = judged[b].style - judged[a].style
                places.append(float((each.style - judged[a].style) @ way / max(float(way @ way), 1e-9)))
            low, high = interval(places)
            between = float(np.mean([0 < place < 1 for place in places]))
            self.bench.row(
                blend=f"{1 - share:g} : {share:g}",
                blends=len(pairs),
                place=mean(places),
                place_low=low,
                place_high=high,
                between=between,
            )
            if share == 0.5:
                self.bench.goal(Goal.at_least("even blends of two codes that lie between both", BETWEEN, between))

    def goals(
        self,
        found: Mapping[str, Any],
        first: Mapping[str, Any],
        against: Mapping[str, Any],
        others: Mapping[str, Any],
        shares: Sequence[float],
    ) -> None:
        """State the goals of all users."""
        goal = self.bench.goal
        times = found["preferred"] / found["base"] if found["base"] else None
        goal(Goal.at_least("preferred style at --s 100, times the base rate", TIMES, times))
        least = min(b - a for a, b in pairwise(shares))
        goal(Goal.at_least("preferred style over rising --s, least growth", 0.0, least))
        goal(Goal.at_most("things lost with a profile, share", LOST, found["base_concept"] - found["concept"]))
        if found["shape_spread"] is not None and found["base_shape_spread"]:
            kept = found["shape_spread"] / found["base_shape_spread"]
            goal(Goal.at_least("diversity of shapes within a grid, of that without a profile", KEPT, kept))
        goal(Goal.at_least("pictures after 16 events that win against none", WINS, first["wins"]))
        foreign = others["preferred"] - others["base"]
        goal(Goal.at_most("another's profile: preferred style beyond the base", FOREIGN, foreign))
        goal(Goal.at_most("anti-profile: pictures that win against none", 0.5, against["wins"]))


def mean(values: Sequence[float]) -> float | None:
    """Return the mean; None of nothing."""
    return float(np.mean(values)) if values else None
