"""Describe `/v1` and `/sdapi` as OpenAPI has it, made of the tables by which requests are read."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import msgspec

from ... import __version__
from ...bounds import MAX_FEATHER, MAX_SOURCE
from ...parameters.job_request import IMAGINE
from ...parameters.kinds import Aspect, Box, Interval, Kind, Number, OneOf, Switch, Whole, WholeOf, Words
from ...parameters.known import parameters
from .asked import FORMATS, MAX_N, MAX_PARTIAL, MODERATION, QUALITIES, STYLES
from .brought import MOST
from .edits import FIDELITY, VARY
from .files import MAX_PAGE, PURPOSES
from .sd_fields import ANY, NEUTRAL, NEUTRAL_PICTURES, SAMPLERS, SCHEDULERS

Schema = dict[str, Any]
TEXT: Final[Schema] = {"type": "string"}
FLAG: Final[Schema] = {"type": "boolean"}
DIGEST: Final[Schema] = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
BINARY: Final[Schema] = {"type": "string", "format": "binary"}
BASE64: Final[Schema] = {"type": "string", "contentEncoding": "base64"}
JSON: Final = "application/json"
FORM: Final = "multipart/form-data"
EVENTS: Final = "text/event-stream"
# What every request may be answered with, beside what it asks for.
REFUSED: Final = (400, 401, 403, 404, 405, 408, 409, 413, 415, 429, 500, 503)


@cache
def page() -> bytes:
    """Return the page, as JSON."""
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "Salon", "version": __version__, "description": "See docs/http.md."},
            "paths": _paths(),
            "components": {
                "schemas": _schemas(),
                "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            },
            "security": [{}, {"key": []}],
        }
    )


def schema_of(kind: Kind) -> Schema:
    """Return the schema of a kind of values, as they come as data."""
    match kind:
        case Whole():
            most = kind.high if kind.most_data is None else kind.most_data
            return {"type": "integer", "minimum": kind.low, "maximum": most}
        case WholeOf():
            return {"type": "integer", "enum": list(kind.numbers)}
        case Number():
            return {"type": "number", "minimum": kind.low, "maximum": kind.high}
        case Words():
            return {"type": "string", "maxLength": kind.most}
        case OneOf():
            return {"type": "string", "enum": list(kind.names)}
        case Switch():
            return FLAG
        case Aspect():
            return _listed({"type": "number", "exclusiveMinimum": 0}, 2)
        case Interval():
            return _listed({"type": "number", "minimum": 0, "maximum": 1}, 2)
        case Box():
            return _listed({"type": "integer", "minimum": -kind.most, "maximum": kind.most}, 4)
        case _:
            return {}  # its description says what is allowed


def _listed(item: Schema, number: int) -> Schema:
    return {"type": "array", "items": item, "minItems": number, "maxItems": number}


def _whole(low: int, high: int) -> Schema:
    return {"type": "integer", "minimum": low, "maximum": high}


def _enum(*words: Any) -> Schema:
    return {"enum": list(words)}


def _said(job_kind: str) -> dict[str, Schema]:
    """Return the schemas of the parameters that a kind of job takes, by name."""
    return {
        name: {**schema_of(one.kind), "description": f"{one.help}; {one.kind.allowed}"}
        for name, one in parameters().items()
        if not one.missing and (not one.job_kinds or job_kind in one.job_kinds)
    }


def _asked(job_kind: str = IMAGINE) -> dict[str, Schema]:
    """Return the schemas of the fields that all requests for pictures take."""
    said = _said(job_kind)
    quality = {"anyOf": [_enum(*QUALITIES), {**said.pop("quality")}]}
    return {
        "prompt": {"type": "string", "minLength": 1, "maxLength": MAX_SOURCE},
        "model": TEXT, "user": TEXT, "safety_identifier": TEXT, "n": _whole(1, MAX_N), "quality": quality,
        "size": {"type": "string", "pattern": "^(auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$"},
        "response_format": _enum("b64_json", "url"), "output_format": _enum(*FORMATS),
        "output_compression": _whole(0, 100), "background": _enum("auto", "opaque"),
        "moderation": _enum(*MODERATION), "style": _enum(*STYLES), "stream": FLAG,
        "partial_images": _whole(0, MAX_PARTIAL), **said,
    }  # fmt: skip


def _object(properties: dict[str, Schema], *required: str, closed: bool = True) -> Schema:
    return {
        "type": "object", "properties": properties, "required": list(required),
        **({"additionalProperties": False} if closed else {}),
    }  # fmt: skip


def _schemas() -> dict[str, Schema]:
    picture = _object(
        {"image_url": {"type": "string", "description": "data: URL in base64, or a link"}, "file_id": DIGEST}
    ) | {"minProperties": 1, "maxProperties": 1}
    brought = {"input_fidelity": _enum(*FIDELITY)}
    files = {"image": BINARY, "mask": BINARY, **brought}
    many = {"image[]": {"type": "array", "items": BINARY, "minItems": 1, "maxItems": MOST}}
    words = {name: one for name, one in _asked(VARY).items() if name not in ("stream", "partial_images")}
    made = _object({"b64_json": BASE64, "url": TEXT, "revised_prompt": TEXT}, closed=False)
    file = {
        "id": DIGEST, "object": _enum("file"), "bytes": {"type": "integer"}, "created_at": {"type": "integer"},
        "filename": TEXT, "purpose": TEXT, "status": TEXT,
    }  # fmt: skip
    error = {"message": TEXT, "type": TEXT, "param": {"type": ["string", "null"]}, "code": {"type": ["string", "null"]}}
    return {
        "Generation": _object(_asked(), "prompt"),
        "EditForm": _object({**_asked(), **files, **many}, "prompt"),
        "Edit": _object(
            {**_asked(), **brought, "mask": picture,
             "images": {"type": "array", "items": picture, "minItems": 1, "maxItems": MOST}}, "prompt", "images",
        ),
        "VariationForm": _object({**words, "image": BINARY}, "image"),
        "Images": _object(
            {"created": {"type": "integer"}, "data": {"type": "array", "items": made}, "size": TEXT,
             "background": TEXT, "output_format": TEXT, "quality": TEXT}, "created", "data", closed=False,
        ),
        "Model": _object(
            {"id": TEXT, "object": _enum("model"), "created": {"type": "integer"}, "owned_by": TEXT}, "id", "object"
        ),
        "FileForm": _object({"file": BINARY, "purpose": _enum(*PURPOSES)}, "file", "purpose"),
        "File": _object(file, *file),
        "Deleted": _object({"id": DIGEST, "object": _enum("file"), "deleted": FLAG}, "id", "object", "deleted"),
        "Txt2img": _object(_web_ui(pictures=False), "prompt"),
        "Img2img": _object(
            {**_web_ui(pictures=True), "init_images": _listed(BASE64, 1), "mask": BASE64,
             "inpainting_mask_invert": _enum(0, 1)}, "prompt", "init_images",
        ),
        "WebUiImages": _object(
            {"images": {"type": "array", "items": BASE64}, "parameters": {"type": "object"}, "info": TEXT},
            "images", "parameters", "info",
        ),
        "Refusal": _object({"error": _object(error, *error), "detail": TEXT}, "error"),
    }  # fmt: skip


def _web_ui(*, pictures: bool) -> dict[str, Schema]:
    """Return the schemas of the web UI's fields."""
    said = {name: one for name, one in _said(IMAGINE).items() if name not in ("images", "solver", "guidance_scale")}
    neutral = {**NEUTRAL, **(NEUTRAL_PICTURES if pictures else {})}
    found = {name: {} if values is ANY else _enum(*values, None) for name, values in neutral.items()}
    found |= said | {
        "prompt": {"type": "string", "minLength": 1, "maxLength": MAX_SOURCE}, "seed": {"type": "integer"},
        "batch_size": _whole(1, MAX_N), "n_iter": _whole(1, MAX_N), "cfg_scale": said_of("guidance_scale"),
        "sampler_name": _enum(*SAMPLERS), "sampler_index": _enum(*SAMPLERS), "scheduler": _enum(*SCHEDULERS),
        "tiling": FLAG, "denoising_strength": said_of("image_strength"), "override_settings": {"type": "object"},
        "send_images": FLAG,
    }  # fmt: skip
    return found | ({"mask_blur": _whole(0, MAX_FEATHER)} if pictures else {})


def said_of(name: str) -> Schema:
    """Return the schema of a parameter."""
    return schema_of(parameters()[name].kind)


def _paths() -> dict[str, Any]:
    images = {JSON: _ref("Images"), EVENTS: {"schema": _object({"event": TEXT, "data": TEXT}, closed=False)}}
    models = _object({"object": _enum("list"), "data": {"type": "array", "items": _ref_of("Model")}}, "object", "data")
    nullable = {"type": ["string", "null"]}
    files = _object(
        {"object": _enum("list"), "data": {"type": "array", "items": _ref_of("File")}, "has_more": FLAG,
         "first_id": nullable, "last_id": nullable}, "object", "data", "has_more",
    )  # fmt: skip
    ready = {JSON: {"schema": _object({"status": TEXT, "reason": TEXT}, "status")}}
    any_json: Schema = {JSON: {"schema": {}}}
    name = {"name": "name", "in": "path", "required": True, "schema": TEXT}
    id_ = {**name, "name": "id"}
    paged = [
        {"name": "after", "in": "query", "schema": TEXT},
        {"name": "limit", "in": "query", "schema": _whole(1, MAX_PAGE)},
        {"name": "order", "in": "query", "schema": _enum("asc", "desc")},
        {"name": "purpose", "in": "query", "schema": TEXT},
    ]  # fmt: skip
    raw = {"application/octet-stream": {"schema": BINARY}}
    pictures = {f"image/{format}": {"schema": BINARY} for format in FORMATS}
    edit = {FORM: _ref("EditForm"), JSON: _ref("Edit")}
    sd = "/sdapi/v1"
    drawn, sent = {JSON: _ref("WebUiImages")}, {JSON: {"schema": {"type": "object"}}}
    return {
        "/healthz": {"get": _operation("whether the server lives", ready)},
        "/readyz": {"get": _operation("whether a job that comes now is drawn", ready, unready=ready)},
        "/v1/models": {"get": _operation("the model, by its names", {JSON: {"schema": models}})},
        "/v1/models/{id}": {"get": _operation("the model", {JSON: _ref("Model")}, parameters=[id_])},
        "/v1/images/generations": {"post": _operation("pictures", images, body={JSON: _ref("Generation")})},
        "/v1/images/edits": {"post": _operation("pictures made of pictures", images, body=edit)},
        "/v1/images/variations": {
            "post": _operation("pictures near to one", images, body={FORM: _ref("VariationForm")}),
        },
        "/v1/files": {
            "get": _operation("the account's files", {JSON: {"schema": files}}, parameters=paged),
            "post": _operation("keep a file", {JSON: _ref("File")}, body={FORM: _ref("FileForm")}),
        },
        "/v1/files/{name}": {
            "get": _operation("a file by its id, or the picture of a link", {JSON: _ref("File"), **pictures},
                              parameters=[name]),
            "delete": _operation("delete a file", {JSON: _ref("Deleted")}, parameters=[name]),
        },
        "/v1/files/{name}/content": {"get": _operation("the bytes of a file", raw, parameters=[name])},
        f"{sd}/txt2img": {"post": _operation("pictures", drawn, body={JSON: _ref("Txt2img")})},
        f"{sd}/img2img": {"post": _operation("pictures made of one", drawn, body={JSON: _ref("Img2img")})},
        f"{sd}/sd-models": {"get": _operation("the model", any_json)},
        f"{sd}/options": {
            "get": _operation("what is set", any_json), "post": _operation("set what is set", any_json, body=sent),
        },
        f"{sd}/samplers": {"get": _operation("the solvers", any_json)},
        f"{sd}/schedulers": {"get": _operation("the spacings of steps", any_json)},
        f"{sd}/progress": {"get": _operation("how far the account's requests are", any_json)},
        f"{sd}/interrupt": {"post": _operation("cancel the account's requests", any_json)},
    }  # fmt: skip


def _operation(summary: str, content: Schema, *, unready: Schema | None = None, **more: Any) -> Schema:
    """Return an operation that is answered with some content, or refused. `more`: its body and parameters."""
    if (body := more.pop("body", None)) is not None:
        more["requestBody"] = {"required": True, "content": body}
    refusal = {"description": "it is refused", "content": {JSON: _ref("Refusal")}}
    responses: Schema = {"200": {"description": summary, "content": content}}
    responses |= {str(status): refusal for status in REFUSED}
    if unready is not None:
        responses["503"] = {"description": "not now", "content": unready}
    return {"summary": summary, "responses": responses, **more}


def _ref_of(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _ref(name: str) -> Schema:
    return {"schema": _ref_of(name)}
