"""A request for a job, and the two things that are made of it: its fingerprint and its spec."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ...bounds import ID
from ...engine.errors import SpecError
from ...engine.spec import GenerationSpec
from ...errors import complaint
from ...parameters.request import fields_of
from ...values import flag_of, number_of, shown, text_of, whole_of

if TYPE_CHECKING:
    from ...scheduler.tickets import Lane
    from ..studio import Studio

FIRST: Final = 14  # fields beside the key that the first fingerprints had
OPTIONAL: Final = ("width", "height", "steps", "seed", "guidance_scale", "solver", "shift")  # None: the model's default


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request for a job. The order of the fields decides the fingerprints that are stored: new ones go last.

    Attributes:
        key: the caller's own name for it; the same key again is the same job, and no second one.
        prompt, negative_prompt: what to draw, and what not.
        lane: that is wanted; one of `bounds.LANES`.
        aspect: width to height, in place of both.
        width, height: pixels; None, as for the next ones: as the model's defaults say.
        steps, guidance_scale, solver, shift: see `GenerationSpec`.
        seed: None: a random one.
        images: pictures that are made together.
        private: only its owner sees it.
        preview_every: solver steps between previews; 0: none.
        parameters: what it says, by the names of `parameters/known`, in place of everything from `negative_prompt` to
            `shift`; None: a request from before there were styles.
    """

    key: str
    prompt: str
    lane: str = "fast"
    negative_prompt: str = ""
    aspect: tuple[float, float] | None = None
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    seed: int | None = None
    images: int = 4
    guidance_scale: float | None = None
    solver: str | None = None
    shift: float | None = None
    private: bool = False
    preview_every: int = 0
    parameters: dict[str, Any] | None = None


def request_of(**fields: Any) -> Request:
    """Return a request of what a program hands in, in Python's own types. Whether numbers are in their range, the spec
    says. SpecError: a field that is unknown or missing, or a value of another type."""
    made: dict[str, Any] = {}
    for name, value in fields.items():
        if name not in _TYPES:
            raise SpecError(complaint("field", shown(name), ", ".join(_TYPES), "name one of these"))
        what, read = _TYPES[name]
        made[name] = None if value is None and name in _MAY_BE_NONE else read(value)
        if made[name] is None and not (value is None and name in _MAY_BE_NONE):
            raise SpecError(complaint(name, shown(value), what, "correct it"))
    if missing := [name for name in ("key", "prompt") if name not in made]:
        raise SpecError(complaint("field", f"no {missing[0]}", "one", "give it"))
    return Request(**made)


def fingerprint(request: Request) -> bytes:
    """Return a hash of everything but the key: it tells a repeated request from another one under the same key.

    Behind the `FIRST` fields, those at the end that have their defaults are left out: when a field is added, the
    fingerprints that are stored stay true."""
    fields = [field for field in msgspec.structs.fields(type(request)) if field.name != "key"]
    values = [getattr(request, field.name) for field in fields]
    while len(values) > FIRST and values[-1] == _default_of(fields[len(values) - 1]):
        values.pop()
    values = [sorted(value.items()) if isinstance(value, dict) else value for value in values]  # in whatever order
    return hashlib.sha256(msgspec.msgpack.encode(values)).digest()


def spec_of(studio: Studio, request: Request, lane: Lane, aspect: tuple[float, float] | None = None) -> GenerationSpec:
    """Return what the engine is to make, every default filled in. Raises as `Studio.make_spec` and `fields_of`.

    `aspect`: of the picture that it starts from, where the request says none."""
    if request.parameters is not None:
        styles = studio.loop.model.styles
        given = fields_of(request.parameters, styles is not None and styles.has_default)
        return studio.make_spec(request.prompt, lane=lane, **({"aspect": aspect} if aspect else {}), **given)
    fields = {name: value for name in OPTIONAL if (value := getattr(request, name)) is not None}
    return studio.make_spec(
        request.prompt,
        lane=lane,
        aspect=request.aspect,
        negative_prompt=request.negative_prompt,
        images=request.images,
        **fields,
    )


def _default_of(field: msgspec.structs.FieldInfo) -> Any:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def _key(value: Any) -> str | None:
    text = text_of(value)
    return text if text is not None and re.fullmatch(ID, text) else None


def _pair(value: Any) -> tuple[float, float] | None:
    try:
        width, height = map(number_of, value)
    except (TypeError, ValueError):
        return None
    return None if width is None or height is None else (width, height)


_Type = tuple[str, Callable[[Any], Any]]
_TEXT: Final[_Type] = ("text", text_of)
_WHOLE: Final[_Type] = ("a whole number", whole_of)
_NUMBER: Final[_Type] = ("a number", number_of)
_TYPES: Final[dict[str, _Type]] = {
    "key": ("1 to 64 letters, digits, '.', '_', ':' or '-'", _key),
    "prompt": _TEXT,
    "lane": _TEXT,
    "negative_prompt": _TEXT,
    "aspect": ("two numbers, width and height", _pair),
    "width": _WHOLE,
    "height": _WHOLE,
    "steps": _WHOLE,
    "seed": _WHOLE,
    "images": _WHOLE,
    "guidance_scale": _NUMBER,
    "solver": _TEXT,
    "shift": _NUMBER,
    "private": ("True or False", flag_of),
    "preview_every": _WHOLE,
    "parameters": ("a map of names to values", lambda value: dict(value) if isinstance(value, dict) else None),
}
_MAY_BE_NONE: Final = {"aspect", "parameters", *OPTIONAL}
