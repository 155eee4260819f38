"""Take: one picture of a grid, as a job of its own: the very same pixels, and nothing is drawn."""

from __future__ import annotations

from dataclasses import replace

from ...engine.errors import SpecError
from ...engine.info import ModelInfo
from ...engine.spec import GenerationSpec
from ...engine.start import Start
from ...errors import complaint
from ...scheduler.admission import Work
from ...scheduler.prices import Kind
from ..kinds import Asked
from ..pricing import work_of
from ..remake import drawing_alone as stages
from ..remake import parent_of, refuse_upscale

__all__ = ["HELP", "PARAMETERS", "SOURCES", "WHOLE", "spec", "stages", "work"]

HELP = "one picture of a grid on its own, free"
SOURCES = (1, 1)
WHOLE = False
PARAMETERS = ()


def spec(asked: Asked, model: ModelInfo) -> GenerationSpec:
    """See `JobKind`. SpecError: words, which nothing would be drawn by, a picture without a recipe, or an upscale."""
    first, parent = parent_of(asked)
    if asked.request.prompt.strip():
        got = f"{asked.request.prompt.strip()[:40]!r} for 'take'"
        raise SpecError(complaint("prompt", got, "none there, since nothing is drawn", "leave it out, or use vary"))
    refuse_upscale(first, "an upscale is a picture on its own")
    start = Start(first.digest, 0.0)
    return replace(parent, images=1, start=start, width=first.width, height=first.height, tile=False, progressive=0.0)


def work(asked: Asked, spec: GenerationSpec, model: ModelInfo) -> Work:
    """See `JobKind`."""
    return work_of(model, spec, kind=Kind.TAKE_ONE, stealth=asked.request.private)
