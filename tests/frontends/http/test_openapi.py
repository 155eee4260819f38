"""The OpenAPI page says what the server does: every route, and every field that its reader takes."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from starlette.routing import Route

from salon.frontends.http import openapi
from salon.frontends.http.app import Front
from salon.frontends.http.asked import asked_from
from salon.frontends.http.errors import HttpRefused
from salon.frontends.http.following import Ending
from salon.frontends.http.sd_fields import fields_of
from salon.frontends.zmq.background import BackgroundServer
from salon.parameters.known import parameters

from .conftest import address

PAGE: dict[str, Any] = msgspec.json.decode(openapi.page())
BROUGHT = {"images", "mask", "input_fidelity", "init_images", "inpainting_mask_invert"}  # read before the other fields
SCHEMAS: dict[str, Any] = PAGE["components"]["schemas"]


def test_every_route_is_there(server: BackgroundServer, http: httpx.Client) -> None:
    assert server.server is not None
    served = {
        (re.sub(":[a-z]+}", "}", route.path), method.lower())
        for route in Front(server.server.service, Ending()).app.routes
        if isinstance(route, Route) and route.path.startswith(("/v1/", "/sdapi/", "/healthz", "/readyz"))
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert {(path, method) for path, methods in PAGE["paths"].items() for method in methods} == served
    assert http.get("/openapi.json").json() == PAGE


def example(schema: dict[str, Any]) -> Any:
    """The simplest value of a schema."""
    if "anyOf" in schema:
        return example(schema["anyOf"][0])
    if "enum" in schema:
        return schema["enum"][0]
    number = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
    items = [example(schema["items"])] * schema.get("minItems", 0) if "items" in schema else []
    return {"integer": number, "number": number, "boolean": True, "array": items}.get(schema.get("type", ""), "a cat")


def code_of(name: str, said: dict[str, Any]) -> str:
    """How the reader of a schema refuses fields; "": it takes them."""
    try:
        if name in ("Txt2img", "Img2img"):
            said = fields_of(said, pictures=name == "Img2img")[0]
        asked_from(said, "key")
    except HttpRefused as error:
        return error.code
    return ""


@pytest.mark.parametrize("name", ["Generation", "Edit", "Txt2img", "Img2img"])
def test_every_field_is_read(name: str) -> None:
    """Its reader may refuse the value of one for what else is said, but knows each, and no other."""
    known = SCHEMAS[name]["properties"]
    if name in ("Generation", "Edit"):
        assert {one.name for one in parameters().values() if not one.missing and not one.job_kinds} <= known.keys()
    for field in known.keys() - (BROUGHT if name != "Generation" else set()):
        assert code_of(name, {"prompt": "a cat", field: example(known[field])}) != "unknown_parameter", field
    assert code_of(name, {"prompt": "a cat", "nonsense": 1}) == "unknown_parameter"


@pytest.mark.skipif(shutil.which("schemathesis") is None, reason="schemathesis is not installed")
def test_schemathesis_finds_nothing(server: BackgroundServer, tmp_path: Path) -> None:
    """Whatever it sends is answered as the page says, and nothing is a fault of the server's."""
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    command = ["schemathesis", "run", f"{address(server)}/openapi.json", "--checks", f"{checks},unsupported_method"]
    command += [
        "--phases",
        "examples,coverage,fuzzing",
        "--max-examples",
        "15",
        "--seed",
        "1",
        "--request-timeout",
        "60",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout[-6000:]
