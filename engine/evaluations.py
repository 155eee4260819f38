"""Which evaluations of the model a spec takes: what the engine does, and what admission and prices count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import solvers
from .solvers import Evaluation
from .spec import GenerationSpec

if TYPE_CHECKING:
    from .info import Architecture


def evaluations_of(spec: GenerationSpec, architecture: Architecture) -> tuple[Evaluation, ...]:
    """Return what a generation of this spec does, one model call each; of a start picture's strength, the end of the
    solver's table."""
    unit = architecture.granularity
    tokens = (spec.height // unit) * (spec.width // unit)
    return solvers.evaluations(
        spec.solver, architecture.sigmas, spec.steps, tokens, spec.shift, skip=spec.steps - spec.steps_taken
    )
