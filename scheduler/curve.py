"""The curve of a step's cost: a line, or where a device has one, a floor below which a step does not fall.

    t = fixed + softmax(floor, load),    softmax(a, b) = (a^8 + b^8)^(1/8),    load = sum of coefficient * size

Why: a GPU that is not full takes as long for one small job as for three, and once it is full a line holds again. The
one measured device whose two ends are known (an H200, SGLang #22183) has a maximum of order 7 there; with order 8 no
point of the curve is more than 1.5 % off that, and powers of two cost three square roots. A plain line (floor 0) is
taken unless a floor describes what was seen far better, so that a device without a floor is priced as if there were
none in the world.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from .nnls import nnls

TINY_MS = 1e-9  # no prediction is below
_LEAST = 3  # size classes that have been seen before a floor is looked for
_EXACT = 0.02  # a line that is off by no more than this (root mean square) needs no floor
_TAKE, _KEEP = 0.25, 0.5  # of the line's squared misfit, what a floor leaves to be believed, and to be still believed
_ALIKE = 4.0  # observations beyond which a class weighs no more: a shape that is seldom seen tells as much of the form
_OFTEN = 32  # fits at which a floor is looked for; later, while none is believed, at every fourth
_TURNS = 3  # steps towards the best floor at a time
_RIDGE = 0.003  # as in fit.py
_SOFT = 7.0  # order - 1: the exponent in the softmax's derivatives


class ClassMean:
    """The mean of the observations of one size class.

    `sizes` are the features, the first of which is 1, `ms` is the time at pace 1, `weight` counts observations, `seen`
    is when the last one came.
    """

    __slots__ = ("ms", "seen", "sizes", "weight")

    def __init__(self, sizes: tuple[float, ...], ms: float, weight: float, seen: int) -> None:
        self.sizes, self.ms, self.weight, self.seen = sizes, ms, weight, seen


def soft_max(floor: float, load: float) -> float:
    """Return the soft maximum of order 8 of two numbers from 0 on: the larger, and up to 9.1 % more."""
    if load > floor:
        high, ratio = load, floor / load
    elif floor > 0.0:
        high, ratio = floor, load / floor
    else:
        return 0.0
    ratio *= ratio
    ratio *= ratio
    return high * math.sqrt(math.sqrt(math.sqrt(1.0 + ratio * ratio)))


def curve_ms(coefficients: Sequence[float], floor: float, sizes: Sequence[float]) -> float:
    """Return the milliseconds of work of such sizes, above 0; the first size is 1, and its coefficient a fixed cost."""
    total = sum([a * b for a, b in zip(coefficients, sizes, strict=True)])
    if floor:
        total = coefficients[0] + soft_max(floor, total - coefficients[0])
    return max(total, TINY_MS)


class FloorFit:
    """The search for a floor: Gauss-Newton steps that go on from one fit to the next, and what is believed.

    Every step is a least-squares problem without negative unknowns, as the line is, because the soft maximum is the sum
    of its derivatives times floor and load. A step that makes the misfit larger is halved.
    """

    __slots__ = ("_at", "_believed", "_fits")

    def __init__(self) -> None:
        self._at: list[float] | None = None  # fixed, floor, and the coefficients of the load
        self._believed = False
        self._fits = 0

    def fit(
        self, means: Collection[ClassMean], line: tuple[float, ...], scales: Sequence[float]
    ) -> tuple[tuple[float, ...], float]:
        """Return the coefficients and the floor that are to be believed; the line's and 0 where there is none.

        Args:
            means: what was seen, at least one.
            line: the coefficients of the best line.
            scales: what is believed of each coefficient where nothing is known.
        """
        total = sum([min(each.weight, _ALIKE) for each in means])
        misfit = _misfit(means, (line[0], 0.0, *line[1:]))
        if len(means) < _LEAST or misfit <= _EXACT * _EXACT * total:
            self._believed = False
            return line, 0.0
        self._fits += 1
        if not self._believed and self._fits > _OFTEN and self._fits % 4:
            return line, 0.0
        at = self._at
        if at is None or (not self._believed and self._fits % 8 == 0):
            at = _start(means, scales)
        best, least = at, _misfit(means, at)
        for _ in range(1 if self._believed else _TURNS):
            matrix, right = _linear(means, best, scales)
            answer = nnls(matrix, right)
            at = [answer[0] * scales[0], answer[1] * best[1]]
            at += [one * scale for one, scale in zip(answer[2:], scales[1:], strict=True)]
            off = _misfit(means, at)
            if off >= least:
                at = [(a + b) / 2 for a, b in zip(best, at, strict=True)]
                off = _misfit(means, at)
            if off >= least:
                break
            best, least = at, off
        self._at = best if best[1] > 0 else None
        self._believed = best[1] > 0 and least < (_KEEP if self._believed else _TAKE) * misfit
        if not self._believed:
            return line, 0.0
        return (best[0], *best[2:]), best[1]


def _start(means: Collection[ClassMean], scales: Sequence[float]) -> list[float]:
    """Guess a floor: the load of the class that is cheapest for its size, and the time of those far below it."""
    loads = [(sum([a * b for a, b in zip(scales[1:], each.sizes[1:], strict=True)]), each) for each in means]
    rate = min([each.ms / load for load, each in loads if load > 0], default=1.0)
    low = [each for load, each in loads if rate * load < 0.5 * each.ms]
    if low:
        floor = sum([each.weight * each.ms for each in low]) / sum([each.weight for each in low])
    else:
        floor = min([each.ms for each in means])
    return [0.0, floor, *[rate * scale for scale in scales[1:]]]


def _misfit(means: Collection[ClassMean], at: Sequence[float]) -> float:
    """Return the weighted sum of a curve's squared relative errors."""
    fixed, floor, *slopes = at
    total = 0.0
    for each in means:
        load = sum([a * b for a, b in zip(slopes, each.sizes[1:], strict=True)])
        off = (fixed + soft_max(floor, load)) / each.ms - 1
        total += min(each.weight, _ALIKE) * off * off
    return total


def _linear(
    means: Collection[ClassMean], at: Sequence[float], scales: Sequence[float]
) -> tuple[list[list[float]], list[float]]:
    """Return the normal equations of a better curve: its unknowns are in units of `scales`, the floor's of itself."""
    _, floor, *slopes = at
    count = len(at)
    units = scales[1:]
    matrix = [[0.0] * count for _ in range(count)]
    right = [0.0] * count
    for each in means:
        weight, ms, sizes = min(each.weight, _ALIKE), each.ms, each.sizes
        load = sum([a * b for a, b in zip(slopes, sizes[1:], strict=True)])
        soft = max(soft_max(floor, load), TINY_MS)
        by_load = (load / soft) ** _SOFT / ms
        line = [scales[0] / ms, (floor / soft) ** _SOFT * floor / ms]
        line += [by_load * size * unit for size, unit in zip(sizes[1:], units, strict=True)]
        for i, one in enumerate(line):
            part = weight * one
            if part:
                right[i] += part
                row = matrix[i]
                for j in range(i + 1):
                    row[j] += part * line[j]
    for i in range(count):
        now = 1.0 if i < 2 else max(1.0, slopes[i - 2] / units[i - 2])
        ridge = _RIDGE / now**2
        matrix[i][i] += ridge
        if i:  # a floor has no fixed cost beside it unless that was seen
            right[i] += ridge
        for j in range(i):
            matrix[j][i] = matrix[i][j]
    return matrix, right
