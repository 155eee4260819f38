"""Run a solver's table in plain numpy, as the engine does on a backend."""

from __future__ import annotations

from typing import Any

import numpy as np

from salon.engine.solvers import Evaluation


def integrate(
    table: tuple[Evaluation, ...],
    velocity: Any,
    x: Any,
    dtype: Any = np.float64,
    noise: Any = None,
    seen: Any = None,
) -> Any:
    """Return the latents behind the last evaluation.

    Args:
        velocity: of latents and a sigma.
        noise: of a step, from 1.
        seen: called with every evaluation, the latents after it and the velocity that it took.
    """
    x = np.asarray(x, dtype)
    base = previous = None
    kept: tuple[Any, ...] = ()
    for e in table:
        v = np.asarray(velocity(x, e.sigma), dtype)
        start = dtype(e.scale) * (base if e.from_base else x) + (dtype(e.aside) * base if e.aside else dtype(0))
        for factor, part in zip(e.past, kept[: len(e.past)], strict=True):
            start = start + dtype(factor) * part
        base = x if e.keeps_base else None
        kept = kept if e.keeps is None else (dtype(e.keeps[0]) * x + dtype(e.keeps[1]) * v, *kept)
        x = start + dtype(e.a) * v + (dtype(e.b) * previous if e.b else dtype(0))
        if e.noise:
            x = x + dtype(e.noise) * noise(e.step + 1)
        previous = v
        if seen is not None:
            seen(e, x, v)
    return x
