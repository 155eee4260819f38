"""Let simulated users teach a learner, by pairs chosen actively or at random, and see what it then predicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from ...engine.taste.preference import Comparison, Preference
from ...engine.taste.selection import choose_pair
from .users import Float64, Int64, Looks, User, ceiling, within_groups

EVENTS: Final = (2, 4, 8, 16, 40, 100, 200)
ACTIVE, AT_RANDOM = "active", "random"
BINS: Final = 10


class Learned(Protocol):
    """What a learner makes of comparisons: `engine.taste.preference.Preference`, or another to compare with it."""

    def utilities(self, coordinates: Float64) -> Float64:
        """Return the utility float64 [n] of pictures at coordinates float64 [n, K]."""

    def probability(self, left: Float64, right: Float64) -> Float64:
        """Return the chances float64 [m] that left pictures, float64 [m, K], are preferred to right ones."""


Learner = Callable[[Sequence[Comparison]], Learned]


@dataclass(frozen=True, eq=False)
class Shelf:
    """Pictures to rank, and what is known of them: coordinates by the learner, looks by the users alone.

    Attributes:
        coordinates: float64 [n, K].
        groups: int64 [n], a number for each thing.
        looks: what users see in the pictures.
        pairs: int64 [m, 2], all pairs of two pictures of one group.
    """

    coordinates: Float64
    groups: Int64
    looks: Looks
    pairs: Int64

    @classmethod
    def of(cls, coordinates: Float64, groups: Int64, looks: Looks) -> Shelf:
        """Make a shelf of pictures."""
        return cls(coordinates, groups, looks, within_groups(groups))


@dataclass(frozen=True)
class Outcome:
    """How well a user's answers to held-out pairs are predicted.

    Attributes:
        accuracy: the expected share that is.
        ceiling: the share that would be by knowing the user exactly.
        confidence: the mean chance that the learner gives to what it predicts, by bin of `BINS`.
        observed: which share of these comes true, by bin.
        weight: which share of the pairs is in a bin.
    """

    accuracy: float
    ceiling: float
    confidence: tuple[float, ...]
    observed: tuple[float, ...]
    weight: tuple[float, ...]

    @property
    def share(self) -> float:
        """The accuracy as a share of the ceiling, where both count from guessing on as they are: a ratio."""
        return self.accuracy / self.ceiling

    @property
    def error(self) -> float:
        """The expected calibration error."""
        rows = zip(self.weight, self.confidence, self.observed, strict=True)
        return sum(weight * abs(confidence - observed) for weight, confidence, observed in rows)


def answers(
    user: User, shelf: Shelf, learner: Learner, how: str, seed: int, events: int = EVENTS[-1]
) -> Iterator[Comparison]:
    """Yield what a user answers to pair after pair.

    Args:
        learner: what chooses the next pair learns by it from the answers so far; it is not called for random pairs.
        how: `ACTIVE` or `AT_RANDOM`.
        seed: of pairs and of the user's noise.
    """
    draw = np.random.default_rng([seed, user.seed])
    noise = np.random.default_rng([seed, user.seed, 1])
    known: list[Comparison] = []
    shown = np.zeros(len(shelf.coordinates), np.int64)
    for number in range(events):
        if how == ACTIVE:
            learned = learner(known)
            assert isinstance(learned, Preference), "pairs are chosen by the shipped learner alone"
            pair = choose_pair(
                learned, shelf.coordinates, shelf.groups, shown, seed=(seed * 1_000_003 + user.seed) * 1_000 + number
            )
            assert pair is not None, "a shelf of pairs"
            left, right = pair
        else:
            left, right = (int(k) for k in shelf.pairs[int(draw.integers(len(shelf.pairs)))])
        shown[[left, right]] += 1
        chance = user.chances(shelf.looks, np.array([[left, right]]))[0]
        if noise.random() >= chance:
            left, right = right, left
        known.append(Comparison(shelf.coordinates[left], shelf.coordinates[right]))
        yield known[-1]


def outcome(user: User, shelf: Shelf, learned: Learned) -> Outcome:
    """Return how well what was learned predicts a user's answers to all pairs of a shelf that was held out."""
    left, right = shelf.coordinates[shelf.pairs[:, 0]], shelf.coordinates[shelf.pairs[:, 1]]
    chance = user.chances(shelf.looks, shelf.pairs)
    apart = learned.utilities(left) - learned.utilities(right)
    predicted = learned.probability(left, right)
    right_share = np.where(apart > 0, chance, np.where(apart < 0, 1 - chance, 0.5))
    sure = np.maximum(predicted, 1 - predicted)
    came_true = np.where(predicted >= 0.5, chance, 1 - chance)
    bins = np.minimum(((sure - 0.5) * 2 * BINS).astype(int), BINS - 1)
    rows = [_bin(sure[bins == number], came_true[bins == number], len(bins)) for number in range(BINS)]
    confidence, observed, weight = zip(*rows, strict=True)
    return Outcome(float(right_share.mean()), ceiling(chance), confidence, observed, weight)


def _bin(sure: Float64, came_true: Float64, total: int) -> tuple[float, float, float]:
    if not len(sure):
        return 0.0, 0.0, 0.0
    return float(sure.mean()), float(came_true.mean()), len(sure) / total


def interval(values: Sequence[float], seed: int = 3, rounds: int = 2000) -> tuple[float, float]:
    """Return the interval of 95 % of the mean of values, by drawing them anew with replacement."""
    given: NDArray[np.float64] = np.asarray(values, np.float64)
    draw = np.random.default_rng(seed)
    means = given[draw.integers(len(given), size=(rounds, len(given)))].mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)
