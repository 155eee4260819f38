"""Imagine: pictures of a prompt."""

from __future__ import annotations

from typing import Final

from ...engine.info import ModelInfo
from ...engine.spec import GenerationSpec
from ...parameters.request import fields_of
from ...scheduler.admission import Work
from ...scheduler.tickets import Lane, StageWork
from ..kinds import Asked
from ..pricing import work_of

HELP = "pictures of a prompt"
SOURCES = (0, 0)
WHOLE = False
PARAMETERS = None
# Of a request from before there were parameters; None: the model's default.
OPTIONAL: Final = ("width", "height", "steps", "seed", "guidance_scale", "solver", "shift")


def spec(asked: Asked, model: ModelInfo) -> GenerationSpec:
    """See `JobKind`. Raises as `ModelInfo.make_spec` and `fields_of`."""
    request, draft = asked.request, asked.lane is Lane.DRAFT
    if request.parameters is not None:
        styled = model.styles is not None and model.styles.has_default and bool(request.prompt.strip())
        given = fields_of(request.parameters, styled)  # pictures without words look as they do
        return model.make_spec(request.prompt, **given | {"draft": draft or given.get("draft", False)})
    fields = {name: value for name in OPTIONAL if (value := getattr(request, name)) is not None}
    return model.make_spec(
        request.prompt,
        draft=draft,
        aspect=request.aspect,
        negative_prompt=request.negative_prompt,
        images=request.images,
        **fields,
    )


def work(asked: Asked, spec: GenerationSpec, model: ModelInfo) -> Work:
    """See `JobKind`."""
    said = asked.request.parameters or {}
    drafted, times = bool(said.get("draft")), int(said.get("quality") or 1)
    return work_of(model, spec, draft=drafted, stealth=asked.request.private, times=times)


def stages(spec: GenerationSpec, model: ModelInfo) -> tuple[StageWork, ...]:
    """See `JobKind`."""
    return ()
