"""Draw the same prompts and seeds with many profiles, and look at what came out.

A picture is in the preferred style of a user if it is worth as much to the user as the best fifth of the pictures of
all looks that were ranked. Beside that there is the share of the taste that it meets: for each factor (drawing set,
palette, tone of the background, finish) that the judge's first class is one that the user likes, weighed by how much
the factor matters. A user prefers one picture to another by the hidden utilities, without noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....bench.taste.users import Float64, Looks, User
from .captions import with_article
from .guidance import TOGETHER
from .knobs import Looker, Pictures, spread
from .taste_set import seen

LETTERS: Final = "abcdefghijklmnopqrstuvwxyz234567"  # of a code
Profiles = Sequence[tuple[str, float]]  # codes with their weights
BEST: Final = 0.2  # share of the ranked pictures that are in the preferred style
Advance = Callable[[str], None]


class Way(NamedTuple):
    """How all things are drawn: `--s`, and the codes after `--p`."""

    stylize: float
    profiles: Profiles = ()


@dataclass(frozen=True, eq=False)
class Judged:
    """What is known of the pictures that were drawn in one way.

    Attributes:
        looks: what the judge and the pixels say.
        concept: share of the pictures of which the judge names the thing.
        shape_spread: mean distance of two pictures of one prompt, by the judge's features of things; None: there is one
            picture of each.
        style_spread: the same, by style vectors.
        style: float64 [W], the mean style vector.
    """

    looks: Looks
    concept: float
    shape_spread: float | None
    style_spread: float | None
    style: Float64


@dataclass(eq=False)
class Painter:
    """Draws the prompts of all users.

    Attributes:
        looker: the engine and the judge.
        things: what is drawn.
        images: of each thing.
        steps: of each picture, unless the looker says so.
        advance: told after every batch.
        codes: how many vectors the engine has been given.
    """

    looker: Looker
    things: tuple[str, ...]
    images: int
    steps: int
    advance: Advance = lambda _: None
    codes: int = field(default=0, init=False)

    def code(self, vector: NDArray[np.float32]) -> str:
        """Give the engine a vector float32 [W], and return its code."""
        number, code = self.codes, ""
        for _ in range(16):
            number, rest = divmod(number, len(LETTERS))
            code += LETTERS[rest]
        self.looker.engine.add_taste(code, vector)
        self.codes += 1
        return code

    def draw(self, ways: Sequence[Way]) -> list[Pictures]:
        """Draw all things in each way: pictures uint8 [things * images, H, W, 3] for each."""
        common = {"images": self.images} | ({} if "steps" in self.looker.short else {"steps": self.steps})
        requests: list[dict[str, Any]] = []
        for way in ways:
            said = common | {"stylize": way.stylize} | ({"profile": tuple(way.profiles)} if way.profiles else {})
            requests += [
                {"prompt": with_article(thing), "seed": 7000 + 31 * number, **said}
                for number, thing in enumerate(self.things)
            ]
        made, together = [], max(1, TOGETHER // self.images)
        for start in range(0, len(requests), together):
            made.append(self.looker.paint(requests[start : start + together]))
            self.advance(f"{min(start + together, len(requests))} of {len(requests)}")
        whole = np.concatenate(made)
        return list(whole.reshape(len(ways), -1, *whole.shape[1:]))

    def judged(self, pictures: Pictures) -> Judged:
        """Look at the pictures of all things."""
        styles = self.looker.style(pictures)
        apart = self.images > 1
        return Judged(
            looks=seen(self.looker.judge, pictures),
            concept=self.looker.concept(pictures, np.repeat(self.things, self.images).tolist()),
            shape_spread=spread(self.looker.shape(pictures), self.images) if apart else None,
            style_spread=spread(styles, self.images) if apart else None,
            style=styles.mean(0),
        )

    def look(self, ways: Sequence[Way]) -> list[Judged]:
        """Draw all things in each way, and look at them."""
        return [self.judged(pictures) for pictures in self.draw(ways)]


def threshold(user: User, ranked: Looks) -> float:
    """Return the utility from which on a picture is in the preferred style: that of the best fifth of `ranked`."""
    return float(np.quantile(user.utilities(ranked), 1 - BEST))


def preferred(user: User, looks: Looks, least: float) -> float:
    """Return the share of pictures that are worth at least so much to a user."""
    return float(np.mean(user.utilities(looks) >= least))


def met(user: User, looks: Looks) -> float:
    """Return the mean share of a user's taste that pictures meet: see the module. NaN for a user of no classes."""
    if not user.importance:
        return float("nan")
    total = np.zeros(looks.count)
    for factor, part in user.importance.items():
        total += part * np.isin(looks.shares[factor].argmax(1), user.liked[factor])
    return float(total.mean())


def main_met(user: User, looks: Looks) -> float:
    """Return the share of pictures in a class that the user likes of the factor that matters most; NaN: see
    `met`."""
    if not user.importance:
        return float("nan")
    return float(np.isin(looks.shares[user.main].argmax(1), user.liked[user.main]).mean())


def wins(user: User, made: Looks, base: Looks) -> float:
    """Return the share of pictures that a user prefers to the base's of the same prompt and seed."""
    ours, theirs = user.utilities(made), user.utilities(base)
    return float(np.mean((ours > theirs) + 0.5 * (ours == theirs)))
