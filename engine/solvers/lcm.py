"""Make the table of consistency sampling (2310.04378): every step draws the clean picture and adds new noise to it.

It is what distilled models of few steps are made for. diffusers has it as `FlowMatchLCMScheduler`, and as
`FlowMatchEulerDiscreteScheduler` with stochastic_sampling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ..sigmas import Float32
from . import Evaluation

if TYPE_CHECKING:
    from ..trained import TrainedSigmas

SCALING: Final = 10.0  # of timesteps, and the deviation of the data, where latent consistency models have c_skip from
DATA: Final = 0.5
HELP = "one evaluation a step, with new noise after each: for models distilled to few steps"


def table(sigmas: Float32) -> tuple[Evaluation, ...]:
    """Return the table: x' = (1 - sigma') (x - sigma v) + sigma' noise."""
    found = []
    for i, (sigma, after) in enumerate(zip(sigmas[:-1], sigmas[1:], strict=True)):
        share = 1.0 - float(after)
        slope = -share * float(sigma)
        found.append(
            Evaluation(float(sigma), float(after), slope, 0.0, False, False, i, scale=share, noise=float(after))
        )
    return tuple(found)


def trained(sigmas: Float32, schedule: TrainedSigmas) -> tuple[Evaluation, ...]:
    """Return the table of latent consistency models, as diffusers' `LCMScheduler` steps.

    What counts as the clean picture is c_out (x - sigma v) + c_skip x, with x as the model sees it: near the first
    timesteps of training c_skip is not 0, by the boundary condition of 2303.01469, eq. 5.
    """
    times = SCALING * schedule.times(sigmas[:-1]).astype(np.float64)
    found = []
    for i, (sigma, after) in enumerate(zip(sigmas[:-1], sigmas[1:], strict=True)):
        s, t = float(sigma), float(after)
        square = times[i] ** 2 + DATA**2
        skip, out = DATA**2 / square / float(np.hypot(1.0 - s, s)), float(times[i] / np.sqrt(square))
        share = 1.0 - t
        scale = share * float(out + skip)
        found.append(Evaluation(s, t, -share * out * s, 0.0, False, False, i, scale=scale, noise=t))
    return tuple(found)
