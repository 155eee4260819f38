"""What kinds of jobs share that make something of a picture of before: its spec, with what the request says anew."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields
from typing import Any, Final

from ..bounds import MAX_ASPECT, random_seed
from ..engine.defaults import SAMPLING
from ..engine.errors import SpecError
from ..engine.image_prompts import FIELDS as SHOWN
from ..engine.info import ModelInfo
from ..engine.references import ReferenceUse, references_of, taken_by
from ..engine.spec import GenerationSpec, size_for_aspect
from ..engine.start import FIELDS as STARTS
from ..engine.start import Place, Start
from ..engine.styles.names import is_style
from ..errors import complaint
from ..parameters.known import checked, parameters
from ..parameters.request import OWN_STYLE, fields_of
from ..scheduler.admission import Work
from ..scheduler.plans import Kind
from ..scheduler.tickets import StageWork
from .kinds import Asked, Input
from .pricing import work_of

SIZE: Final = ("width", "height")
# What a kind takes that decides by itself what its picture starts from, where that lies and how large it is.
DRAWING: Final = (
    "image_strength", "seed", "images", "quality", "steps", "solver", "shift", "guidance_scale", "embedded_guidance",
    "guidance_interval", "no", "negative_prompt", "terms", "prompt_weight", "stylize", "raw", "style_references",
    "style_weight", "style_version", "experimental", "weird", "strict", "profile", "loras",
)  # fmt: skip


def basis_of(asked: Asked, model: ModelInfo, *, wordless: bool = False) -> tuple[Input, GenerationSpec]:
    """Return the first source of a request, and a spec of its picture: the one that it was drawn with, if that is
    known, else that of a new picture of the request's prompt, in the size of `canvas_of`.

    Args:
        asked: the request.
        model: of the engines that will take it.
        wordless: whether nothing but the picture need say what it shows; it then keeps its own look, too.

    Raises:
        SpecError: how it was drawn is not known, and the request says no words.
    """
    first = asked.inputs[0]
    if first.spec is not None:
        return first, first.spec
    prompt = asked.request.prompt.strip()
    if not prompt and wordless:
        width, height = canvas_of(first, model)
        return first, model.make_spec("", seed=0, width=width, height=height, start=Start(first.digest))
    if not prompt:
        got = f"no words for {first.source}, which has no recipe"
        raise SpecError(complaint("prompt", got, "some words", 'say what it shows, like "a red apple"'))
    width, height = canvas_of(first, model)
    has_default = model.styles is not None and model.styles.has_default
    return first, model.make_spec(prompt, seed=0, width=width, height=height, **fields_of({}, has_default))


def canvas_of(first: Input, model: ModelInfo) -> tuple[int, int]:
    """Return the (width, height) in pixels that a picture is worked on in.

    It is the picture's own, if both sides are multiples of the model's granularity, and if Salon made it or its area is
    from half to twice that of the model's default. Else it is about the default area in the picture's proportions, as
    near as whole tokens come; `placed` says how the picture lies on it.
    """
    unit, area = model.architecture.granularity, model.default_job.pixels
    whole = not first.width % unit and not first.height % unit
    if whole and (first.spec is not None or area <= 2 * first.width * first.height <= 4 * area):
        return first.width, first.height
    ratio = min(max(first.width / first.height, 1 / MAX_ASPECT), MAX_ASPECT)
    return size_for_aspect(ratio, 1.0, pixels=area, granularity=unit)


def placed(first: Input, box: Place) -> Place:
    """Return where a picture lies that covers a box (left, top, width, height) of a canvas in its own proportions,
    with its middle in the box's."""
    left, top, wide, high = box
    scale = max(wide / first.width, high / first.height)
    width, height = max(wide, round(first.width * scale)), max(high, round(first.height * scale))
    return left - (width - wide) // 2, top - (height - high) // 2, width, height


def refuse_upscale(first: Input, why: str) -> None:
    """Raise SpecError, which says why, for a picture that is an upscale; it names the picture that was enlarged."""
    start = None if first.spec is None else first.spec.start
    if start is not None and (first.kind == "upscale" or start.enlarge > 1):
        got, remedy = f"{first.source}, an upscale", f"name its parent, picture {start.picture[:12]}: {why}"
        raise SpecError(complaint("source", got, "a picture of the model's own size", remedy))


def full_quality(parent: GenerationSpec, model: ModelInfo) -> dict[str, Any]:
    """Return the model's own steps, solver and shift for what is made of a draft; for others nothing."""
    if not is_draft(parent, model):
        return {}
    plain = model.make_spec("a picture", seed=0)
    return {name: getattr(plain, name) for name in SAMPLING}


def is_draft(spec: GenerationSpec, model: ModelInfo) -> bool:
    """Return whether a picture was drawn by the model's settings for drafts."""
    plain = model.make_spec("a picture", draft=True, seed=0)
    return bool(model.draft) and all(getattr(spec, name) == getattr(plain, name) for name in SAMPLING)


def parent_of(asked: Asked) -> tuple[Input, GenerationSpec]:
    """Return the first source of a request, and the spec that it was drawn with. SpecError: that spec is not known."""
    first = asked.inputs[0]
    if first.spec is None:
        got, allowed = f"{first.source}, without a word of how it was drawn", "a picture that Salon made"
        remedy = "name a job and its picture, or a file with its recipe inside"
        raise SpecError(complaint("source", got, allowed, remedy))
    return first, first.spec


def remade(
    asked: Asked,
    parent: GenerationSpec,
    model: ModelInfo,
    *,
    reads: Collection[str] = ("image_strength",),
    **changes: Any,
) -> GenerationSpec:
    """Return a parent's spec with a new seed and what a request says: its prompt if it has one, and its parameters.

    Args:
        asked: the request.
        parent: of the picture that it starts from.
        model: of the engines that will take it.
        reads: what the kind itself has read of what a request says of its start; the rest is refused.
        changes: fields of the spec that the kind decides, unless the request says otherwise.

    Raises:
        SpecError, ParameterError: as `ModelInfo.make_spec` and `checked`.
    """
    said = checked(asked.request.parameters or {})
    if "start" in changes:
        if "image" in said:
            got, allowed = "it beside the picture of a job", "one picture to start from"
            raise SpecError(complaint("--image", got, allowed, "leave it out"))
        if said.keys() & set(SHOWN):
            got, allowed = "pictures before the words", "none for what starts from a picture already"
            raise SpecError(complaint("prompt", got, allowed, "leave them out"))
        for name in said.keys() & set(STARTS) - set(reads):
            label, kind = parameters()[name].label, asked.request.kind
            raise SpecError(complaint(label, f"it for {kind!r}", "none there", "leave it out"))
        said = {name: value for name, value in said.items() if name not in STARTS}
    said = {name: value for name, value in said.items() if not parameters()[name].job_kinds}  # the kind has read them
    values = {field.name: getattr(parent, field.name) for field in fields(parent) if field.name != "prompt"}
    values |= {"seed": random_seed()} | changes
    if "start" in changes:
        values |= {"tile": False, "progressive": 0.0}  # the engine refuses them for what starts from a picture
    if "aspect" in said:
        values = {name: value for name, value in values.items() if name not in SIZE}
    if said.get("draft"):  # the model's own settings for drafts hold only where no others are given
        values = {name: value for name, value in values.items() if name not in SAMPLING}
    values["references"] = _references(asked.inputs[0], values["references"], model, starts="start" in changes)
    if said.keys() & set(OWN_STYLE):  # new styles take the place of the old ones
        values["adapters"] = tuple(use for use in parent.adapters if not is_style(use.adapter))
    return model.make_spec(asked.request.prompt.strip() or parent.prompt, **(values | said))


def _references(
    first: Input, references: tuple[ReferenceUse, ...], model: ModelInfo, *, starts: bool
) -> tuple[ReferenceUse, ...]:
    """Return the pictures that a model looks at while it makes something of a picture: those that it was drawn beside,
    or itself, for a model that draws nothing without one.

    Args:
        starts: whether the drawing starts from it.

    Raises:
        SpecError: it was drawn beside more pictures than the model takes.
    """
    rule = model.architecture.references
    if len(references) > (0 if rule is None else rule.most):
        got = f"{first.source}, drawn beside {len(references)} reference picture{'s' * (len(references) > 1)}"
        allowed = taken_by() if rule is None else f"up to {rule.most} with this model"
        raise SpecError(complaint("source", got, allowed, "use the model that drew it"))
    if starts and rule is not None and len(references) < rule.fewest:
        itself = ((first.digest, first.width, first.height),)
        return references_of(rule, model.architecture.granularity, omni_reference=itself)
    return references


def variation(asked: Asked, spec: GenerationSpec, model: ModelInfo) -> Work:
    """Return what a variation is on the price list; see `JobKind.work`."""
    return work_of(model, spec, kind=Kind.VARIATION, stealth=asked.request.private)


def drawing_alone(spec: GenerationSpec, model: ModelInfo) -> tuple[StageWork, ...]:
    """Return no stages, for a kind that only draws; see `JobKind.stages`."""
    return ()
