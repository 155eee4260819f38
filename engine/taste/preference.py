"""Learn a user's utilities from comparisons: Bayesian logistic regression with a mixture of Gaussian priors.

The chance that picture a is chosen before b is 1 / (1 + exp(-(u(a) - u(b)))), with u linear in the coordinates (the
Bradley-Terry model). What a user is like before any choice is one of a few types, each a Gaussian over utilities
(`TasteSpace.covariances`): a new user is a combination of known ones. Each type's posterior is found by Newton's
method, with a Gaussian around it (Laplace's approximation), whose evidence says how much of the user is of that type.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .space import TasteSpace

Float64 = NDArray[np.float64]

STEPS: Final = 25  # Newton's, at most
CLOSE: Final = 1e-8  # a step's largest change at which it has converged
LONGEST: Final = 5.0  # a step's largest change, in deviations of the prior
RARE: Final = 1e-3  # types of less than this share are left out
UNTHREADED: Final = 200_000  # products of a matrix product that OpenBLAS computes on one thread


@dataclass(frozen=True)
class Comparison:
    """A choice between two pictures.

    Attributes:
        better, worse: coordinates float64 [K].
        weight: how much of a choice it is: 1 for a pair, less for what a grid or a like says.
    """

    better: Float64
    worse: Float64
    weight: float = 1.0


@dataclass(frozen=True, eq=False)
class Preference:
    """What is known of a user.

    Attributes:
        shares: float64 [M], how much of each type the user is; their sum is 1.
        means: float64 [M, K], the utilities by type.
        covariances: float64 [M, K, K], how uncertain they are.
        events: number of comparisons.
    """

    shares: Float64
    means: Float64
    covariances: Float64
    events: int

    @property
    def mean(self) -> Float64:
        """The utilities float64 [K] over all types."""
        mean: Float64 = self.shares @ self.means
        return mean

    @property
    def covariance(self) -> Float64:
        """The covariance float64 [K, K] over all types."""
        off = self.means - self.mean
        within = np.einsum("m,mij->ij", self.shares, self.covariances)
        between: Float64 = np.einsum("m,mi,mj->ij", self.shares, off, off)
        whole: Float64 = within + between
        return whole

    def utilities(self, coordinates: Float64) -> Float64:
        """Return the utilities [n] of pictures by their coordinates [n, K]."""
        found: Float64 = coordinates @ self.mean
        return found

    def margins(self, left: Float64, right: Float64) -> tuple[Float64, Float64]:
        """Return mean and variance [M, n] of u(left) - u(right), of coordinates [n, K]."""
        difference = np.atleast_2d(left - right)
        mean = self.means @ difference.T
        variance = np.einsum("ni,mij,nj->mn", difference, self.covariances, difference)
        return mean, np.maximum(variance, 0.0)

    def probability(self, left: Float64, right: Float64) -> Float64:
        """Return the chance [n] that left is chosen before right, of coordinates [n, K], all uncertainty included."""
        mean, variance = self.margins(left, right)
        found: Float64 = self.shares @ sigmoid(mean / np.sqrt(1.0 + math.pi / 8.0 * variance))
        return found


def learn(space: TasteSpace, comparisons: Sequence[Comparison], *, covariances: Float64 | None = None) -> Preference:
    """Return what comparisons say of a user; of none what is known of users in general.

    Args:
        space: of the coordinates.
        comparisons: the choices; their order does not matter but for rounding.
        covariances: types [M, K, K] in place of the space's.
    """
    types = space.covariances if covariances is None else covariances
    differences = np.stack([c.better - c.worse for c in comparisons]) if comparisons else np.zeros((0, space.axes))
    weights = np.array([c.weight for c in comparisons], np.float64)
    return fit(differences, weights, types)


def fit(differences: Float64, weights: Float64, types: Float64) -> Preference:
    """Return the preference that differences [n, K] of chosen and other coordinates say, with weights [n].

    Where there are fewer comparisons than coordinates, or the prior is singular, the same numbers come out: utilities
    are sought as prior @ dual, so that no prior is inverted.
    """
    found = [_of_type(differences, weights, prior) for prior in types]
    evidence = np.array([each[2] for each in found])
    shares = np.exp(evidence - evidence.max())
    shares /= shares.sum()
    keep = shares >= RARE
    shares = shares[keep] / shares[keep].sum()
    means = np.stack([each[0] for each, kept in zip(found, keep, strict=True) if kept])
    covariances = np.stack([each[1] for each, kept in zip(found, keep, strict=True) if kept])
    return Preference(shares, means, covariances, len(differences))


def _of_type(differences: Float64, weights: Float64, prior: Float64) -> tuple[Float64, Float64, float]:
    """Return (mean [K], covariance [K, K], log evidence) of one type's posterior.

    With S the prior's covariance the posterior's precision is inverse(S) + D' R D. By a root L of S (S = L L') it is
    inverse(L)' (1 + L' D' R D L) inverse(L), in which the middle is well conditioned, and S may be singular.
    """
    axes = len(prior)
    root = _root(prior.tobytes(), axes)
    seen = np.einsum("nk,kl->nl", differences, root)
    inner = np.zeros(axes)  # utilities = root @ inner, with a standard normal prior
    for _ in range(STEPS):
        chance = sigmoid(np.einsum("nk,k->n", seen, inner))
        gradient = np.einsum("nk,n->k", seen, weights * (1.0 - chance)) - inner
        step = np.linalg.solve(_precision(seen, weights * chance * (1.0 - chance)), gradient)
        inner = inner + step * min(1.0, LONGEST / max(1e-12, float(np.abs(step).max())))
        if float(np.abs(step).max(initial=0.0)) < CLOSE:
            break
    margins = np.einsum("nk,k->n", seen, inner)
    chance = sigmoid(margins)
    precision = _precision(seen, weights * chance * (1.0 - chance))
    covariance = root @ np.linalg.inv(precision) @ root.T
    likelihood = -float((weights * np.logaddexp(0.0, -margins)).sum())
    evidence = likelihood - 0.5 * float(inner @ inner) - 0.5 * float(np.linalg.slogdet(precision)[1])
    return root @ inner, covariance, evidence


@lru_cache(maxsize=256)
def _root(prior: bytes, axes: int) -> Float64:
    """Return a root L [K, K] of a prior's covariance, in the bytes of its float64 [K, K].

    It is kept: priors are few and never change, and on a busy machine this takes longer than all the rest.
    """
    values, vectors = np.linalg.eigh(np.frombuffer(prior).reshape(axes, axes))
    root: Float64 = vectors * np.sqrt(np.maximum(values, 0.0))
    return root


def _precision(seen: Float64, weights: Float64) -> Float64:
    """Return 1 + the weighted sum of squares [K, K] of rows [n, K].

    It is taken in parts that are too small for the threads of numpy's library: on a busy machine these take many times
    as long as the work itself.
    """
    axes = seen.shape[1]
    total, part = np.eye(axes), max(1, UNTHREADED // (axes * axes))
    for start in range(0, len(seen), part):
        rows = seen[start : start + part]
        total += (rows * weights[start : start + part, None]).T @ rows
    return total


def sigmoid(x: Float64) -> Float64:
    """Return 1 / (1 + e^-x), without overflow."""
    found: Float64 = 0.5 * (1.0 + np.tanh(0.5 * x))
    return found
