"""Fill in what a request leaves out with the model's own settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields as fields_of
from typing import Any

from ..bounds import QUALITIES
from ..errors import complaint
from ..values import number_of, shown, text_of, whole_of
from . import image_prompts as pictures
from . import references as looked_at
from . import start as starts
from .config import Config
from .errors import MalformedFile, PromptError, SpecError
from .guidance import FIELDS as GUIDANCE_FIELDS
from .guidance import weighted
from .lora_uses import loras_of
from .reference_rule import ReferenceRule
from .spec import GenerationSpec, check_guidance, size_for_aspect
from .spread import check_spread
from .styles.choice import FIELDS, StyleInfo, joined_uses, style_uses

DEFAULTS: Mapping[str, Any] = {"width": 1024, "height": 1024, "steps": 28, "guidance_scale": 1.0, "solver": "euler"}
SAMPLING = ("steps", "solver", "shift")  # the settings that a model may change for drafts
_FIELDS = {field.name for field in fields_of(GenerationSpec)}
_READ_HERE = {
    *FIELDS,
    *GUIDANCE_FIELDS,
    *starts.FIELDS,
    *pictures.FIELDS,
    *looked_at.FIELDS,
}  # that become other fields


def read_defaults(salon: Config, granularity: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (fields of a `GenerationSpec` that suit the model, those that a draft changes) of `salon.json`.

    Raises:
        MalformedFile: no spec takes a value, or a side is no multiple of the granularity.
    """
    values, draft = {**DEFAULTS, **salon.mapping("defaults")}, salon.mapping("draft")
    for key, these in (("defaults", values), ("draft", {**values, **draft})):
        try:
            spec = GenerationSpec(prompt="any", **these)
        except (SpecError, TypeError) as error:
            raise MalformedFile(f"{key}: {error}", path=salon.path, key=key) from error
    if extra := draft.keys() - set(SAMPLING):
        expected = " and ".join(SAMPLING)
        raise MalformedFile("draft settings", path=salon.path, key="draft", expected=expected, found=min(extra))
    if spec.width % granularity or spec.height % granularity:
        expected, found = f"multiples of {granularity}", f"{spec.width} x {spec.height}"
        raise MalformedFile("default size", path=salon.path, key="defaults", expected=expected, found=found)
    return values, draft


def complete(
    prompt: str,
    given: Mapping[str, Any],
    *,
    defaults: Mapping[str, Any],
    draft: Mapping[str, Any] | None = None,
    quality: int = 1,
    aspect: tuple[float, float] | None = None,
    granularity: int,
    styles: StyleInfo | None = None,
    references: ReferenceRule | None = None,
) -> GenerationSpec:
    """Return a spec of what is given, and of the defaults for the rest.

    Args:
        given: fields of a spec, and those of `style_uses`, `image_prompts_of`, `start_of`, `references_of` and
            `guidance.weighted`, whose weights become normal here.
        draft: the model's settings for drafts, for a draft; they hold unless one of `SAMPLING` is given.
        quality: 1, 2 or 4; so many times the steps are taken that are given, or that are the model's.
        aspect: (width, height) in any unit; it chooses a size of about the default area in this proportion.
        styles: the model's styles. Styles that are given (see `styles.choice.style_uses`) become adapters beside those
            given.
        references: what pictures the model looks at; None: none.

    Raises:
        SpecError: as `GenerationSpec`, `style_uses`, `image_prompts_of`, `guidance.weighted`, `start_of` and
            `references_of`. Also an unknown field or quality, a malformed aspect, an aspect together with width or
            height, a negative prompt without guidance, terms at guidance 0, and an image beside image prompts.
        PromptError: no words, and no image prompts in their place.
    """
    if unknown := given.keys() - _FIELDS - _READ_HERE:
        raise SpecError(complaint("spec", min(unknown), "fields of GenerationSpec", "leave it out"))
    chosen = style_uses(styles, **{name: given[name] for name in FIELDS if name in given})
    shares = {name: given[name] for name in GUIDANCE_FIELDS if name in given}
    start = starts.start_of(**{name: given[name] for name in starts.FIELDS if name in given})
    shown_in = {name: given[name] for name in pictures.FIELDS if name in given}
    if text_of(prompt) is None:  # a spec would say so, but it is asked for its words before
        raise PromptError(complaint("prompt", shown(prompt), "text", "give words"))
    from_pictures, looks = pictures.image_prompts_of(styles, prompt, **shown_in)
    if start is not None and shown_in.get("image_prompts"):
        got, remedy = "it beside image prompts", "leave it out: image prompts are where the picture starts"
        raise SpecError(complaint("image", got, "one of them", remedy))
    if start is not None and not prompt.strip():
        raise PromptError(complaint("prompt", shown(prompt), "some words", 'say what to draw, like "a red apple"'))
    start, chosen = start or from_pictures, (*chosen, *looks)
    said = {name: given[name] for name in looked_at.FIELDS if given.get(name) is not None}
    if said:
        given = {**given, "references": looked_at.references_of(references, granularity, **said)}
    given = {name: value for name, value in given.items() if name not in _READ_HERE}
    if "loras" in given:
        given["loras"] = loras_of(given["loras"])
    if shares:
        given |= weighted(**shares)
    if start is not None:
        given["start"] = start
    if chosen:
        given["adapters"] = joined_uses((*given.get("adapters", ()), *chosen))
    # A seed of None counts as left out.
    given = {name: value for name, value in given.items() if name != "seed" or value is not None}
    values = {**defaults, **(draft if draft and not given.keys() & set(SAMPLING) else {}), **given}
    if whole_of(quality) not in QUALITIES:
        raise SpecError(complaint("quality", shown(quality), " or ".join(map(str, QUALITIES)), "choose one of these"))
    if (steps := whole_of(values["steps"])) is not None:  # else the spec refuses it
        values["steps"] = steps * int(quality)
    if aspect is not None:
        sides = tuple(aspect) if isinstance(aspect, Iterable) and not isinstance(aspect, str) else ()
        if len(sides) != 2 or any(number_of(side) is None for side in sides):
            raise SpecError(complaint("aspect", shown(aspect), "a pair of numbers", "write it like (16, 9)"))
        if "width" in given or "height" in given:
            got = ":".join(map(shown, sides))
            raise SpecError(complaint("aspect", got, "no width or height beside it", "drop one"))
        pixels = defaults["width"] * defaults["height"]
        values["width"], values["height"] = size_for_aspect(*sides, pixels=pixels, granularity=granularity)
    spec = GenerationSpec(prompt=prompt, **values)
    check_guidance(spec)
    check_spread(spec, styles)
    return spec
