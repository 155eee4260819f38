"""Make the table of consistency sampling (2310.04378): every step draws the clean picture and adds new noise to it.

It is what distilled models of few steps are made for. diffusers has it as `FlowMatchLCMScheduler`, and as
`FlowMatchEulerDiscreteScheduler` with stochastic_sampling.
"""

from __future__ import annotations

from ..sigmas import Float32
from . import Evaluation

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
