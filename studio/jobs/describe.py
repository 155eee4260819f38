"""Describe: four prompts that a picture might have been drawn of."""

from __future__ import annotations

from ...engine.errors import SpecError
from ...engine.info import ModelInfo
from ...engine.spec import GenerationSpec
from ...errors import complaint
from ...values import shown
from ..inquiring import describing
from ..inquiring import inquiry_work as work
from ..kinds import Asked
from ..remake import drawing_alone as stages

__all__ = ["DRAWS", "HELP", "PARAMETERS", "SOURCES", "WHOLE", "spec", "stages", "work"]

HELP = "four prompts that a picture might have been drawn of"
SOURCES = (1, 1)
WHOLE = False
PARAMETERS = ()
DRAWS = False


def spec(asked: Asked, model: ModelInfo) -> GenerationSpec:
    """See `JobKind`. SpecError: words beside the picture, or a model without a list of its words."""
    if prompt := asked.request.prompt.strip():
        raise SpecError(complaint("prompt", shown(prompt), "a picture alone, without words", "leave the words out"))
    picture = asked.inputs[0]
    return describing(picture.digest, (picture.width, picture.height), model)
