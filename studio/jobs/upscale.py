"""Upscale: a picture at exactly twice its width and height, with its own pixels for a measure or with new detail."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ...engine.errors import SpecError
from ...engine.info import ModelInfo
from ...engine.spec import GenerationSpec
from ...engine.start import Start
from ...errors import complaint
from ...scheduler.admission import Work
from ...scheduler.prices import Kind
from ..kinds import Asked, Input
from ..pricing import work_of
from ..remake import DRAWING, basis_of, full_quality, refuse_upscale, remade
from ..remake import drawing_alone as stages

__all__ = ["HELP", "PARAMETERS", "SOURCES", "WHOLE", "spec", "stages", "work"]

HELP = "twice the width and height, subtly or --creative"
SOURCES = (1, 1)
WHOLE = False
PARAMETERS = ("creative", *DRAWING)
TIMES: Final = 2
# Shares of the steps that are taken: of the first all shapes stay, with the second small ones are drawn anew.
SUBTLE: Final = 0.3
CREATIVE: Final = 0.5


def spec(asked: Asked, model: ModelInfo) -> GenerationSpec:
    """See `JobKind`. SpecError: it is an upscale already, or too large."""
    first, parent = basis_of(asked, model)
    refuse_upscale(first, "what is twice as large already is not enlarged again")
    said = asked.request.parameters or {}
    creative = bool(said.get("creative"))
    strength = float(said.get("image_strength", CREATIVE if creative else SUBTLE))
    width, height = _doubled(first, model)
    start = Start(first.digest, strength, enlarge=TIMES, project=not creative)
    rule = model.architecture.references
    seen = parent.references if rule is not None and rule.fewest else ()  # which others need no more, and cost time
    return remade(
        asked, parent, model, start=start, width=width, height=height, images=1, stop=100.0, chaos=0.0, references=seen,
        **full_quality(parent, model),
    )  # fmt: skip


def work(asked: Asked, spec: GenerationSpec, model: ModelInfo) -> Work:
    """See `JobKind`. The list price is for the double of a picture of the model's default size, at its default steps
    and the strength that holds where nothing is said."""
    plain, assured = model.make_spec("a picture", seed=0), spec.start
    assert assured is not None, "an upscale has a start"
    start = replace(assured, strength=SUBTLE if assured.project else CREATIVE)
    usual = replace(plain, width=TIMES * plain.width, height=TIMES * plain.height, start=start)
    return work_of(model, spec, kind=Kind.UPSCALE, stealth=asked.request.private, usual=usual)


def _doubled(first: Input, model: ModelInfo) -> tuple[int, int]:
    """Return (width, height) of the double of a picture, of which each side is brought to whole tokens before, at least
    one. SpecError: it is more than a picture may have."""
    unit, limits = model.architecture.granularity, model.limits
    width, height = (TIMES * unit * max(1, round(side / unit)) for side in (first.width, first.height))
    if width * height > limits.max_pixels or max(width, height) > limits.max_side:
        got = f"{first.width} x {first.height} pixels"
        allowed = f"at most {limits.max_pixels // TIMES**2:,} pixels, with sides up to {limits.max_side // TIMES:,}"
        raise SpecError(complaint("source", got, allowed, "it becomes twice as large: save it smaller first"))
    return width, height
