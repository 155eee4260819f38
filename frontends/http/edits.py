"""Read requests that bring pictures: what becomes of them is what the model can make of pictures.

    a mask                          what is transparent in it is drawn anew in the one picture   --image --mask
    a model that looks at pictures  it looks at all of them                                      --oref
    one picture                     the drawing starts from it                                   --image
    several                         they stand before the words                                  A.png B.png a cat

A variation is a job of the kind `vary`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from starlette.requests import Request

from ...engine.info import ModelInfo
from ...errors import complaint
from ...parameters.job_request import Source
from ...studio.kinds import Input
from ...studio.remake import canvas_of
from ...studio.service.service import Service
from ...values import shown
from .asked import Asked, Pictures, asked_from
from .bodies import FORM, fields_in, pictures_body, want_kind
from .brought import Brought, Named, keep, looked_at, named_in_fields, named_in_form
from .errors import HttpRefused
from .forms import Part, fields_of, form_of
from .keys import Keys
from .reading import JSON, aside

VARY: Final = "vary"  # a kind of job
# What `input_fidelity` says, where a picture is not looked at as a whole: how much is drawn anew, or how much several
# pictures count. Not said: the usual of each.
FIDELITY: Final[Mapping[str, Mapping[str, float]]] = {
    "low": {"image": 0.75, "mask": 1.0, "image_prompts": 1.0},
    "high": {"image": 0.5, "mask": 0.75, "image_prompts": 2.0},
}


class Edits:
    """The requests with pictures of all accounts. Used on the event loop's thread.

    Args:
        service: knows the model, and keeps pictures.
        keys: of requests.
    """

    def __init__(self, service: Service, keys: Keys) -> None:
        self._service, self._keys = service, keys

    async def edit(self, request: Request, account: str, take: Callable[[int], None]) -> Asked:
        """Read a request for edits, and keep its pictures. `take`: of a `Room`.

        Raises:
            HttpRefused: as `form_of`, `looked_at`, `asked_from` and `keep`.
        """
        fields, pictures, mask, print_ = await _read(request, take)
        fidelity = fields.pop("input_fidelity", None)
        if fidelity is not None and (not isinstance(fidelity, str) or fidelity not in FIDELITY):
            text = complaint("input_fidelity", shown(fidelity), " or ".join(FIDELITY), "correct it")
            raise HttpRefused(text, param="input_fidelity")
        brought = await looked_at(self._service, account, pictures, mask)
        model = self._service.context.studio.loop.model
        field = pictures[0].field
        asked = asked_from(fields, self._key(request, account, print_), edited(model, brought, field, fidelity))
        await keep(self._service, account, brought, field)
        return asked

    async def vary(self, request: Request, account: str, take: Callable[[int], None]) -> Asked:
        """Read a request for variations of one picture, and keep it. Raises as `edit`."""
        fields, pictures, mask, print_ = await _read(request, take)
        if mask is not None or len(pictures) > 1:
            field = "mask" if mask is not None else pictures[0].field
            got = "a mask" if mask is not None else f"{len(pictures)} pictures"
            raise HttpRefused(complaint(field, got, "one picture alone", "use images/edits"), param=field)
        brought = await looked_at(self._service, account, pictures, None)
        varied = Pictures(kind=VARY, sources=(Source(digest=brought.names[0]),), words=False)
        asked = asked_from(fields, self._key(request, account, print_), varied)
        await keep(self._service, account, brought, pictures[0].field)
        return asked

    def _key(self, request: Request, account: str, print_: bytes) -> str:
        headers = request.headers
        named, retries = headers.get("idempotency-key"), headers.get("x-stainless-retry-count", "0")
        return self._keys.key(account, named, retries, request.url.path.encode() + print_)


class _Said(NamedTuple):
    """What a request says: its fields without its pictures, its pictures, its mask, and what tells another request."""

    fields: dict[str, Any]
    pictures: list[Named]
    mask: Named | None
    print_: bytes


async def _read(request: Request, take: Callable[[int], None]) -> _Said:
    """Read a request. Raises HttpRefused."""
    if want_kind(request, FORM, JSON) == JSON:
        body = await pictures_body(request, take)
        return await aside(len(body), _in_json, body)
    parts = await form_of(request, take)
    return await aside(sum(len(part.data) for part in parts), _in_form, parts)


def _in_json(body: bytes) -> _Said:
    """Read a JSON object."""
    fields = fields_in(body)
    return _Said(fields, *named_in_fields(fields), hashlib.sha256(body).digest())


def _in_form(parts: Sequence[Part]) -> _Said:
    """Read a form. Its boundary is a new one every time that the same is sent, so its parts are what tells another."""
    print_ = msgspec.json.encode([(part.name, hashlib.sha256(part.data).hexdigest()) for part in parts])
    pictures, mask = named_in_form(parts)
    return _Said(fields_of(parts), pictures, mask, print_)


def edited(model: ModelInfo, brought: Brought, field: str, fidelity: str | None) -> Pictures:
    """Return what becomes of the pictures of an edit.

    Args:
        model: that draws.
        brought: the pictures.
        field: that has them.
        fidelity: how near to them the result shall be, a key of `FIDELITY`; None: as usual.

    Raises:
        HttpRefused: several pictures with a mask, or none with a model that draws only where one is free.
    """
    names = brought.names
    if model.architecture.fills and brought.mask is None:
        text = complaint("mask", "none", "one: this model draws where a mask says so", "bring a mask")
        raise HttpRefused(text, param="mask", code="missing_required_parameter")
    if brought.mask is not None or (len(names) == 1 and model.architecture.references is None):
        pictures, way = started(model, brought, field), "image" if brought.mask is None else "mask"
    elif model.architecture.references is not None:
        return Pictures(said={"omni_reference": (field, names)})  # it keeps of them what it was trained to keep
    else:
        pictures, way = Pictures(said={"image_prompts": (field, names)}), "image_prompts"
    if fidelity is None:
        return pictures
    strength = "image_weight" if way == "image_prompts" else "image_strength"
    said = {strength: ("input_fidelity", FIDELITY[fidelity][way])}
    return msgspec.structs.replace(pictures, said=pictures.said | said)


def started(model: ModelInfo, brought: Brought, field: str) -> Pictures:
    """Return what it means to start from one picture, perhaps with a mask. Arguments as of `edited`.

    Raises:
        HttpRefused: there are several.
    """
    names, mask = brought.names, brought.mask
    if len(names) > 1:
        allowed = "one" if mask is None else "one with a mask"
        text = complaint(field, f"{len(names)} pictures", allowed, "bring the one that is to be changed")
        raise HttpRefused(text, param=field)
    said: dict[str, tuple[str, Any]] = {"image": (field, names[0])}
    if mask is not None:
        said["mask"] = ("mask", mask)
    width, height = brought.size
    first = Input(source=Source(digest=names[0]), digest=names[0], width=width, height=height)
    return Pictures(said=said, canvas=canvas_of(first, model))
