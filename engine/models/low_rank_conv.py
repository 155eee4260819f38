"""Add the low-rank terms of LoRAs to convolutions, which are computed as they are: a LoRA's own convolution to its few
channels, and a linear from these to the outputs.

A sum that has terms is kept in float32 until they are in it. Rows without terms come to the same bits as without.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...kernels.ops import DtypeName, Ops
from ...kernels.segments import Int32
from ..weights.lora import ConvFactors
from .low_rank import Acting


@dataclass(frozen=True, eq=False)
class ImageRun:
    """Images that follow one another in a level, on which the same LoRAs act.

    Attributes:
        start, stop: their rows.
        grids: int32 [B, 2], their sides.
        acting: the LoRAs.
    """

    start: int
    stop: int
    grids: Int32
    acting: Acting


def runs_of(samples: Sequence[Acting]) -> list[int]:
    """Return of each sample the number of its run: neighbours with the same LoRAs are one."""
    found: list[int] = []
    for place, acting in enumerate(samples):
        same = place > 0 and (acting is samples[place - 1] or not (acting or samples[place - 1]))
        found.append(found[-1] + (not same) if found else 0)
    return found


def image_runs(samples: Sequence[Acting], grids: Int32) -> tuple[ImageRun, ...]:
    """Return the runs of images that have LoRAs. `grids`: int32 [S, 2], the sides of each image."""
    numbers, ends, made = runs_of(samples), np.cumsum([0, *grids.prod(axis=1)]).tolist(), list[ImageRun]()
    for number in range(numbers[-1] + 1):
        first, count = numbers.index(number), numbers.count(number)
        if samples[first]:
            stop = first + count
            made.append(ImageRun(ends[first], ends[stop], grids[first:stop], samples[first]))
    return tuple(made)


class ConvTerms:
    """The terms of convolutions of a batch. A layout holds them, and graphs do not capture it.

    Args:
        ops: the backend.
        samples: of each sample, what acts on it.
    """

    def __init__(self, ops: Ops[Any, Any], samples: Sequence[Acting]) -> None:
        self._ops = ops
        self._touched = {
            target for acting in samples for lora, weight in acting if weight
            for target, factors in lora.factors.items() if isinstance(factors, ConvFactors)
        }  # fmt: skip
        self._gates: dict[tuple[int, float], Any] = {}

    def touch(self, target: str) -> bool:
        """Return whether any sample has a term of this convolution."""
        return target in self._touched

    def add(self, target: str, y: Any, acting: Acting, apply: Callable[[Any], Any]) -> None:
        """Add terms to the sums of rows with the same LoRAs.

        Args:
            y: float32 [P, N], WRITTEN.
            apply: convolves the rows' inputs with a weight, as the layer does.
        """
        for lora, weight in acting:
            factors = lora.factors.get(target)
            if factors is None or not weight:
                continue
            segments = self._ops.segments([y.shape[0]])
            gate = self._gate(factors.width, weight)
            self._ops.linear(apply(factors.down), factors.up, residual=y, gate=gate, segments=segments)

    def _gate(self, width: int, weight: float) -> Any:
        found = self._gates.get((width, weight))
        if found is None:
            values = np.full((1, width), weight, np.float32)
            found = self._gates[width, weight] = self._ops.array(values, "float32")
        return found


def conv2d(
    ops: Ops[Any, Any],
    terms: ConvTerms | None,
    target: str,
    x: Any,
    weight: Any,
    grids: Int32,
    runs: Sequence[ImageRun],
    *,
    residual: Any = None,
    dtype: DtypeName = "compute",
) -> Any:
    """Return what `conv2d` of the op table does, with the terms of the images of `runs`."""
    if terms is None or not terms.touch(target):
        return ops.conv2d(x, weight, grids, residual=residual, dtype=dtype)
    y = ops.conv2d(x, weight, grids, residual=residual, dtype="float32")
    for run in runs:
        rows = ops.rows(x, run.start, run.stop)

        def apply(down: Any, rows: Any = rows, run: ImageRun = run) -> Any:
            return ops.conv2d(rows, down, run.grids)

        terms.add(target, ops.rows(y, run.start, run.stop), run.acting, apply)
    return y if dtype == "float32" else ops.cast(y)
