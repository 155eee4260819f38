"""Make the table of Euler's method with ancestral noise: a step goes below its sigma, and new noise brings it back.

From sigma s a step goes to s'^2 / s by Euler, and noise raises that to the next sigma s', as in ancestral sampling
(2006.11239, eq. 11) between two levels; here for flow matching's latents alpha x + sigma noise with alpha = 1 - sigma.
"""

from __future__ import annotations

import math

from ..sigmas import Float32
from . import Evaluation

HELP = "one evaluation a step, with some new noise after each"


def table(sigmas: Float32) -> tuple[Evaluation, ...]:
    """Return the table: x' = r (x + (d - s) v) + noise sqrt(s'^2 - r^2 d^2), d = s'^2 / s, r = (1 - s') / (1 - d)."""
    found = []
    for i, (sigma, after) in enumerate(zip(sigmas[:-1], sigmas[1:], strict=True)):
        s, t = float(sigma), float(after)
        down = t * t / s
        ratio = (1.0 - t) / (1.0 - down)
        noise = math.sqrt(max(0.0, t * t - (ratio * down) ** 2))
        found.append(Evaluation(s, t, ratio * (down - s), 0.0, False, False, i, scale=ratio, noise=noise))
    return tuple(found)


def exploding(sigmas: Float32) -> tuple[Evaluation, ...]:
    """Return the table of k-diffusion's ancestral Euler, as diffusers' `EulerAncestralDiscreteScheduler` steps.

    With k = s / (1 - s) for the level of noise beside data of factor 1: down = k'^2 / k, up = sqrt(k'^2 - down^2), and
    data + down noise + up new noise, divided by 1 + k', is the next latents.
    """
    found = []
    for i, (sigma, after) in enumerate(zip(sigmas[:-1], sigmas[1:], strict=True)):
        s, t = float(sigma), float(after)
        level = t / (1.0 - t)
        down = level * level * (1.0 - s) / s
        up = math.sqrt(max(0.0, level * level - down * down))
        share = 1.0 - t
        found.append(
            Evaluation(
                s, t, share * (down * (1.0 - s) - s), 0.0, False, False, i, scale=share * (1.0 + down), noise=share * up
            )
        )
    return tuple(found)
