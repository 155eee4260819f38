"""Make the table of DPM-Solver++(2M), 2211.01095 algorithm 2, of order 2 with one evaluation a step.

Its update is made of the clean estimates D = x - sigma v of this step and of the one before:

    x' = (sigma'/sigma) x + alpha' (1 - e^-h) (D + (D - D_before) / 2r)

with alpha = 1 - sigma, lambda = log(alpha / sigma), h = lambda' - lambda, r = (lambda - lambda_before) / h. Written out
it is a sum of the latents of both steps and their velocities. Without the second term it is Euler's step.
"""

from __future__ import annotations

import numpy as np

from ...kernels.elementary import log
from ..sigmas import Float32
from . import Evaluation

HELP = "one evaluation a step, of second order: takes the step before into account"


def table(sigmas: Float32) -> tuple[Evaluation, ...]:
    """Return the table of DPM-Solver++(2M), as diffusers' `DPMSolverMultistepScheduler` steps on flow sigmas.

    The first step and the one to sigma 0 are Euler's, and so is one that follows on sigma 1, where lambda is infinite.
    """
    s = [float(sigma) for sigma in sigmas]
    found = []
    for i, (sigma, after) in enumerate(zip(s[:-1], s[1:], strict=True)):
        gain = _gain(s[i - 1], sigma, after) if i and after > 0 and s[i - 1] < 1 else 0.0
        keeps = i + 2 < len(s)  # there is a step behind this one, which may need its latents
        slope, before = after - sigma - gain * sigma, gain * s[i - 1] if i else 0.0
        found.append(
            Evaluation(sigma, after, slope, before, False, keeps, i, scale=1.0 + gain, aside=-gain if gain else 0.0)
        )
    return tuple(found)


def _gain(before: float, sigma: float, after: float) -> float:
    """Return the factor of D - D_before: alpha' (1 - e^-h) / 2r."""
    lambdas = log(1.0 - np.array([before, sigma, after])) - log(np.array([before, sigma, after]))
    past, h = lambdas[1] - lambdas[0], lambdas[2] - lambdas[1]
    decay = after * (1.0 - sigma) / (sigma * (1.0 - after))  # e^-h
    return float((1.0 - after) * (1.0 - decay) * h / (2.0 * past))
