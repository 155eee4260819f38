"""Reroll: what a job made, once more, with another seed."""

from __future__ import annotations

from ...engine.info import ModelInfo
from ...engine.spec import GenerationSpec
from ...scheduler.admission import Work
from ...scheduler.tickets import StageWork
from ..kinds import Asked
from ..pricing import work_of
from ..remake import parent_of, remade

HELP = "the same once more, with another seed"
SOURCES = (1, 1)
WHOLE = True
PARAMETERS = None


def spec(asked: Asked, model: ModelInfo) -> GenerationSpec:
    """See `JobKind`."""
    return remade(asked, parent_of(asked)[1], model)


def work(asked: Asked, spec: GenerationSpec, model: ModelInfo) -> Work:
    """See `JobKind`."""
    return work_of(model, spec, stealth=asked.request.private)


def stages(spec: GenerationSpec, model: ModelInfo) -> tuple[StageWork, ...]:
    """See `JobKind`."""
    return ()
