"""Say how far a profile can be trusted: what it predicts of choices that it was not told, and what it rests on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from .preference import Comparison, Preference, fit
from .space import TasteSpace

Float64 = NDArray[np.float64]

FOLDS: Final = 10
BINS: Final = 5  # of the calibration
Z: Final = 1.959964  # of an interval of 95 %
# A profile of a user who chooses by chance predicts half of the choices, with a deviation of half the root of their
# number. It is called something if it predicts more by so many deviations, and strong if also this share at least.
SURE: Final = 2.0
STRONG: Final = 0.75
FEWEST: Final = 20  # choices of which anything is said

NOTHING, WEAK, IS_STRONG = "does nothing", "weak", "strong"


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What speaks for a profile.

    Attributes:
        choices: number of comparisons.
        predicted: share of them that is predicted by a profile of the others; .5 is chance.
        low, high: the interval of 95 % around it (Wilson's).
        calibration: mean difference between the chances that were stated and what came of them, by bins (ECE).
        consistency: share of the choices that the profile of all agrees with: what contradicts the rest is missing.
        effect: chance that a picture in the user's style is chosen before one of any style.
        verdict: "strong", "weak" or "does nothing".
    """

    choices: int
    predicted: float
    low: float
    high: float
    calibration: float
    consistency: float
    effect: float
    verdict: str


def evidence_of(space: TasteSpace, comparisons: Sequence[Comparison], preference: Preference) -> Evidence:
    """Return what speaks for the profile of comparisons.

    Args:
        space: of the coordinates.
        comparisons: the choices. Only whole ones (weight 1) are predicted and counted, if there are any.
        preference: that was learned of them.
    """
    differences = np.stack([c.better - c.worse for c in comparisons]) if comparisons else np.zeros((0, space.axes))
    weights = np.array([c.weight for c in comparisons], np.float64)
    asked = np.flatnonzero(weights >= 1.0) if (weights >= 1.0).any() else np.arange(len(weights))
    chances = held_out(differences, weights, space.covariances)[asked]
    right = float((chances > 0.5).sum() + 0.5 * (chances == 0.5).sum())
    low, high = interval(right, len(asked))
    predicted = right / len(asked) if len(asked) else 0.5
    agreed = preference.utilities(differences[asked]) > 0
    return Evidence(
        choices=len(asked),
        predicted=predicted,
        low=low,
        high=high,
        calibration=calibration(chances),
        consistency=float(agreed.mean()) if len(asked) else 0.5,
        effect=effect(space, preference),
        verdict=verdict(right, len(asked)),
    )


def held_out(differences: Float64, weights: Float64, types: Float64) -> Float64:
    """Return for each choice the chance [n] that a profile of the others gives it, in `FOLDS` parts by turns.

    Args:
        differences: [n, K], coordinates of what was chosen less those of the other.
        weights: [n].
        types: [M, K, K], what is known of users in general.
    """
    chances = np.full(len(differences), 0.5)
    if len(differences) < 2:
        return chances
    fold = np.arange(len(differences)) % FOLDS
    for number in range(min(FOLDS, len(differences))):
        left_out = fold == number
        preference = fit(differences[~left_out], weights[~left_out], types)
        chances[left_out] = preference.probability(differences[left_out], np.zeros_like(differences[left_out]))
    return chances


def interval(right: float, number: int) -> tuple[float, float]:
    """Return Wilson's interval of 95 % for a share; of nothing (0, 1)."""
    if not number:
        return 0.0, 1.0
    share = right / number
    middle = share + Z * Z / (2 * number)
    off = Z * math.sqrt(share * (1 - share) / number + Z * Z / (4 * number * number))
    below = 1 + Z * Z / number
    return min(share, max(0.0, (middle - off) / below)), max(share, min(1.0, (middle + off) / below))


def calibration(chances: Float64) -> float:
    """Return the mean difference between stated chance and outcome, of the more likely answers [n] by bins."""
    if not len(chances):
        return 0.0
    stated, right = np.maximum(chances, 1.0 - chances), chances > 0.5
    bins = np.minimum((stated - 0.5) / 0.5 * BINS, BINS - 1).astype(int)
    off = [abs(float(stated[bins == b].sum() - right[bins == b].sum())) for b in range(BINS)]
    return sum(off) / len(chances)


def effect(space: TasteSpace, preference: Preference) -> float:
    """Return the chance that a picture in the user's style is chosen before one of any style."""
    _, coordinates = space.points
    utilities = coordinates @ preference.mean
    best = coordinates[np.argsort(-utilities, kind="stable")[: max(1, len(coordinates) // 100)]].mean(axis=0)
    some = coordinates[::16]
    return float(preference.probability(np.broadcast_to(best, some.shape), some).mean())


def verdict(right: float, number: int) -> str:
    """Return what to call a profile that predicts so many of a number of choices."""
    if number < FEWEST or right - 0.5 * number <= SURE * 0.5 * math.sqrt(number):
        return NOTHING
    return IS_STRONG if right >= STRONG * number else WEAK


def pulls(comparisons: Sequence[Comparison], preference: Preference) -> Float64:
    """Return how far each comparison [n] moves the profile: the change of the utilities without it, as a length."""
    if not comparisons:
        return np.zeros(0)
    differences = np.stack([c.better - c.worse for c in comparisons])
    weights = np.array([c.weight for c in comparisons], np.float64)
    chance = preference.probability(differences, np.zeros_like(differences))
    moved = differences @ preference.covariance
    found: Float64 = weights * (1.0 - chance) * np.linalg.norm(moved, axis=1)
    return found


def liked(space: TasteSpace, preference: Preference) -> list[tuple[str, str, float, float]]:
    """Return (factor, class, utility, deviation) of every class, the most liked first; of a space without classes none.

    A utility is told against the mean of its factor.
    """
    if not space.factors:
        return []
    mean, variance = preference.mean.copy(), np.diag(preference.covariance)
    for group in space.groups:
        mean[group] -= mean[group].mean()
    rows = [
        (factor, name, float(mean[at]), math.sqrt(max(0.0, float(variance[at]))))
        for at, (factor, name) in enumerate(space.labels)
    ]
    return sorted(rows, key=lambda row: -row[2])
