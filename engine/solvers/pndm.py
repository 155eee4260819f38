"""Make the table of PLMS, the linear multistep part of PNDM (2202.09778): of fourth order with one evaluation a step.

Step n goes by a mixture of what the model says now and said at the last three steps (Adams and Bashforth's). The second
step's evaluation is taken twice, as diffusers' `PNDMScheduler` with skip_prk_steps does: the first of them mends the
first step, of which nothing came before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..sigmas import Float32
from . import Evaluation

if TYPE_CHECKING:
    from ..trained import TrainedSigmas

HELP = "one evaluation a step and one more, of fourth order: takes three steps before into account"
_MIXTURES = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))
Said = Callable[[float], tuple[float, float]]
Moves = Callable[[float, float], tuple[float, float]]


def table(sigmas: Float32) -> tuple[Evaluation, ...]:
    """Return the table of the method on velocities."""
    return _table([float(sigma) for sigma in sigmas], lambda s: (0.0, 1.0), lambda s, t: (1.0, t - s))


def trained(sigmas: Float32, schedule: TrainedSigmas) -> tuple[Evaluation, ...]:
    """Return the table of the method on what the model predicts, as diffusers' `PNDMScheduler` steps.

    Of a schedule that ends in noise the last step ends there too, and those latents are taken for clean ones.
    """
    s, end = [float(sigma) for sigma in sigmas], schedule.end
    v_prediction = schedule.prediction == "v_prediction"
    found = _table([*s[:-1], end], _v_said if v_prediction else _noise, _v_moves if v_prediction else _noise_moves)
    last, scale = found[-1], 1.0 / float(np.hypot(1.0 - end, end))
    past = tuple(scale * factor for factor in last.past)
    return (*found[:-1], replace(last, a=scale * last.a, scale=scale * last.scale, past=past, next_sigma=0.0))


def _table(s: list[float], said: Said, moves: Moves) -> tuple[Evaluation, ...]:
    """Return the table for sigmas.

    Args:
        said: (p, q) of a sigma: the model says p x + q v, of which steps are mixtures.
        moves: (A, B) of two sigmas: the step is x' = A x + B mixture.
    """
    found: list[Evaluation] = []
    steps = len(s) - 1

    def add(step: int, ends: tuple[float, float], scale: float, factors: tuple[float, ...], *, keeps: bool) -> None:
        """Add x' = scale x + the mixture by these factors, the first of them of what the model says now."""
        p, q = said(ends[0])
        scale, a, past = scale + factors[0] * p, factors[0] * q, factors[1:]
        kept = (p, q) if keeps else None
        found.append(Evaluation(*ends, a, 0.0, False, False, step, scale=scale, past=past, keeps=kept))

    for i in range(steps):
        scale, slope = moves(s[i], s[i + 1])
        if i == 1:  # once more the first step, x1 = A x0 + B m0: with (m + m0) / 2 in place of m0
            half = moves(s[0], s[1])[1] / 2
            add(0, (s[1], s[1]), 1.0, (half, -half), keeps=False)
        mixture = tuple(slope * part for part in _MIXTURES[min(i, 3)])
        add(i, (s[i], s[i + 1]), scale, mixture, keeps=i + 1 < steps)
    return tuple(found)


def _noise(s: float) -> tuple[float, float]:
    return 1.0, 1.0 - s


def _noise_moves(s: float, t: float) -> tuple[float, float]:
    """Return the step of x / (1 - sigma) by the noise, as k = sigma / (1 - sigma) changes."""
    return (1.0 - t) / (1.0 - s), (1.0 - t) * (t / (1.0 - t) - s / (1.0 - s))


def _v_said(s: float) -> tuple[float, float]:
    """Return v of 2202.00512 in terms of x and of flow matching's velocity."""
    root = float(np.hypot(1.0 - s, s))
    return (1.0 - 2.0 * s) / root, root


def _v_moves(s: float, t: float) -> tuple[float, float]:
    """Return the step by v: the noise is ((1 - s) v + s x / root) / root."""
    scale, slope = _noise_moves(s, t)
    root = float(np.hypot(1.0 - s, s))
    return scale + slope * s / root**2, slope * (1.0 - s) / root
