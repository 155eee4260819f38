"""Enhance: a draft's picture, drawn in full quality."""

from __future__ import annotations

from typing import Final

from ...engine.errors import SpecError
from ...engine.info import ModelInfo
from ...engine.spec import GenerationSpec
from ...engine.start import Start
from ...errors import complaint
from ...scheduler.admission import Work
from ..kinds import Asked
from ..pricing import work_of
from ..remake import DRAWING, full_quality, is_draft, parent_of, remade
from ..remake import drawing_alone as stages

__all__ = ["HELP", "PARAMETERS", "SOURCES", "WHOLE", "spec", "stages", "work"]

HELP = "a draft's picture in full quality"
SOURCES = (1, 1)
WHOLE = False
PARAMETERS = ("chaos", "stop", *DRAWING)
STRENGTH: Final = 0.6  # share of the steps that are taken: the layout stays, and what a draft left unfinished does not


def spec(asked: Asked, model: ModelInfo) -> GenerationSpec:
    """See `JobKind`. SpecError: the picture is no draft."""
    first, parent = parent_of(asked)
    if not is_draft(parent, model):
        got, allowed = f"{first.source}, which is no draft", "a picture that was made with --draft"
        raise SpecError(complaint("source", got, allowed, "use vary for others like it, or upscale for a larger one"))
    strength = float((asked.request.parameters or {}).get("image_strength", STRENGTH))
    start = Start(first.digest, strength)
    quality = full_quality(parent, model)
    return remade(asked, parent, model, images=1, start=start, width=first.width, height=first.height, **quality)


def work(asked: Asked, spec: GenerationSpec, model: ModelInfo) -> Work:
    """See `JobKind`: each picture is its share of a grid, by the steps that are taken."""
    return work_of(model, spec, stealth=asked.request.private)
