"""Vary: pictures near to one that there is, subtly or strongly."""

from __future__ import annotations

from typing import Final

from ...engine.info import ModelInfo
from ...engine.spec import GenerationSpec
from ...engine.start import Start
from ..kinds import Asked
from ..remake import basis_of, remade
from ..remake import drawing_alone as stages
from ..remake import variation as work

__all__ = ["HELP", "PARAMETERS", "SOURCES", "WHOLE", "spec", "stages", "work"]

HELP = "pictures near to one, subtly or with --strong"
SOURCES = (1, 1)
WHOLE = False
PARAMETERS = None
# Shares of the steps that are taken: of the first a picture keeps its outlines, of the second its layout.
SUBTLE: Final = 0.5
STRONG: Final = 0.8
IMAGES: Final = 4


def spec(asked: Asked, model: ModelInfo) -> GenerationSpec:
    """See `JobKind`. A picture without a recipe needs no words: what is kept of it says what it shows."""
    first, parent = basis_of(asked, model, wordless=True)
    said = asked.request.parameters or {}
    strength = float(said.get("image_strength", STRONG if said.get("strong") else SUBTLE))
    start = Start(first.digest, strength)
    return remade(asked, parent, model, images=IMAGES, start=start)
