"""The course of a generation: the evaluations of the model that its spec asks for, in order.

A solver is a table (`solvers`), and what a spec says of effort changes the table. So a picture that stops part-way, or
that is drawn with more detail, takes the same step as all others, and a job is planned and priced by the table's rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from .sigmas import SigmaConfig
from .solvers import Evaluation, evaluations
from .spec import GenerationSpec

HIDDEN: Final = 0.1  # share of the noise that `experimental` 100 hides from the model where it hides most, at sigma 1/2


def course_of(spec: GenerationSpec, sigmas: SigmaConfig, tokens: int) -> tuple[Evaluation, ...]:
    """Return the evaluations of a spec. `sigmas`: the checkpoint's; `tokens`: of one image."""
    table = evaluations(spec.solver, sigmas, spec.steps, tokens, spec.shift)
    return detailed(stopped(table, spec.steps_taken), spec.experimental)


def stopped(table: Sequence[Evaluation], steps: int) -> tuple[Evaluation, ...]:
    """Return what a table does in its first `steps` solver steps, at least one, the last of which goes on in a straight
    line to the clean estimate: latents - next_sigma * v, which is what a preview shows there."""
    kept = [evaluation for evaluation in table if evaluation.step < steps]
    if len(kept) < len(table):
        last = kept[-1]
        kept[-1] = replace(last, next_sigma=0.0, a=last.a - last.next_sigma)
    return tuple(kept)


def detailed(table: Sequence[Evaluation], amount: float) -> tuple[Evaluation, ...]:
    """Return a table whose pictures have more detail. `amount`: 0 to 100; 0 is the very same table.

    The model is told of less noise than there is, most of all half-way and not at either end: what is left of the noise
    it takes for detail of the picture, and draws it. The latents go the same way as before.
    """
    if not amount:
        return tuple(table)
    most = HIDDEN * amount / 100.0
    return tuple(replace(e, sigma=e.sigma * (1.0 - most * 4.0 * e.sigma * (1.0 - e.sigma))) for e in table)
