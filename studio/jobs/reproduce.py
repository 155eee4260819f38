"""Reproduce: a picture made again from the recipe inside its file, to the same pixels."""

from __future__ import annotations

from ...engine.errors import SpecError
from ...engine.info import ModelInfo
from ...engine.spec import GenerationSpec
from ...errors import complaint
from ...scheduler.admission import Work
from ...scheduler.prices import Kind
from ..kinds import Asked
from ..pricing import work_of
from ..remake import drawing_alone as stages
from ..remake import parent_of
from .upscale import work as upscaled

__all__ = ["HELP", "PARAMETERS", "SOURCES", "WHOLE", "spec", "stages", "work"]

HELP = "make a picture again, and compare"
SOURCES = (1, 1)
WHOLE = True
PARAMETERS = ()


def spec(asked: Asked, model: ModelInfo) -> GenerationSpec:
    """See `JobKind`: all pictures of the generation, as they were asked for.

    Raises:
        SpecError: words, a picture whose recipe is not there, or one of another model; it names both.
    """
    first, parent = parent_of(asked)
    if asked.request.prompt.strip():
        got = f"{asked.request.prompt.strip()[:40]!r} for 'reproduce'"
        raise SpecError(complaint("prompt", got, "none there: its recipe has one", "leave it out"))
    if first.model is None:
        got, remedy = f"{first.source}", "fetch its file and bring that: salon show JOB -o FOLDER"
        raise SpecError(complaint("source", got, "a picture's file, with its recipe inside", remedy))
    if first.model.digest != model.identity.digest:
        got, here = (f"one of {each} ({each.digest})" for each in (first.model, model.identity))
        raise SpecError(complaint("recipe", got, here, "have it made by the model that made it"))
    return parent


def work(asked: Asked, spec: GenerationSpec, model: ModelInfo) -> Work:
    """See `JobKind`: what the spec costs where it is asked for anew."""
    kind = Kind.GRID
    if spec.start is not None:
        if spec.start.enlarge > 1:
            return upscaled(asked, spec, model)
        kind = Kind.VARIATION if spec.start.strength else Kind.TAKE_ONE
    return work_of(model, spec, kind=kind, stealth=asked.request.private)
