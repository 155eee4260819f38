"""Choose the pair that teaches most: the one of which the answer is most uncertain because the user is not known.

A pair may be uncertain because the two are alike to the user, which no answer changes, or because the user's utilities
are not known yet. Only the second is worth asking about: the mutual information of answer and utilities (BALD: Houlsby
and others, "Bayesian active learning for classification and preference learning", 1112.5745, with the logistic chance
put as a normal one). Every fourth or so pair is drawn by chance instead, so that what the model is wrongly sure of is
asked about too.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .preference import Preference, sigmoid

Float64 = NDArray[np.float64]
Whole = NDArray[np.int64]

EXPLORED: Final = 0.2  # share of pairs that are drawn by chance
CONSIDERED: Final = 2_000  # pairs that are looked at
ALIKE: Final = 0.15  # share of the pairs, the most alike, that are never asked for what they teach
FAR: Final = 0.02  # likewise the most different
_WIDTH: Final = math.sqrt(math.pi * math.log(2.0) / 2.0)
_PROBIT: Final = math.pi / 8.0  # a logistic chance of x is about a normal one of x * sqrt(this)


def choose_pair(
    preference: Preference, coordinates: Float64, groups: Whole, shown: Whole, seed: int
) -> tuple[int, int] | None:
    """Return the indices (left, right) of the next pair, or None if no group has two pictures.

    Args:
        preference: what is known of the user.
        coordinates: float64 [n, K] of the pictures that may be shown.
        groups: [n], pictures of one group are compared with each other, such as those of one thing.
        shown: [n], how often the user has seen each: the less the better, everything else alike.
        seed: decides what is left to chance; the number of the user's last event serves.
    """
    draw = np.random.Generator(np.random.Philox(seed))
    pairs = _pairs(groups, draw)
    if not len(pairs):
        return None
    left, right = pairs[:, 0], pairs[:, 1]
    seen = shown[left] + shown[right]
    if draw.random() < EXPLORED:
        at = int(draw.choice(np.flatnonzero(seen == seen.min())))
    else:
        apart = np.linalg.norm(coordinates[left] - coordinates[right], axis=1)
        low, high = np.quantile(apart, [ALIKE, 1.0 - FAR])
        fits = (apart >= low) & (apart <= high)
        worth = information(preference, coordinates[left], coordinates[right]) / (1.0 + seen)
        at = int(np.argmax(np.where(fits, worth, -1.0)))
    first, second = int(left[at]), int(right[at])
    return (first, second) if draw.random() < 0.5 else (second, first)


def information(preference: Preference, left: Float64, right: Float64) -> Float64:
    """Return how much the answer to each pair [n] would tell of the user, in bits; coordinates are [n, K]."""
    mean, variance = preference.margins(left, right)
    mean, variance = mean * math.sqrt(_PROBIT), variance * _PROBIT
    chance = preference.shares @ sigmoid(mean / math.sqrt(_PROBIT) / np.sqrt(1.0 + variance))
    spread = variance + _WIDTH**2
    known = preference.shares @ (_WIDTH / np.sqrt(spread) * np.exp(-(mean**2) / (2.0 * spread)))
    found: Float64 = np.maximum(0.0, _entropy(chance) - known)
    return found


def _pairs(groups: Whole, draw: np.random.Generator) -> Whole:
    """Return pairs [n, 2] of pictures of one group, a part of them by chance where there are many."""
    found = []
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        first, second = np.triu_indices(len(members), 1)
        found.append(np.stack([members[first], members[second]], axis=1))
    pairs: Whole = np.concatenate(found) if found else np.zeros((0, 2), np.int64)
    if len(pairs) > CONSIDERED:
        pairs = pairs[draw.choice(len(pairs), CONSIDERED, replace=False)]
    return pairs


def _entropy(chance: Float64) -> Float64:
    """Return the entropy of an answer of this chance, in bits."""
    p = np.clip(chance, 1e-12, 1.0 - 1e-12)
    found: Float64 = -(p * np.log2(p) + (1.0 - p) * np.log2(1.0 - p))
    return found
