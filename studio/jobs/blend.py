"""Blend: what several pictures have in common, without a word."""

from __future__ import annotations

from typing import Any

from ...engine.errors import SpecError
from ...engine.info import ModelInfo
from ...engine.spec import GenerationSpec
from ...errors import complaint
from ...parameters.known import checked
from ...scheduler.admission import Work
from ...scheduler.tickets import Lane
from ..kinds import Asked
from ..pricing import work_of
from ..remake import drawing_alone as stages

__all__ = ["HELP", "PARAMETERS", "SOURCES", "WHOLE", "spec", "stages", "work"]

HELP = "a blend of two to five pictures, without words"
SOURCES = (2, 5)
WHOLE = False
PARAMETERS = None


def spec(asked: Asked, model: ModelInfo) -> GenerationSpec:
    """See `JobKind`. SpecError: words, or other pictures to draw from than its own."""
    if asked.request.prompt.strip():
        got, remedy = "words", "leave them out, or write the pictures before the words of a prompt"
        raise SpecError(complaint("blend", got, "pictures alone", remedy))
    said: dict[str, Any] = dict(checked(asked.request.parameters or {}))
    if named := said.keys() & {"image", "image_prompts"}:
        raise SpecError(complaint(min(named), "it for a blend", "the pictures that it blends", "leave it out"))
    pictures = tuple(each.digest for each in asked.inputs)
    draft = asked.lane is Lane.DRAFT or bool(said.get("draft"))
    return model.make_spec("", **said | {"image_prompts": pictures, "blend": True, "draft": draft})


def work(asked: Asked, spec: GenerationSpec, model: ModelInfo) -> Work:
    """See `JobKind`."""
    said = asked.request.parameters or {}
    drafted, times = bool(said.get("draft")), int(said.get("quality") or 1)
    return work_of(model, spec, draft=drafted, stealth=asked.request.private, times=times)
