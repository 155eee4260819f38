"""Pan: a picture goes on at one of its sides."""

from __future__ import annotations

from typing import Final

from ...engine.info import ModelInfo
from ...engine.spec import GenerationSpec
from ...engine.start import FEATHER, Start
from ..kinds import Asked
from ..remake import basis_of, canvas_of, placed, remade
from ..remake import drawing_alone as stages
from ..remake import variation as work

__all__ = ["HELP", "PARAMETERS", "SOURCES", "WHOLE", "spec", "stages", "work"]

HELP = "a picture goes on at one --side"
SOURCES = (1, 1)
WHOLE = False
PARAMETERS = None
SHARE: Final = 0.5  # of the picture's side, that the canvas grows by
STRENGTH: Final = 0.45  # of what is new: beyond, the embedded model draws the thing itself again beside the picture


def spec(asked: Asked, model: ModelInfo) -> GenerationSpec:
    """See `JobKind`."""
    first, parent = basis_of(asked, model)
    said = asked.request.parameters or {}
    side, strength = str(said.get("side", "right")), float(said.get("image_strength", STRENGTH))
    (width, height), unit = canvas_of(first, model), model.architecture.granularity
    more = max(1, round((width if side in ("left", "right") else height) * SHARE / unit)) * unit
    place = (more if side == "left" else 0, more if side == "up" else 0, width, height)
    if (width, height) != (first.width, first.height):
        place = placed(first, place)
    if side in ("left", "right"):
        width += more
    else:
        height += more
    start = Start(first.digest, strength, feather=FEATHER, place=place)
    return remade(asked, parent, model, start=start, width=width, height=height)
