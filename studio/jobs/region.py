"""Region: new pixels where a mask is white, and the very same ones where it is black."""

from __future__ import annotations

from ...engine.errors import SpecError
from ...engine.info import ModelInfo
from ...engine.spec import GenerationSpec
from ...engine.start import start_of
from ...errors import complaint
from ..kinds import Asked
from ..remake import basis_of, canvas_of, refuse_upscale, remade
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
    refuse_upscale(first, "a region is drawn in that one")
    start = start_of(first.digest, said.get("image_strength"), said["mask"], said.get("feather"))
    width, height = canvas_of(first, model)
    reads = ("image_strength", "mask", "feather")
    return remade(asked, parent, model, reads=reads, start=start, width=width, height=height)
