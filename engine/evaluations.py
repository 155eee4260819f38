"""Which evaluations of the model a spec takes: what the engine does, and what admission and prices count."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from . import solvers
from .course import detailed, stopped
from .solvers import Evaluation
from .spec import GenerationSpec

if TYPE_CHECKING:
    from .info import Architecture


def evaluations_of(spec: GenerationSpec, architecture: Architecture) -> tuple[Evaluation, ...]:
    """Return what a generation of this spec does, one model call each.

    It is the solver's table, of a start picture's strength the end of it, as `course` changes it. With progressive
    resolution it is one table of the small steps, to their clean estimate, then one of those that are left. An inquiry
    draws nothing, and has none.
    """
    if spec.inquiry:
        return ()
    unit = architecture.granularity
    tokens = (spec.height // unit) * (spec.width // unit)
    table = solvers.evaluations(
        spec.solver, architecture.spacing, spec.steps, tokens, spec.shift, skip=spec.steps - spec.steps_begun
    )
    whole, small = stopped(table, spec.steps_taken), spec.small_steps
    if small:
        left = solvers.evaluations(spec.solver, architecture.spacing, spec.steps, tokens, spec.shift, skip=small)
        rest = (replace(e, step=e.step + small) for e in stopped(left, spec.steps_taken - small))
        whole = (*stopped(table, small), *rest)
    return detailed(whole, spec.experimental)
