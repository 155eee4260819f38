"""Edit: a picture moved and scaled on a canvas of any proportions, with parts of it erased and drawn anew."""

from __future__ import annotations

from typing import Any, Final

from ...engine.errors import SpecError
from ...engine.info import ModelInfo
from ...engine.spec import GenerationSpec, size_for_aspect
from ...engine.start import FEATHER, Place, Start
from ...errors import complaint
from ..kinds import Asked, Input
from ..remake import basis_of, canvas_of, remade
from ..remake import drawing_alone as stages
from ..remake import variation as work

__all__ = ["HELP", "PARAMETERS", "SOURCES", "WHOLE", "spec", "stages", "work"]

HELP = "moved by --place, on another --ar, erased by --mask"
SOURCES = (1, 1)
WHOLE = False
PARAMETERS = None
STRENGTH: Final = 0.45  # of what is new around it: beyond, the embedded model draws the thing itself again
ERASED: Final = 1.0  # with a mask: nothing is left of what stood there


def spec(asked: Asked, model: ModelInfo) -> GenerationSpec:
    """See `JobKind`. Without a place, all of the picture lies in the middle of another canvas.

    Raises:
        SpecError: nothing of the picture is to change.
    """
    first, parent = basis_of(asked, model)
    said = asked.request.parameters or {}
    mask = said.get("mask")
    own, canvas = canvas_of(first, model), _canvas(first, model, said)
    place = said.get("place")
    if place is None and canvas != own:
        place = _contained(first, canvas)
    if place is None and mask is None:
        got, remedy = "none of --place, --ar and --mask", "say where it lies, a new aspect, or what to erase"
        raise SpecError(complaint("edit", got, "at least one of them", remedy))
    strength = float(said.get("image_strength", STRENGTH if mask is None else ERASED))
    start = Start(first.digest, strength, mask, int(said.get("feather", FEATHER)), place)
    reads = ("image_strength", "mask", "feather")
    return remade(asked, parent, model, reads=reads, start=start, width=canvas[0], height=canvas[1])


def _canvas(first: Input, model: ModelInfo, said: Any) -> tuple[int, int]:
    """Return (width, height) of the canvas: as the request says, else as large as the picture."""
    width, height = canvas_of(first, model)
    if (aspect := said.get("aspect")) is not None:
        area, unit = model.default_job.pixels, model.architecture.granularity
        width, height = size_for_aspect(*aspect, pixels=area, granularity=unit)
    return said.get("width") or width, said.get("height") or height


def _contained(first: Input, canvas: tuple[int, int]) -> Place:
    """Return where a picture lies that is all to be seen, as large as that allows, in the middle of a canvas."""
    scale = min(canvas[0] / first.width, canvas[1] / first.height)
    wide, high = (max(1, round(side * scale)) for side in (first.width, first.height))
    return (canvas[0] - wide) // 2, (canvas[1] - high) // 2, wide, high
