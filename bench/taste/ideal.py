"""The ideal-point model of a taste, to compare with the linear one: a picture is liked the more, the nearer it is.

The utility -b |x - z|^2 of a picture at x is 2 b z.x - b |x|^2 but for a constant: a linear model in (x, -|x|^2), whose
last weight b is at least 0. Its weights are the most likely ones of a logistic model with a normal prior, by Newton's
method; chances are those of the mean weights, flattened by their uncertainty (MacKay 1992).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...engine.taste.preference import Comparison
from .users import Float64

ROUNDS = 30
SLACK = 1e-6


@dataclass(frozen=True, eq=False)
class IdealPoint:
    """What was learned: weights float64 [K + 1] and their covariance."""

    mean: Float64
    covariance: Float64

    def utilities(self, coordinates: Float64) -> Float64:
        """See `sessions.Learned`."""
        found: Float64 = _lifted(coordinates) @ self.mean
        return found

    def probability(self, left: Float64, right: Float64) -> Float64:
        """See `sessions.Learned`."""
        apart = _lifted(left) - _lifted(right)
        variance = ((apart @ self.covariance) * apart).sum(1)
        flattened = (apart @ self.mean) / np.sqrt(1 + np.pi / 8 * variance)
        found: Float64 = 1 / (1 + np.exp(-np.clip(flattened, -500, 500)))
        return found


def learn_ideal(comparisons: Sequence[Comparison], prior: Float64, curvature: float = 1.0) -> IdealPoint:
    """Return the ideal point of comparisons.

    Args:
        prior: float64 [K, K], the covariance of the linear weights before any comparison.
        curvature: deviation of the last weight before any, whose mean is 0.
    """
    width = len(prior)
    precision = np.zeros((width + 1, width + 1))
    precision[:width, :width] = np.linalg.inv(prior)
    precision[width, width] = 1 / curvature**2
    mean = np.zeros(width + 1)
    if not comparisons:
        return IdealPoint(mean, np.asarray(np.linalg.inv(precision), np.float64))
    better = _lifted(np.stack([np.asarray(each.better, np.float64) for each in comparisons]))
    apart = better - _lifted(np.stack([np.asarray(each.worse, np.float64) for each in comparisons]))
    weight = np.array([each.weight for each in comparisons])
    free = np.ones(width + 1, bool)
    for _ in range(ROUNDS):
        sure = 1 / (1 + np.exp(-np.clip(apart @ mean, -500, 500)))
        slope = apart.T @ (weight * (1 - sure)) - precision @ mean
        bend = (apart * (weight * sure * (1 - sure))[:, None]).T @ apart + precision
        step = np.zeros_like(mean)
        step[free] = np.linalg.solve(bend[np.ix_(free, free)], slope[free])
        if mean[-1] + step[-1] < 0 and free[-1]:  # a point that is disliked most is no ideal: the model is linear then
            free[-1], mean[-1] = False, 0.0
            continue
        mean = mean + step
        if np.abs(step).max() < SLACK:
            break
    return IdealPoint(mean, np.asarray(np.linalg.inv(bend), np.float64))


def _lifted(coordinates: Float64) -> Float64:
    found: Float64 = np.concatenate([coordinates, -(coordinates**2).sum(1, keepdims=True)], 1)
    return found
