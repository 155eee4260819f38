"""Fit what work takes to the times that it took: robustly, one observation after another, in microseconds each.

What is kept are not the observations but, for each size class of shapes (`ClassMean`), their exponentially weighted
mean; the coefficients are fitted to these means so that relative errors are least. So a shape that comes ten thousand
times in a row weighs as one class and other shapes are not forgotten. A machine that becomes slower or faster as a
whole is followed by one common factor, `Fit.pace`: it learns from each observation against the mean of the same class,
never against the fit, and therefore a shape that the formula describes badly does not move the prices of the others.
"""

from __future__ import annotations

import math

from .curve import TINY_MS, ClassMean, FloorFit, curve_ms
from .nnls import nnls

_CLASSES = 128  # size classes remembered; the one longest not seen goes first
_KEPT = 20.0  # observations that a class keeps the weight of, however long it was not seen
RIDGE = 0.003  # weight of the prior in observations: those are about 20 times as exact, relatively
_PACE = 0.08  # share of a deviation that the common pace takes at once
_SPREAD = 1 / 40  # share of the newest residual in `error`
_MOST_BETWEEN = 32  # observations between two fits
_SHORTEST_MS, _LONGEST_MS = 1e-6, 1e12  # observations are clamped to these


def want_positive(name: str, value: float) -> None:
    """Raise ValueError for what is no finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{name}: {value!r} is no finite number above 0")


class Fit:
    """Coefficients above 0 of a sum over features, the first of which is always 1, and perhaps a floor.

    Attributes:
        coefficients, floor: the fitted ones, at the pace of the machine now; floor 0: there is none.
        error: relative standard error of predictions, each made before its observation was learnt.
        pace: how much slower the machine is now than when its classes were learnt.

    Args:
        prior: coefficients believed at first.
        error: their relative standard error.
        forgetting: weight that one more observation leaves to the older ones; below 1.
        floor: whether to look for a floor.

    Raises:
        ValueError: an argument out of range.
    """

    __slots__ = (
        "_base", "_classes", "_floors", "_forgetting", "_next", "_shares", "_square", "coefficients", "error", "floor",
        "observations", "pace", "prior",
    )  # fmt: skip

    def __init__(self, prior: tuple[float, ...], error: float, forgetting: float, *, floor: bool = False) -> None:
        for name, value in (("error", error), *(("prior", value) for value in prior)):
            want_positive(name, value)
        if not 0.5 <= forgetting < 1:
            raise ValueError(f"forgetting: {forgetting!r} is not from 0.5 to below 1")
        self.prior = prior
        self.coefficients = prior
        self.floor = 0.0
        self.error = error
        self.observations = 0
        self.pace = 1.0
        self._forgetting = forgetting
        self._square = error * error
        self._shares, self._base = prior, 0.0  # coefficients and floor at pace 1
        self._floors = FloorFit() if floor else None
        self._classes: dict[tuple[int, ...], ClassMean] = {}
        self._next = 1

    def observe(self, key: tuple[int, ...], sizes: tuple[float, ...], ms: float) -> None:
        """Learn that work of such sizes took `ms`; `key` names its size class.

        Raises:
            ValueError: `ms` is no finite number above 0.
        """
        want_positive("ms", ms)
        ms = min(max(ms, _SHORTEST_MS), _LONGEST_MS)
        self.observations += 1
        guess = curve_ms(self.coefficients, self.floor, sizes)
        self._judge(ms / guess - 1)
        ms /= self.pace
        guess /= self.pace

        found = self._classes.pop(key, None)
        if found is None:
            doubtful = self.observations > 20 and ms > 3 * guess
            found = ClassMean(sizes, ms, 0.1 if doubtful else 1.0, self.observations)
            if len(self._classes) >= _CLASSES:
                del self._classes[next(iter(self._classes))]
            else:
                self._next = self.observations
        else:
            self._average(found, sizes, ms, guess)
        self._classes[key] = found  # the newest comes last

        if self.observations >= self._next:
            self._solve()
            self._next = self.observations + min(max(1, self.observations // 4), _MOST_BETWEEN)
        pace = self.pace
        first, *others = self._shares
        self.coefficients = (max(first * pace, TINY_MS), *[share * pace for share in others])
        self.floor = self._base * pace

    def _judge(self, residual: float) -> None:
        """Take a relative residual into `error`; one far out counts as four standard errors."""
        residual = min(abs(residual), 4 * self.error + 0.01)
        rate = max(1 / (self.observations + 2), _SPREAD)
        self._square += (residual * residual - self._square) * rate
        self.error = math.sqrt(self._square)

    def _average(self, found: ClassMean, sizes: tuple[float, ...], ms: float, guess: float) -> None:
        """Take an observation into the mean of its class, and what it says of the machine into the pace."""
        age = self.observations - found.seen
        found.seen = self.observations
        weight = found.weight
        mean = found.ms
        # sizes of a class lie within 2x
        expected = mean * min(max(guess / curve_ms(self._shares, self._base, found.sizes), 0.25), 4.0)
        off = ms / expected - 1
        if weight < 3 and off < -0.5:  # what came before was a hiccup
            found.sizes, found.ms = sizes, ms
            return
        limit = max(0.1, min(3 * self.error, 0.7))
        off = min(max(off, -limit), limit) * expected
        if weight >= 3:
            # The same deviation drives pace and mean: otherwise the two drift apart for ever, only their product right.
            self.pace = min(max(self.pace * math.exp(_PACE * off / mean), 1e-12), 1e12)
        weight = max(weight * self._forgetting**age, min(weight, _KEPT)) + 1
        found.weight = weight
        rate = 1 / weight
        found.ms = mean + (expected + off - mean) * rate
        found.sizes = tuple([old + (new - old) * rate for old, new in zip(found.sizes, sizes, strict=True)])

    def _solve(self) -> None:
        """Fit the coefficients to the means of the classes: least squares of relative errors, with the prior as a
        ridge, scaled by how much slower the machine is than the prior says."""
        prior = self.prior
        logs = total = 0.0
        for each in self._classes.values():
            logs += each.weight * math.log(each.ms / curve_ms(prior, 0.0, each.sizes))
            total += each.weight
        speed = math.exp(logs / total)
        scales = [speed * one for one in prior]
        count = range(len(prior))
        matrix = [[0.0] * len(prior) for _ in count]
        right = [0.0] * len(prior)
        for each in self._classes.values():
            weight = each.weight
            line = [size * scale / each.ms for size, scale in zip(each.sizes, scales, strict=True)]
            for i in count:
                part = weight * line[i]
                if part:
                    right[i] += part
                    row = matrix[i]
                    for j in range(i + 1):
                        row[j] += part * line[j]
        for i in count:
            # a coefficient far above its prior: relative to it
            ridge = RIDGE / max(1.0, self._shares[i] / scales[i]) ** 2
            matrix[i][i] += ridge
            right[i] += ridge
            for j in range(i):
                matrix[j][i] = matrix[i][j]
        line_shares = tuple([one * scale for one, scale in zip(nnls(matrix, right), scales, strict=True)])
        if self._floors is None:
            self._shares = line_shares
        else:
            self._shares, self._base = self._floors.fit(self._classes.values(), line_shares, scales)
