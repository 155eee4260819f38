"""Shorten: which words of a prompt carry weight, and shorter prompts."""

from __future__ import annotations

from ...engine.info import ModelInfo
from ...engine.spec import GenerationSpec
from ...parameters.known import checked
from ..inquiring import inquiry_work as work
from ..inquiring import shortening
from ..kinds import Asked
from ..remake import drawing_alone as stages

__all__ = ["DRAWS", "HELP", "PARAMETERS", "SOURCES", "WHOLE", "spec", "stages", "work"]

HELP = "which words of a prompt carry weight, and shorter prompts"
SOURCES = (0, 0)
WHOLE = False
PARAMETERS = ("aspect", "width", "height")
DRAWS = False


def spec(asked: Asked, model: ModelInfo) -> GenerationSpec:
    """See `JobKind`. PromptError: no words. SpecError: a model without a list of its words."""
    return shortening(asked.request.prompt.strip(), model, **checked(asked.request.parameters or {}))
