"""Region: new pixels where a mask is white, and the very same ones where it is black."""

from __future__ import annotations

from ...engine.errors import SpecError
from ...engine.info import ModelInfo
from ...engine.spec import GenerationSpec
from ...engine.start import start_of
from ...errors import complaint
from ..kinds import Asked
from ..remake import basis_of, canvas_of, remade
from ..remake import drawing_alone as stages
from ..remake import variation as work

__all__ = ["HELP", "PARAMETERS", "SOURCES", "WHOLE", "spec", "stages", "work"]

HELP = "new pixels within --mask, the others as they are"
SOURCES = (1, 1)
WHOLE = False
PARAMETERS = None


def spec(asked: Asked, model: ModelInfo) -> GenerationSpec:
    """See `JobKind`. SpecError: no mask, or a picture of twice the size, of which its parent is to be used."""
    first, parent = basis_of(asked, model)
    said = asked.request.parameters or {}
    if said.get("mask") is None:
        raise SpecError(complaint("--mask", "none", "a picture, white where pixels shall be new", "name its file"))
    if first.kind == "upscale" and parent.start is not None:
        got, remedy = f"{first.source}, an upscale", f"name its parent, picture {parent.start.picture[:12]}"
        raise SpecError(complaint("source", got, "a picture of the model's own size", remedy))
    start = start_of(first.digest, said.get("image_strength"), said["mask"], said.get("feather"))
    width, height = canvas_of(first, model)
    return remade(asked, parent, model, start=start, width=width, height=height)
