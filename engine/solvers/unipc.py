"""Make the table of UniPC (2302.04867) of order 2 with B(h) = e^h - 1: a predictor, and a corrector that costs nothing.

Its update is made of the clean estimates m = x - sigma v. At every step the velocity also corrects the latents that
it was taken at, before they go on:

    x_c = x + c m + c_1 m_1 + c_2 m_2       m, m_1, m_2: of this evaluation, and of the two before
    x'  = (sigma'/sigma) x_c + p m + p_1 m_1

The paper computes x_c from the corrected latents of the step before. Those are a sum of x, m_1 and m_2 too, since x was
predicted from them, so that nothing but clean estimates has to be kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...kernels.elementary import log
from ..sigmas import Float32
from . import Evaluation

HELP = "one evaluation a step, of higher order: corrects every step by the next one"
_FIRST = 1.0 - 1e-6  # in place of sigma 1, where lambda is infinite; diffusers' figure


@dataclass(frozen=True, slots=True)
class _Step:
    """A step from sigma to sigma', of an order: x' = ratio x + now m + before m_1, or, corrected by m' there,
    x' = ratio x + now m + before m_1 + after m'."""

    ratio: float
    now: float
    before: float = 0.0
    after: float = 0.0


def table(sigmas: Float32) -> tuple[Evaluation, ...]:
    """Return the table of UniPC, as diffusers' `UniPCMultistepScheduler` steps. The first and last step are of order
    1, the corrector's of the order of the step that it corrects."""
    s = [float(sigma) for sigma in sigmas]
    levels = [min(sigma, _FIRST) for sigma in s]
    steps = len(s) - 1
    found = []
    for i in range(steps):
        # What is added to x by the corrector: of m, m_1 and m_2. The ratio is that of the step, which is in x already.
        c = [0.0, 0.0, 0.0]
        if i:
            order = 1 if i == 1 else 2
            right, wrong = _corrected(levels, i - 1, order), _predicted(levels, i - 1, order)
            c = [right.after, right.now - wrong.now, right.before - wrong.before]
        step = _predicted(levels, i, 1 if i in (0, steps - 1) else 2)
        of_m = step.ratio * c[0] + step.now
        past = (step.ratio * c[1] + step.before, step.ratio * c[2])[: min(i, 2)]
        keeps = (1.0, -s[i]) if i + 1 < steps else None
        found.append(
            Evaluation(
                s[i], s[i + 1], -s[i] * of_m, 0.0, False, False, i, scale=step.ratio + of_m, past=past, keeps=keeps
            )
        )
    return tuple(found)


def _predicted(levels: list[float], i: int, order: int) -> _Step:
    """Return step i without the corrector."""
    share, decay = _share(levels, i), _decay(levels, i)
    plain = _Step(levels[i + 1] / levels[i], share * (1.0 - decay))
    if order == 1:
        return plain
    more = share * (1.0 - decay) * 0.5 / _back(levels, i)  # of (m_1 - m) / r, times 1/2 in place of rho
    return _Step(plain.ratio, plain.now - more, more)


def _corrected(levels: list[float], i: int, order: int) -> _Step:
    """Return step i with the corrector, which never goes to sigma 0."""
    share, decay = _share(levels, i), _decay(levels, i)
    gain = share * (1.0 - decay)  # -alpha' B(h)
    plain = _Step(levels[i + 1] / levels[i], gain)
    if order == 1:
        return _Step(plain.ratio, plain.now - 0.5 * gain, 0.0, 0.5 * gain)
    hh = -_lambda_step(levels, i)
    b = (decay - 1.0) / hh - 1.0
    first, second = b / (decay - 1.0), 2.0 * (b / hh - 0.5) / (decay - 1.0)
    back = _back(levels, i)
    rho = (first - second) / (1.0 - back)
    before, after = gain * rho / back, gain * (first - rho)
    return _Step(plain.ratio, plain.now - before - after, before, after)


def _share(levels: list[float], i: int) -> float:
    """Return alpha' of step i."""
    return 1.0 - levels[i + 1]


def _decay(levels: list[float], i: int) -> float:
    """Return e^-h of step i, h being what lambda = log(alpha / sigma) grows by."""
    return levels[i + 1] * (1.0 - levels[i]) / (levels[i] * (1.0 - levels[i + 1]))


def _lambda_step(levels: list[float], i: int) -> float:
    ends = np.array([levels[i], levels[i + 1]])
    lambdas = log(1.0 - ends) - log(ends)
    return float(lambdas[1] - lambdas[0])


def _back(levels: list[float], i: int) -> float:
    """Return r: the step before step i over step i, in lambda, below 0."""
    return -_lambda_step(levels, i - 1) / _lambda_step(levels, i)
