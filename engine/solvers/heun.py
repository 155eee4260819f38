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


def exploding(sigmas: Float32) -> tuple[Evaluation, ...]:
    """Return the table of the method on latents data + k noise, k = s / (1 - s), as diffusers'
    `HeunDiscreteScheduler` steps.

    The noise in latents x is x + (1 - s) v. With h = k' - k, of the step from x to x' by v, then v' at x':
    (1 + k') x'' = (1 + k) x + h / 2 (x + (1 - s) v + x' + (1 - s') v').
    """
    found: list[Evaluation] = []
    for i, (sigma, after) in enumerate(zip(sigmas[:-1], sigmas[1:], strict=True)):
        s, t = float(sigma), float(after)
        if t == 0:
            found.append(Evaluation(s, t, t - s, 0.0, False, False, i))
            continue
        half = (t / (1.0 - t) - s / (1.0 - s)) / 2.0
        rest = 1.0 - t  # 1 / (1 + k')
        found.append(Evaluation(s, t, t - s, 0.0, False, True, i))
        scale = rest * (1.0 / (1.0 - s) + 2.0 * half)  # x' = x + (t - s) v stands in it, too
        before = rest * half * ((1.0 - s) + (t - s))
        found.append(Evaluation(t, t, rest * half * (1.0 - t), before, True, False, i, scale=scale))
    return tuple(found)
