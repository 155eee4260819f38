"""Learn what work costs on one worker, from the time that it took.

A step costs t = fixed + softmax(floor, load), load = row * rows + square * squares + adapter * adapter_rows, no
coefficient below 0 (`curve.py`). A device without a floor, as a CPU is one, has floor 0 and t = fixed + load: a line.
How that is fitted to what was measured stands in `fit.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

from .curve import soft_max
from .fit import Fit, want_positive
from .tickets import Stage, StageWork, StepShape


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
            want_positive(one.name, getattr(self, one.name))


class CostModel:
    """The cost of steps on one worker.

    Attributes:
        seen_rows: the most rows of a step that was observed. Beyond, the curve is a guess.

    Args:
        prior: what is believed at first.
        forgetting: weight that one more observation leaves to the older ones; below 1.

    Raises:
        ValueError: `forgetting` not between 0.5 and 1.
    """

    __slots__ = ("_adapter", "_fit", "_fixed", "_floor", "_row", "_square", "seen_rows")

    def __init__(self, prior: Prior = Prior(), forgetting: float = 0.995) -> None:
        scales = (prior.fixed_ms, prior.row_us / 1e3, prior.square_ns / 1e6, prior.adapter_ns / 1e6)
        self._fit = Fit(scales, prior.error, forgetting, floor=True)
        self._fixed, self._row, self._square, self._adapter = self._fit.coefficients
        self._floor = 0.0
        self.seen_rows = 0

    def load(self, shape: StepShape) -> float:
        """Return what a job adds to a full step, in ms: from 0 on, and the sum of its parts for jobs that share one."""
        return self._row * shape.rows + self._square * shape.squares + self._adapter * shape.adapter_rows

    def step_ms(self, load: float) -> float:
        """Return the milliseconds of a step whose jobs have this load together: above 0, and never less for more."""
        return self._fixed + (soft_max(self._floor, load) if self._floor else load)

    def is_full(self, ms: float, least: float) -> bool:
        """Return whether no job saves more than this share of a step of `ms` by joining it, whatever the job."""
        return not self._floor and self._fixed <= least * ms

    def predict(self, shape: StepShape) -> float:
        """Return the milliseconds of a step of `shape`: above 0, and never less for more work."""
        return self.step_ms(self.load(shape))

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
        self._floor = self._fit.floor
        self.seen_rows = max(self.seen_rows, rows)

    @property
    def fixed_ms(self) -> float:
        """Milliseconds that every step takes beside its floor and load, which jobs save by sharing a step."""
        return self._fixed

    @property
    def floor_ms(self) -> float:
        """Milliseconds below which no load brings a step, however small; 0 where the device has no floor."""
        return self._floor

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
        self._fit = Fit((fixed_ms, unit_us / 1e3), error, forgetting)
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
    Stage.ENCODE: (2.0, 50.0),  # unit: one text row, or a token of a picture
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
