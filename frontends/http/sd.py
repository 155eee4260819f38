"""Answer `/sdapi/v1` as the Stable Diffusion web UI does, for its clients. What it asks for goes the way of `/v1`."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...engine.info import ModelIdentity
from ...errors import SalonError, complaint
from ...studio.references import light_mask_of
from ...studio.service.infotext import HASH, KEY
from ...studio.service.job_record import JobRecord
from ...studio.service.service import Service
from ...values import shown, whole_of
from .asked import Asked, Form, Pictures, asked_from
from .bodies import Room, fields_in, pictures_body, want_kind
from .brought import Named, data_of, keep, looked_at
from .edits import started
from .errors import HttpRefused, refusal_of
from .gate import ACCOUNT
from .generations import Generations
from .keys import Keys
from .models import name_of, want_model
from .pictures import file_of
from .reading import JSON, aside, json_body
from .sd_fields import SAMPLERS, SOLVERS, fields_of, sampler_of, theirs_of

PREVIEWS: Final = 2  # of a request, which `progress` shows
Endpoint = Callable[[Request], Awaitable[Response]]


class StableDiffusion:
    """The requests of all accounts. Made and used on the event loop's thread.

    Args:
        service: carries them out.
        generations: submits and follows jobs.
        keys: of requests.
    """

    def __init__(self, service: Service, generations: Generations, keys: Keys) -> None:
        self._service, self._generations, self._keys = service, generations, keys
        self._room = Room()
        self._live: dict[str, Counter[str]] = {}  # account -> jobs of requests that are not answered yet

    def routes(self, answering: Callable[[Endpoint], Endpoint]) -> list[BaseRoute]:
        """Return the routes. `answering`: returns an endpoint of which every error becomes an answer."""
        made = (
            ("txt2img", self._txt2img, "POST"), ("img2img", self._img2img, "POST"), ("sd-models", self._models, "GET"),
            ("options", self._options, "GET"), ("options", self._set_options, "POST"),
            ("samplers", self._samplers, "GET"), ("schedulers", self._schedulers, "GET"),
            ("progress", self._progress, "GET"), ("interrupt", self._interrupt, "POST"),
        )  # fmt: skip
        return [
            Route(f"/sdapi/v1/{path}", _detailed(answering(endpoint)), methods=[method])
            for path, endpoint, method in made
        ]

    # ---- pictures ----------------------------------------------------------------------------------------------------

    async def _txt2img(self, request: Request) -> Response:
        body = await json_body(request)
        given = fields_in(body)
        fields, model, sends = fields_of(given, pictures=False)
        asked = self._asked(request, fields | {"model": self._named(model)}, body, None)
        return await self._drawn(request, asked, given, sends=sends)

    async def _img2img(self, request: Request) -> Response:
        want_kind(request, JSON)
        account: str = request.scope[ACCOUNT]
        with self._room.lease(account) as take:
            body = await pictures_body(request, take)
            given, images, mask, inverted, print_ = await aside(len(body), _pictures_in, body)
            fields, model, sends = fields_of(given, pictures=True)
            white = partial(light_mask_of, inverted=inverted)
            brought = await looked_at(self._service, account, images, mask, white)
            pictures = started(self._service.context.studio.loop.model, brought, "init_images")
            if mask is None:
                fields.pop("feather", None)  # clients say the blur of a mask whether there is one or not
            asked = self._asked(request, fields | {"model": self._named(model)}, print_, pictures)
            await keep(self._service, account, brought, "init_images")
        return await self._drawn(request, asked, given, sends=sends)

    def _asked(self, request: Request, fields: dict[str, Any], print_: bytes, pictures: Pictures | None) -> Asked:
        """Return what fields of ours ask for. HttpRefused names the field of the web UI. `print_`: tells another
        request."""
        headers = request.headers
        key = self._keys.key(request.scope[ACCOUNT], headers.get("idempotency-key"), "0", print_)
        try:
            asked = asked_from(fields, key, pictures)
        except HttpRefused as error:
            error.param = None if error.param is None else theirs_of(error.param)
            raise
        said = {name: theirs_of(field) for name, field in asked.fields.items()}
        return msgspec.structs.replace(asked, fields=said, partial=PREVIEWS)

    async def _drawn(self, request: Request, asked: Asked, given: dict[str, Any], *, sends: bool) -> Response:
        account: str = request.scope[ACCOUNT]
        try:
            jobs = await self._generations.submit(account, asked)
        except SalonError as error:
            raise refusal_of(error, asked.fields, asked.request.prompt) from error
        with self._waiting(account, jobs):
            drawn = await self._generations.drawn(account, jobs, request.is_disconnected)
        files = [await file_of(self._service, record.job, picture, Form()) for record, picture in drawn]
        texts = await asyncio.to_thread(lambda: list(map(_infotext, files)))
        info = self._info([record for record, _ in drawn], texts)

        def body() -> bytes:
            images = [base64.b64encode(file).decode() for file in files] if sends else []
            told = {"images": images, "parameters": given, "info": msgspec.json.encode(info).decode()}
            return msgspec.json.encode(told)

        made = await aside(sum(map(len, files)), body)
        return Response(made, headers={"x-salon-jobs": ",".join(jobs)}, media_type=JSON)

    @contextmanager
    def _waiting(self, account: str, jobs: tuple[str, ...]) -> Iterator[None]:
        self._live.setdefault(account, Counter()).update(jobs)
        try:
            yield
        finally:
            self._live[account] = left = self._live[account] - Counter(jobs)  # others may have put a new one there
            if not left:
                del self._live[account]

    def _info(self, records: list[JobRecord], texts: list[str]) -> dict[str, Any]:
        first, identity = records[0], self._identity
        return {
            "prompt": first.prompt, "all_prompts": [record.prompt for record in records],
            "negative_prompt": first.negative_prompt,
            "all_negative_prompts": [record.negative_prompt for record in records], "seed": first.seed,
            "all_seeds": [record.seed for record in records], "subseed": first.seed,
            "all_subseeds": [record.seed for record in records], "subseed_strength": 0, "width": first.width,
            "height": first.height, "sampler_name": sampler_of(first.solver), "cfg_scale": first.guidance_scale,
            "steps": first.steps, "batch_size": len(records), "restore_faces": False, "face_restoration_model": None,
            "sd_model_name": name_of(identity), "sd_model_hash": identity.digest[:HASH], "sd_vae_name": None,
            "sd_vae_hash": None, "seed_resize_from_w": -1, "seed_resize_from_h": -1, "denoising_strength": None,
            "extra_generation_params": {}, "index_of_first_image": 0, "infotexts": texts, "styles": [],
            "job_timestamp": time.strftime("%Y%m%d%H%M%S", time.gmtime(first.made_ms / 1000)), "clip_skip": 1,
            "is_using_inpainting_conditioning": False, "version": "Salon",
        }  # fmt: skip

    # ---- the model and its options -----------------------------------------------------------------------------------

    @property
    def _identity(self) -> ModelIdentity:
        return self._service.context.studio.loop.model.identity

    @property
    def _title(self) -> str:
        return f"{name_of(self._identity)} [{self._identity.digest[:HASH]}]"

    def _named(self, model: str) -> str:
        """Return the name that a title of ours has in it; any other name as it is."""
        return name_of(self._identity) if model in (self._title, self._identity.digest[:HASH]) else model

    async def _models(self, request: Request) -> Response:
        name, digest = name_of(self._identity), self._identity.digest
        model = {"title": self._title, "model_name": name, "hash": digest[:HASH], "sha256": digest}
        return _json([model | {"filename": name, "config": None}])

    @property
    def _all_options(self) -> dict[str, Any]:
        digest = self._identity.digest
        return {"sd_model_checkpoint": self._title, "sd_checkpoint_hash": digest, "samples_format": "png"}

    async def _options(self, request: Request) -> Response:
        return _json(self._all_options)

    async def _set_options(self, request: Request) -> Response:
        """Take options that are what they are already: a server has one model, which none of its users changes."""
        options = self._all_options
        for name, value in fields_in(await json_body(request)).items():
            if name not in options:
                text = complaint(shown(name)[:60], "it", ", ".join(options), "leave it out")
                raise HttpRefused(text, param=name[:60], code="unknown_parameter")
            if name == "sd_model_checkpoint" and isinstance(value, str):
                want_model(self._service.context, self._named(value), field=name)
            elif value != options[name]:
                raise _wrong(name, value, shown(options[name]))
        return _json(None)

    async def _samplers(self, request: Request) -> Response:
        others = [name for name in SOLVERS.names() if name not in SAMPLERS.values()]
        named = [(name, solver) for name, solver in SAMPLERS.items() if solver in SOLVERS.names()]
        found = [*named, *((name, name) for name in others)]
        return _json([{"name": name, "aliases": [solver], "options": {}} for name, solver in found])

    async def _schedulers(self, request: Request) -> Response:
        one = {"name": "automatic", "label": "Automatic", "aliases": None, "default_rho": -1.0}
        return _json([one | {"need_inner_model": False}])

    # ---- requests that are not answered yet --------------------------------------------------------------------------

    async def _progress(self, request: Request) -> Response:
        account: str = request.scope[ACCOUNT]
        jobs = list(self._live.get(account, ()))
        records = [await self._service.find(job, account) for job in jobs]
        logs = [await self._service.log(job, account) for job in jobs]
        done, steps = sum(log.step for log in logs), sum(record.steps for record in records)
        started = min((record.started_ms for record in records if record.started_ms), default=0)
        share = done / steps if steps else 0.0
        past = (self._service.context.now_ms() - started) / 1000 if started else 0.0
        skip = request.query_params.get("skip_current_image", "false").lower() == "true"
        shown_ = "" if skip else next((base64.b64encode(log.preview).decode() for log in logs if log.preview), "")
        state = {
            "skipped": False, "interrupted": False, "stopping_generation": False, "job": " ".join(jobs),
            "job_count": len(jobs), "job_timestamp": "0", "job_no": 0, "sampling_step": done, "sampling_steps": steps,
        }  # fmt: skip
        eta = past / share - past if share else 0.0
        body = {"progress": share, "eta_relative": eta, "state": state, "current_image": shown_ or None}
        return _json(body | {"textinfo": None}, {"cache-control": "no-store"})

    async def _interrupt(self, request: Request) -> Response:
        """Cancel the jobs of the account's requests that are not answered yet."""
        account: str = request.scope[ACCOUNT]
        for job in list(self._live.get(account, ())):
            await self._service.cancel(job, account)
        return _json({})


def _pictures_in(body: bytes) -> tuple[dict[str, Any], list[Named], Named | None, bool, bytes]:
    """Return a request's fields without its pictures, these, the mask, whether that is to be inverted, and what tells
    another request."""
    given = fields_in(body)
    images = given.pop("init_images", None)
    if not isinstance(images, list) or not images or not all(isinstance(each, str) for each in images):
        raise _wrong("init_images", images, "a list of pictures in base64")
    mask = given.pop("mask", None)
    if mask is not None and not isinstance(mask, str):
        raise _wrong("mask", mask, "a picture in base64")
    inverted = given.pop("inpainting_mask_invert", None) or 0
    if whole_of(inverted) not in (0, 1):
        raise _wrong("inpainting_mask_invert", inverted, "0 or 1")
    named = [Named("init_images", data_of("init_images", each)) for each in images]
    masked = Named("mask", data_of("mask", mask)) if mask else None
    return given, named, masked, bool(inverted), hashlib.sha256(body).digest()


def _infotext(file: bytes) -> str:
    """Return what other tools read of a picture's file."""
    from PIL import Image

    with Image.open(io.BytesIO(file)) as image:
        return str(image.info.get(KEY, ""))


def _detailed(endpoint: Endpoint) -> Endpoint:
    """Return an endpoint whose errors have what the web UI's clients read, beside what OpenAI's do."""

    async def answer(request: Request) -> Response:
        response = await endpoint(request)
        if response.status_code >= 400 and response.body:
            error = msgspec.json.decode(response.body)
            body = msgspec.json.encode(error | {"detail": error["error"]["message"]})
            headers = {name: value for name, value in response.headers.items() if name != "content-length"}
            return Response(body, response.status_code, headers)
        return response

    return answer


def _json(value: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), 200, headers, JSON)


def _wrong(field: str, got: Any, allowed: str) -> HttpRefused:
    return HttpRefused(complaint(field, shown(got), allowed, "correct it"), param=field)
