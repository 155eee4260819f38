"""Zoom: more around a picture, which becomes smaller in the middle of a canvas of its size."""

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

HELP = "more around a picture, up to --zoom 2"
SOURCES = (1, 1)
WHOLE = False
PARAMETERS = None
MOST: Final = 2.0  # times as much, where the request says nothing
STRENGTH: Final = 0.45  # of what is new: beyond, the embedded model draws the thing itself again beside the picture


def spec(asked: Asked, model: ModelInfo) -> GenerationSpec:
    """See `JobKind`."""
    first, parent = basis_of(asked, model)
    said = asked.request.parameters or {}
    times, strength = float(said.get("zoom", MOST)), float(said.get("image_strength", STRENGTH))
    width, height = canvas_of(first, model)
    wide, high = (max(1, round(side / times)) for side in (width, height))
    place = ((width - wide) // 2, (height - high) // 2, wide, high)
    if (width, height) != (first.width, first.height):
        place = placed(first, place)
    start = Start(first.digest, strength, feather=FEATHER, place=place)
    return remade(asked, parent, model, start=start, width=width, height=height)
