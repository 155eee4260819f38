"""Make the table of Heun's second-order method as in EDM, 2206.00364, algorithm 1 without churn."""

from __future__ import annotations

from ..sigmas import Float32
from . import Evaluation

HELP = "two evaluations a step, of second order"


def table(sigmas: Float32) -> tuple[Evaluation, ...]:
    """Return the table of Heun's method, of order 2: two evaluations a step, except the last step to sigma 0.

    The last step is Euler's: a second evaluation would ask the model about sigma = 0, which it was never trained on.
    """
    table: list[Evaluation] = []
    for i, (s, t) in enumerate(zip(sigmas[:-1], sigmas[1:], strict=True)):
        h = t - s
        if t == 0:
            table.append(Evaluation(float(s), float(t), float(h), 0.0, False, False, i))
        else:
            half = float(h / 2)
            table.append(Evaluation(float(s), float(t), float(h), 0.0, False, True, i))
            table.append(Evaluation(float(t), float(t), half, half, True, False, i))
    return tuple(table)
