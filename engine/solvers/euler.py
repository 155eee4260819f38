"""Make the table of Euler's method, of order 1."""

from __future__ import annotations

from ..sigmas import Float32
from . import Evaluation

HELP = "one evaluation a step"


def table(sigmas: Float32) -> tuple[Evaluation, ...]:
    """Return the table of Euler's method, of order 1: one evaluation a step."""
    return tuple(
        Evaluation(float(s), float(t), float(t - s), 0.0, False, False, i)
        for i, (s, t) in enumerate(zip(sigmas[:-1], sigmas[1:], strict=True))
    )
