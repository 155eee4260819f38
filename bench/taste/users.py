"""Simulated users with hidden tastes, over what a judge sees in pictures. The learner is never shown any of it.

A user's utility of a picture is a weighted sum of the judge's probabilities of drawing sets, palettes, tones of the
background and finishes; one of these four matters most. Some users are of a kind that no prior is learned from: they
go by the colours of the pixels alone. A user answers a pair by logistic noise, whose temperature is
chosen so that knowing the user's utilities exactly would predict a stated share of the answers: the noise ceiling.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

FACTORS: Final = ("style", "palette", "tone", "finish")
TONES: Final[Mapping[str, Sequence[str]]] = {  # a tone -> the judge's backgrounds
    "light": ("white", "cream", "grey"),
    "dark": ("black", "navy", "night gradient"),
    "warm": ("yellow", "orange", "red", "brown", "pink", "sunset gradient"),
    "cool": ("sky blue", "teal", "green", "purple", "ocean gradient", "mint gradient"),
}
FILTERS: Final = ("warmth", "lightness", "saturation", "contrast")
CONSISTENT, CONTRADICTORY, FILTER, RANDOM = "consistent", "contradictory", "palette filter", "random clicks"
CEILINGS: Final = {CONSISTENT: (0.88, 0.95), CONTRADICTORY: (0.62, 0.72), FILTER: (0.88, 0.95)}
# (factor -> liked classes; as many are disliked): the others are drawn around indifference
LIKED: Final = {"style": 2, "palette": 2, "tone": 1, "finish": 1}
INDIFFERENT: Final = 0.25  # deviation of the weights of the other classes, beside 1 of a liked and -1 of a disliked one
MINOR: Final = (0.1, 0.4)  # weight of a factor beside 1 of the one that matters most


@dataclass(frozen=True, eq=False)
class Looks:
    """What is seen in n pictures.

    Attributes:
        shares: factor -> the judge's probabilities float64 [n, classes].
        pixels: float64 [n, len(FILTERS)], see `measured`.
    """

    shares: Mapping[str, Float64]
    pixels: Float64

    @property
    def count(self) -> int:
        """How many pictures."""
        return len(self.pixels)

    def of(self, rows: NDArray[np.int64] | slice) -> Looks:
        """Return the looks of some of the pictures."""
        return Looks({factor: values[rows] for factor, values in self.shares.items()}, self.pixels[rows])


@dataclass(frozen=True, eq=False)
class User:
    """A simulated user.

    Attributes:
        seed: what everything of the user is drawn from.
        kind: see `CEILINGS`; or `RANDOM`, who has no taste.
        weights: factor -> weights float64 [classes] of the judge's probabilities.
        filters: weights float64 [len(FILTERS)] of the pixels' colours.
        importance: factor -> its share in the whole, which add up to 1; empty where the user goes by pixels.
        liked: factor -> numbers of the classes that the user likes.
        temperature: of the logistic noise, in units of utility.
    """

    seed: int
    kind: str
    weights: Mapping[str, Float64]
    filters: Float64
    importance: Mapping[str, float]
    liked: Mapping[str, tuple[int, ...]]
    temperature: float

    def utilities(self, looks: Looks) -> Float64:
        """Return the utility float64 [n] of each picture."""
        total = looks.pixels @ self.filters
        for factor, weight in self.weights.items():
            total = total + looks.shares[factor] @ weight
        return total

    def chances(self, looks: Looks, pairs: Int64) -> Float64:
        """Return the chance float64 [m] that the user chooses the left picture of each of the pairs int64 [m, 2]."""
        if self.kind == RANDOM:
            return np.full(len(pairs), 0.5)
        return chances(self.utilities(looks), pairs, self.temperature)

    @cached_property
    def main(self) -> str:
        """The factor that matters most; "" where the user goes by pixels, or has no taste."""
        return max(self.importance, key=lambda factor: self.importance[factor], default="")


def chances(utilities: Float64, pairs: Int64, temperature: float) -> Float64:
    """Return the chance float64 [m] of the left picture of each of the pairs int64 [m, 2], by logistic noise."""
    apart = (utilities[pairs[:, 0]] - utilities[pairs[:, 1]]) / max(temperature, 1e-9)
    both: Float64 = 1.0 / (1.0 + np.exp(-np.clip(apart, -500, 500)))
    return both


def ceiling(chance: Float64) -> float:
    """Return the share of answers that knowing a user exactly predicts, of the chances of left pictures."""
    return float(np.maximum(chance, 1.0 - chance).mean())


def make_user(seed: int, kind: str, looks: Looks, pairs: Int64) -> User:
    """Make a user.

    Args:
        looks: of pictures of all looks, by which the weights of the factors are made comparable.
        pairs: int64 [m, 2], of which the noise ceiling is stated.
    """
    draw = np.random.default_rng([seed, 7])
    none = np.zeros(len(FILTERS))
    if kind == RANDOM:
        return User(seed, kind, {}, none, {}, {}, 1.0)
    weights: dict[str, Float64] = {}
    importance: dict[str, float] = {}
    liked: dict[str, tuple[int, ...]] = {}
    filters = none
    if kind == FILTER:
        filters = draw.standard_normal(len(FILTERS)) / np.maximum(looks.pixels.std(0), 1e-6)
        filters = filters / (looks.pixels @ filters).std()
    else:
        main = FACTORS[int(draw.choice(len(FACTORS)))]
        parts = {factor: 1.0 if factor == main else float(draw.uniform(*MINOR)) for factor in FACTORS}
        importance = {factor: part / sum(parts.values()) for factor, part in parts.items()}
        for factor in FACTORS:
            shares, many = looks.shares[factor], LIKED[factor]
            order = draw.permutation(shares.shape[1])
            weight: Float64 = draw.standard_normal((shares.shape[1],)) * INDIFFERENT
            weight[order[:many]] = 1.0
            weight[order[many : 2 * many]] = -1.0
            liked[factor] = tuple(sorted(int(k) for k in order[:many]))
            spread = max(float((shares @ weight).std()), 1e-6)
            weights[factor] = weight * (parts[factor] / spread)
    user = User(seed, kind, weights, filters, importance, liked, 1.0)
    target = float(draw.uniform(*CEILINGS[kind]))
    utilities = user.utilities(looks)
    low, high = 1e-3, 1e2
    for _ in range(60):  # the ceiling falls as the temperature rises
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if ceiling(chances(utilities, pairs, middle)) > target else (low, middle)
    return User(seed, kind, weights, filters, importance, liked, low)


def crowd(kinds: Iterable[str], looks: Looks, pairs: Int64, seed: int) -> list[User]:
    """Make a user of each of the kinds, with seeds from `seed` on."""
    return [make_user(seed + number, kind, looks, pairs) for number, kind in enumerate(kinds)]


def kinds_of(count: int) -> list[str]:
    """Return the kinds of a crowd: a sixth of palette filters, an eighth contradictory, the others consistent."""
    rare = [FILTER] * (count // 6) + [CONTRADICTORY] * (count // 8)
    return [CONSISTENT] * (count - len(rare)) + rare


def measured(pictures: NDArray[np.uint8]) -> Float64:
    """Return what palette filters see of pictures uint8 [n, H, W, 3]: float64 [n, len(FILTERS)], values of 0..1."""
    x = pictures.astype(np.float64) / 255
    luma = x @ np.array([0.299, 0.587, 0.114])
    warmth = (x[..., 0] - x[..., 2]).mean((1, 2))
    saturation = (x.max(-1) - x.min(-1)).mean((1, 2))
    found: Float64 = np.stack([warmth, luma.mean((1, 2)), saturation, luma.std((1, 2))], 1)
    return found


def within_groups(groups: NDArray[np.int64]) -> Int64:
    """Return all pairs int64 [m, 2] of two pictures of one group, in a fixed mixed order of left and right."""
    found = []
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        found += [(int(a), int(b)) for i, a in enumerate(rows) for b in rows[:i]]
    pairs = np.array(found, np.int64).reshape(-1, 2)
    turned = np.random.default_rng(5).random(len(pairs)) < 0.5
    pairs[turned] = pairs[turned, ::-1]
    return pairs
