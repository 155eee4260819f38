"""What kinds of jobs share that ask the model something, and make texts in place of pictures."""

from __future__ import annotations

import hashlib
from typing import Any

from ..bounds import MAX_ASPECT
from ..engine.errors import SpecError
from ..engine.info import ModelInfo
from ..engine.spec import GenerationSpec
from ..engine.start import Start
from ..errors import complaint
from ..scheduler.prices import Work
from .kinds import Asked
from .pricing import work_of


def inquiry(name: str, prompt: str, digest: str, model: ModelInfo, **fields: Any) -> GenerationSpec:
    """Return the spec of an inquiry, of which the same question has the same noise.

    Args:
        name: a module of `engine/inquiries`.
        prompt: that it is about; "": a picture.
        digest: sha256 (hex) of what it is about.
        model: of the engines that will take it.
        fields: as of `ModelInfo.make_spec`.

    Raises:
        PromptError, SpecError: as `ModelInfo.make_spec`, or the model has no list of its words.
    """
    spec = model.make_spec(
        prompt, seed=int(digest[:8], 16), images=1, guidance_scale=1.0, solver="euler", inquiry=name, **fields
    )
    model.course(spec)
    return spec


def inquiry_work(asked: Asked, spec: GenerationSpec, model: ModelInfo) -> Work:
    """Return what an inquiry is on the price list; see `JobKind.work`."""
    return work_of(model, spec, stealth=asked.request.private)


def describing(digest: str, size: tuple[int, int], model: ModelInfo) -> GenerationSpec:
    """Return the spec of describing a picture.

    Args:
        digest: sha256 (hex) of its file.
        size: (width, height) in pixels; it is looked at in these proportions, at about the model's default area.
        model: of the engines that will take it.

    Raises:
        SpecError: as `inquiry`, or the picture is longer than any that is drawn.
    """
    return _about("describe", digest, size, model)


def featuring(digest: str, size: tuple[int, int], model: ModelInfo) -> GenerationSpec:
    """Return the spec of asking for a picture's style vector (`engine/inquiries/features.py`).

    Args and errors as of `describing`; SpecError also for a model without styles.
    """
    if model.styles is None or not model.styles.numbered:
        got, allowed = "a model without styles", "one with a style encoder"
        raise SpecError(complaint("features", got, allowed, "use a checkpoint that ships its styles"))
    return _about("features", digest, size, model)


def _about(name: str, digest: str, size: tuple[int, int], model: ModelInfo) -> GenerationSpec:
    """Return the spec of an inquiry about a picture; see `describing`."""
    if max(size) > MAX_ASPECT * min(size):
        got, allowed = f"{size[0]} x {size[1]} pixels", f"up to {MAX_ASPECT:g}:1"
        raise SpecError(complaint("picture", got, allowed, "crop it"))
    return inquiry(name, "", digest, model, start=Start(digest, 0.0), aspect=size)


def shortening(prompt: str, model: ModelInfo, **size: Any) -> GenerationSpec:
    """Return the spec of shortening a prompt. `size`: aspect, or width and height. Raises as `inquiry`."""
    digest = hashlib.sha256(str(prompt).encode(errors="replace")).hexdigest()  # a prompt that is no text is refused
    return inquiry("shorten", prompt, digest, model, **size)
