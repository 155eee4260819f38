"""Learn what work costs on one worker, from the time that it took.

A step costs t = fixed + row * rows + square * squares + adapter * adapter_rows, no coefficient below 0. What is kept
are not the observations but, for each size class of shapes (`_Bucket`), their exponentially weighted mean; the
coefficients are fitted to these means so that relative errors are least. So a shape that comes ten thousand times in a
row weighs as one class and other shapes are not forgotten. A machine that becomes slower or faster as a whole is
followed by one common factor, `_Fit.pace`: it learns from each observation against the mean of the same class, never
against the fit, and therefore a shape that the formula describes badly does not move the prices of the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

from .nnls import nnls
from .tickets import Stage, StageWork, StepShape

_BUCKETS = 128  # size classes remembered; the one longest not seen goes first
_KEPT = 20.0  # observations that a class keeps the weight of, however long it was not seen
_RIDGE = 0.003  # weight of the prior in observations: those are about 20 times as exact, relatively
_PACE = 0.08  # share of a deviation that the common pace takes at once
_SPREAD = 1 / 40  # share of the newest residual in `error`
_MOST_BETWEEN = 32  # observations between two fits
_SHORTEST_MS, _LONGEST_MS = 1e-6, 1e12  # observations are clamped to these
_TINY_MS = 1e-9  # no prediction is below


def _positive(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{name}: {value!r} is no finite number above 0")


@dataclass(frozen=True)
class Prior:
    """The cost of a step before anything is known. The defaults are those of a small model on a CPU.

    Only the proportions matter after the first observations: what was never excited is scaled with the rest.

    Attributes:
        fixed_ms: milliseconds of any step.
        row_us: microseconds a row.
        square_ns: nanoseconds a squared row (attention).
        adapter_ns: nanoseconds a row and adapter token.
        error: relative standard error of these, 0.5 = 50 %.

    Raises:
        ValueError: a number that is not finite and above 0.
    """

    fixed_ms: float = 2.0
    row_us: float = 25.0
    square_ns: float = 5.0
    adapter_ns: float = 20.0
    error: float = 0.5

    def __post_init__(self) -> None:
        for one in fields(self):
            _positive(one.name, getattr(self, one.name))


class CostModel:
    """The cost of steps on one worker.

    Args:
        prior: what is believed at first.
        forgetting: weight that one more observation leaves to the older ones; below 1.

    Raises:
        ValueError: `forgetting` not between 0.5 and 1.
    """

    __slots__ = ("_adapter", "_fit", "_fixed", "_row", "_square")

    def __init__(self, prior: Prior = Prior(), forgetting: float = 0.995) -> None:
        scales = (prior.fixed_ms, prior.row_us / 1e3, prior.square_ns / 1e6, prior.adapter_ns / 1e6)
        self._fit = _Fit(scales, prior.error, forgetting)
        self._fixed, self._row, self._square, self._adapter = self._fit.coefficients

    def predict(self, shape: StepShape) -> float:
        """Return the milliseconds of a step of `shape`: above 0, and never less for more work."""
        return self._fixed + self._row * shape.rows + self._square * shape.squares + self._adapter * shape.adapter_rows

    def high(self, shape: StepShape) -> float:
        """Return the milliseconds that few steps of `shape` exceed: two standard errors above `predict`."""
        return self.predict(shape) * (1 + 2 * self._fit.error)

    def observe(self, shape: StepShape, ms: float) -> None:
        """Learn that a step of `shape` took `ms`.

        Raises:
            ValueError: `ms` is no finite number above 0, or the shape is negative.
        """
        rows, squares, adapter = shape.rows, shape.squares, shape.adapter_rows
        if rows < 0 or squares < 0 or adapter < 0:
            raise ValueError(f"shape: {shape} has a number below 0")
        key = (rows.bit_length(), squares.bit_length(), adapter.bit_length())
        self._fit.observe(key, (1.0, float(rows), float(squares), float(adapter)), ms)
        self._fixed, self._row, self._square, self._adapter = self._fit.coefficients

    @property
    def fixed_ms(self) -> float:
        """Milliseconds of any step, which jobs save by sharing a step."""
        return self._fixed

    @property
    def error(self) -> float:
        """Relative standard error of predictions, of the last forty or so, each made before its step was learnt."""
        return self._fit.error

    @property
    def coefficients(self) -> tuple[float, float, float, float]:
        """Milliseconds a step, a row, a squared row, an adapter row; none below 0."""
        return self._fixed, self._row, self._square, self._adapter

    @property
    def observations(self) -> int:
        """Steps learnt so far."""
        return self._fit.observations


class StageCost:
    """The cost of one piece of another stage: fixed + unit * units.

    Args:
        fixed_ms: milliseconds of a piece, believed at first.
        unit_us: microseconds a unit, believed at first.
        error: relative standard error of these.
        forgetting: as of `CostModel`.

    Raises:
        ValueError: an argument out of range.
    """

    __slots__ = ("_fit", "_fixed", "_unit")

    def __init__(self, fixed_ms: float, unit_us: float, error: float = 0.5, forgetting: float = 0.995) -> None:
        self._fit = _Fit((fixed_ms, unit_us / 1e3), error, forgetting)
        self._fixed, self._unit = self._fit.coefficients

    def predict(self, units: float) -> float:
        """Return the milliseconds of a piece of so many units: above 0, and never less for more."""
        return self._fixed + self._unit * units

    def high(self, units: float) -> float:
        """Return the milliseconds that few such pieces exceed."""
        return self.predict(units) * (1 + 2 * self._fit.error)

    def observe(self, units: float, ms: float) -> None:
        """Learn that a piece of so many units took `ms`.

        Raises:
            ValueError: `ms` is no finite number above 0, or `units` no finite number from 0 on.
        """
        if not 0 <= units < math.inf:
            raise ValueError(f"units: {units!r} is no finite number from 0 on")
        self._fit.observe((round(2 * math.log2(1 + units)),), (1.0, float(units)), ms)
        self._fixed, self._unit = self._fit.coefficients

    @property
    def error(self) -> float:
        """Relative standard error of predictions, as of `CostModel`."""
        return self._fit.error

    @property
    def coefficients(self) -> tuple[float, float]:
        """Milliseconds a piece, a unit; none below 0."""
        return self._fixed, self._unit

    @property
    def observations(self) -> int:
        """Pieces learnt so far."""
        return self._fit.observations


PRIORS: Mapping[str, tuple[float, float]] = {  # kind of stage -> ms of a piece and us of a unit, believed at first
    Stage.ENCODE: (2.0, 50.0),  # unit: one text row
    Stage.DECODE: (2.0, 1000.0),  # unit: 1,000 pixels
    Stage.UPSCALE: (2.0, 4000.0),  # unit: 1,000 pixels, before upscaling
}
UNKNOWN = (2.0, 1000.0)  # of a kind that is not there


class WorkerCost:
    """The cost of every kind of work on one worker: a line for each kind that it was given.

    Attributes:
        step: of steps.
        stages: of every other kind, by name; one that comes for the first time begins with its prior.
    """

    __slots__ = ("stages", "step")

    def __init__(self, step: CostModel | None = None, stages: Mapping[str, StageCost] | None = None) -> None:
        self.step = step or CostModel()
        self.stages = dict(stages or {})

    def stage(self, kind: str) -> StageCost:
        """Return the line of a kind of stage."""
        line = self.stages.get(kind)
        if line is None:
            line = self.stages[kind] = StageCost(*PRIORS.get(kind, UNKNOWN))
        return line

    def predict(self, work: StageWork, shape: StepShape | None = None) -> float:
        """Return the milliseconds of one piece; a step of several jobs has their joint `shape`."""
        if work.shape is not None:
            return self.step.predict(work.shape if shape is None else shape)
        return self.stage(work.kind).predict(work.units)

    def high(self, work: StageWork, shape: StepShape | None = None) -> float:
        """Return the milliseconds that few such pieces exceed."""
        if work.shape is not None:
            return self.step.high(work.shape if shape is None else shape)
        return self.stage(work.kind).high(work.units)

    def observe(self, work: StageWork, ms: float, shape: StepShape | None = None) -> None:
        """Learn that the work which `predict` estimates from the same arguments took `ms`.

        Raises:
            ValueError: `ms` is no finite number above 0.
        """
        if work.shape is not None:
            self.step.observe(work.shape if shape is None else shape, ms)
        else:
            self.stage(work.kind).observe(work.units, ms)


class _Bucket:
    """The mean of the observations of one size class.

    `sizes` are the features, `ms` is the time at pace 1, `weight` counts observations, `seen` is when the last one
    came.
    """

    __slots__ = ("ms", "seen", "sizes", "weight")

    def __init__(self, sizes: tuple[float, ...], ms: float, weight: float, seen: int) -> None:
        self.sizes, self.ms, self.weight, self.seen = sizes, ms, weight, seen


class _Fit:
    """Coefficients above 0 of a sum over features, the first of which is always 1."""

    __slots__ = (
        "_buckets",
        "_forgetting",
        "_next",
        "_shares",
        "_square",
        "coefficients",
        "error",
        "observations",
        "pace",
        "prior",
    )

    def __init__(self, prior: tuple[float, ...], error: float, forgetting: float) -> None:
        for name, value in (("error", error), *(("prior", value) for value in prior)):
            _positive(name, value)
        if not 0.5 <= forgetting < 1:
            raise ValueError(f"forgetting: {forgetting!r} is not from 0.5 to below 1")
        self.prior = prior
        self.coefficients = prior
        self.error = error
        self.observations = 0
        self.pace = 1.0
        self._forgetting = forgetting
        self._square = error * error
        self._shares = prior  # the coefficients at pace 1
        self._buckets: dict[tuple[int, ...], _Bucket] = {}
        self._next = 1

    def observe(self, key: tuple[int, ...], sizes: tuple[float, ...], ms: float) -> None:
        _positive("ms", ms)
        ms = min(max(ms, _SHORTEST_MS), _LONGEST_MS)
        self.observations += 1
        guess = _dot(self.coefficients, sizes)
        self._judge(ms / guess - 1)
        ms /= self.pace
        guess /= self.pace

        bucket = self._buckets.pop(key, None)
        if bucket is None:
            doubtful = self.observations > 20 and ms > 3 * guess
            bucket = _Bucket(sizes, ms, 0.1 if doubtful else 1.0, self.observations)
            if len(self._buckets) >= _BUCKETS:
                del self._buckets[next(iter(self._buckets))]
            else:
                self._next = self.observations
        else:
            self._average(bucket, sizes, ms, guess)
        self._buckets[key] = bucket  # the newest comes last

        if self.observations >= self._next:
            self._solve()
            self._next = self.observations + min(max(1, self.observations // 4), _MOST_BETWEEN)
        pace = self.pace
        first, *others = self._shares
        self.coefficients = (max(first * pace, _TINY_MS), *[share * pace for share in others])

    def _judge(self, residual: float) -> None:
        """Take a relative residual into `error`; one far out counts as four standard errors."""
        residual = min(abs(residual), 4 * self.error + 0.01)
        rate = max(1 / (self.observations + 2), _SPREAD)
        self._square += (residual * residual - self._square) * rate
        self.error = math.sqrt(self._square)

    def _average(self, bucket: _Bucket, sizes: tuple[float, ...], ms: float, guess: float) -> None:
        """Take an observation into the mean of its class, and what it says of the machine into the pace."""
        age = self.observations - bucket.seen
        bucket.seen = self.observations
        weight = bucket.weight
        mean = bucket.ms
        expected = mean * min(
            max(guess / _dot(self._shares, bucket.sizes), 0.25), 4.0
        )  # sizes of a class lie within 2x
        off = ms / expected - 1
        if weight < 3 and off < -0.5:  # what came before was a hiccup
            bucket.sizes, bucket.ms = sizes, ms
            return
        limit = max(0.1, min(3 * self.error, 0.7))
        off = min(max(off, -limit), limit) * expected
        if weight >= 3:
            # The same deviation drives pace and mean: otherwise the two drift apart for ever, only their product right.
            self.pace = min(max(self.pace * math.exp(_PACE * off / mean), 1e-12), 1e12)
        weight = max(weight * self._forgetting**age, min(weight, _KEPT)) + 1
        bucket.weight = weight
        rate = 1 / weight
        bucket.ms = mean + (expected + off - mean) * rate
        bucket.sizes = tuple([old + (new - old) * rate for old, new in zip(bucket.sizes, sizes, strict=True)])

    def _solve(self) -> None:
        """Fit the coefficients to the means of the classes: least squares of relative errors, with the prior as a
        ridge, scaled by how much slower the machine is than the prior says."""
        prior = self.prior
        logs = total = 0.0
        for bucket in self._buckets.values():
            logs += bucket.weight * math.log(bucket.ms / _dot(prior, bucket.sizes))
            total += bucket.weight
        speed = math.exp(logs / total)
        scales = [speed * one for one in prior]
        count = range(len(prior))
        matrix = [[0.0] * len(prior) for _ in count]
        right = [0.0] * len(prior)
        for bucket in self._buckets.values():
            weight = bucket.weight
            line = [size * scale / bucket.ms for size, scale in zip(bucket.sizes, scales, strict=True)]
            for i in count:
                part = weight * line[i]
                if part:
                    right[i] += part
                    row = matrix[i]
                    for j in range(i + 1):
                        row[j] += part * line[j]
        for i in count:
            ridge = (
                _RIDGE / max(1.0, self._shares[i] / scales[i]) ** 2
            )  # a coefficient far above its prior: relative to it
            matrix[i][i] += ridge
            right[i] += ridge
            for j in range(i):
                matrix[j][i] = matrix[i][j]
        self._shares = tuple([one * scale for one, scale in zip(nnls(matrix, right), scales, strict=True)])


def _dot(left: tuple[float, ...], right: tuple[float, ...]) -> float:
    """Return the inner product of two tuples, above 0."""
    return max(sum([a * b for a, b in zip(left, right, strict=True)]), _TINY_MS)
