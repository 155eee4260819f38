"""What a spec says of effort changes the table of its evaluations: where it ends, and what the model is told.

A solver is a table (`solvers`). So a picture that stops part-way, or that is drawn with more detail, takes the same
step as all others, and a job is planned and priced by the table's rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from .solvers import Evaluation

ADDED: Final = 0.6  # how much noise `experimental` 100 tells of: 1 - sigma becomes (1 - sigma)(1 - ADDED sigma)


def stopped(table: Sequence[Evaluation], steps: int) -> tuple[Evaluation, ...]:
    """Return what a table does in its first `steps` solver steps, at least one, the last of which goes on in a straight
    line to the clean estimate: latents - next_sigma * v, which is what a preview shows there."""
    kept = [evaluation for evaluation in table if evaluation.step < steps]
    if len(kept) < len(table):
        last = kept[-1]
        if last.noise:  # new noise would be no part of the estimate
            kept[-1] = replace(last, next_sigma=0.0, a=-last.sigma, scale=1.0, noise=0.0)
        else:
            kept[-1] = replace(last, next_sigma=0.0, a=last.a - last.next_sigma)
    return tuple(kept)


def detailed(table: Sequence[Evaluation], amount: float) -> tuple[Evaluation, ...]:
    """Return a table whose pictures have more detail. `amount`: 0 to 100; 0 is the very same table.

    The model is told of more noise than there is, except at either end: what it takes away beyond the noise makes
    edges and contrasts stronger. The latents go through the same levels as before.
    """
    if not amount:
        return tuple(table)
    added = ADDED * amount / 100.0
    return tuple(replace(e, sigma=e.sigma + added * e.sigma * (1.0 - e.sigma)) for e in table)
