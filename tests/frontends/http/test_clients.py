"""Requests as other programs send them, byte for byte.

Open WebUI: `backend/open_webui/routers/images.py` (its engines `openai` and `automatic1111`), with forms as aiohttp
writes them. The AI SDK: `packages/openai/src/image` and `packages/openai-compatible/src/image` of vercel/ai, with forms
as Node's fetch writes them. Sizes alone are smaller here.
"""

from __future__ import annotations

import base64
import io
import json
import re
from http.client import HTTPConnection
from typing import Any

import httpx
import pytest
from PIL import Image

from salon.frontends.http.asked import asked_of

from .test_edits import BLUE, RED, field, file, form, mask

GENERATIONS, EDITS = "/v1/images/generations", "/v1/images/edits"
USER = {"X-OpenWebUI-User-Name": "Ann%20B.", "X-OpenWebUI-User-Id": "7", "X-OpenWebUI-User-Email": "ann@example.org",
        "X-OpenWebUI-User-Role": "admin"}  # fmt: skip
SDK = {
    "authorization": "Bearer test-api-key", "content-type": "application/json", "accept": "*/*",
    "accept-language": "*", "sec-fetch-mode": "cors", "accept-encoding": "gzip, deflate",
    "user-agent": "ai/7.0.0 ai-sdk/openai/4.0.0 ai-sdk/provider-utils/5.0.0 runtime/node.js/24",
}  # fmt: skip


def pictures(answer: httpx.Response) -> list[Image.Image]:
    assert answer.status_code == 200, answer.text
    return [Image.open(io.BytesIO(base64.b64decode(one["b64_json"]))) for one in answer.json()["data"]]


# ---- Open WebUI ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [
        {"model": "dall-e-2", "n": 2, "size": "16x16", "response_format": "b64_json"},
        {"model": "dall-e-3", "n": 1, "size": "16x16", "response_format": "b64_json", "steps": 1, "seed": 7},
        {"model": "gpt-image-1.5", "n": 1, "size": "auto"},  # its models of this name have no response format
    ],
    ids=str,
)
def test_open_webui_asks_for_pictures(http: httpx.Client, more: dict[str, Any]) -> None:
    """Fields behind its own are those that an administrator adds. It takes links where there are some."""
    body = json.dumps({"model": more["model"], "prompt": "a cat"} | more).encode()
    head = {"authorization": "Bearer sk-none", "content-type": "application/json", **USER}
    head |= {"accept": "*/*", "accept-encoding": "gzip, deflate", "user-agent": "Python/3.11 aiohttp/3.13.2"}
    answer = http.post(f"{GENERATIONS}?api-version=2025-04-01", content=body, headers=head)
    assert len(pictures(answer)) == more["n"]
    assert not any("url" in one for one in answer.json()["data"])


def test_open_webui_fetches_links(http: httpx.Client) -> None:
    body = {"model": "dall-e-3", "prompt": "a cat", "n": 1, "size": "16x16", "response_format": "url"}
    (one,) = http.post(GENERATIONS, json=body, headers={"authorization": "Bearer sk-none"}).json()["data"]
    found = http.get(one["url"], headers={"authorization": "Bearer sk-none"})
    assert (found.status_code, found.headers["content-type"]) == (200, "image/png")


def aiohttp_form(fields: dict[str, str], *files: tuple[str, bytes]) -> dict[str, Any]:
    """A form of aiohttp's: every part has its type before its name."""
    parts = [
        (f'Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name="{name}"', value.encode())
        for name, value in fields.items()
    ]
    parts += [
        (f'Content-Type: image/png\r\nContent-Disposition: form-data; name="{name}"; '
         f'filename="0b9e4c1e-6d0f-4a53-9a0e-{number:012}.png"', data)
        for number, (name, data) in enumerate(files)
    ]  # fmt: skip
    return form("4b1f0b5f3f7c4d0f8f6d4f9a3d1e2c5b", *parts)


@pytest.mark.parametrize(
    ("fields", "files"),
    [
        ({"model": "gpt-image-1.5"}, (("image", RED),)),
        ({"model": "dall-e-2", "n": "1", "size": "16x16", "response_format": "b64_json"}, (("image", RED),)),
        ({"model": "tiny", "n": "2", "size": "16x16", "background": "opaque"}, (("image[]", RED), ("image[]", BLUE))),
        ({"model": "gpt-image-1", "background": "auto"}, (("image[]", RED),)),
    ],
    ids=str,
)
def test_open_webui_edits(http: httpx.Client, fields: dict[str, str], files: Any) -> None:
    own = http.get("/v1/models").json()["data"][0]["id"]
    named = {"model": fields["model"].replace("tiny", own), "prompt": "a cat"}
    sent = aiohttp_form(named | {name: value for name, value in fields.items() if name != "model"}, *files)
    sent["headers"] |= {"authorization": "Bearer sk-none", **USER}
    made = pictures(http.post(f"{EDITS}?api-version=2025-04-01", **sent))
    assert [one.size for one in made] == [(16, 16)] * int(fields.get("n", "1"))


@pytest.mark.parametrize("authorization", ["", "Basic", "Basic " + base64.b64encode(b"user:password").decode()])
def test_open_webui_as_a_stable_diffusion_web_ui(http: httpx.Client, authorization: str) -> None:
    """Without a password it sends "Basic " and nothing behind, which is how it is installed; older ones sent nothing.
    It asks for the options to see whether there is a server, and sends them back with the title of a model in them."""
    host, _, port = str(http.base_url.netloc, "ascii").rpartition(":")
    plain = HTTPConnection(host, int(port), timeout=20)
    plain.request(
        "GET", "/sdapi/v1/options", headers={"authorization": f"{authorization} "}
    )  # httpx sends no such space
    assert plain.getresponse().status == 200
    plain.close()
    head = {"authorization": authorization}
    options = http.get("/sdapi/v1/options", headers=head)
    (model,) = http.get("/sdapi/v1/sd-models", headers=head).json()
    assert options.json()["sd_model_checkpoint"] == model["title"]
    chosen = options.json() | {"sd_model_checkpoint": model["title"]}
    assert http.post("/sdapi/v1/options", json=chosen, headers=head).status_code == 200
    asked: dict[str, Any] = {"prompt": "a cat", "batch_size": 1, "width": 16, "height": 16, "steps": 2}
    for more in ({}, {"negative_prompt": "red"}, {"cfg_scale": 2, "sampler_name": "Euler", "scheduler": "Automatic"}):
        answer = http.post("/sdapi/v1/txt2img", json=asked | more, headers=head)
        assert answer.status_code == 200, answer.text
        (made,) = answer.json()["images"]
        assert Image.open(io.BytesIO(base64.b64decode(made))).size == (16, 16)
        assert json.loads(answer.json()["info"])["steps"] == 2


# ---- the AI SDK ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [
        {"model": "dall-e-3", "n": 1, "size": "16x16", "style": "vivid", "response_format": "b64_json"},
        {"model": "dall-e-3", "n": 1, "size": "16x16", "quality": "hd", "style": "natural", "user": "ann",
         "response_format": "b64_json"},
        {"model": "gpt-image-1", "n": 2, "size": "16x16", "quality": "low", "background": "auto", "moderation": "low",
         "output_format": "webp", "output_compression": 60},
        {"model": "gpt-image-2", "n": 1},
    ],
    ids=str,
)  # fmt: skip
def test_the_ai_sdk_asks_for_pictures(http: httpx.Client, more: dict[str, Any]) -> None:
    asked = {"model": more["model"], "prompt": "A cute baby sea otter"} | more
    answer = http.post(GENERATIONS, content=json.dumps(asked, separators=(",", ":")).encode(), headers=SDK)
    made = pictures(answer)
    assert [one.format for one in made] == [more.get("output_format", "png").upper()] * more["n"]
    told = answer.json()  # what it reads has to be of these types
    assert isinstance(told["created"], int)
    assert all(isinstance(told[name], str) for name in ("background", "output_format", "size", "quality"))
    assert "usage" not in told


def test_a_style_is_one_with_or_without_the_models_own() -> None:
    said = {
        style: dict(asked_of(json.dumps({"prompt": "a cat", "style": style}).encode(), "key").request.parameters or {})
        for style in ("vivid", "natural")
    }
    assert said == {"vivid": {"images": 1}, "natural": {"images": 1, "raw": True}}


@pytest.mark.parametrize(
    "parts",
    [
        (file("image", RED, "blob"), field("n", "1")),
        (file("image", RED, "blob"), file("mask", mask(), "blob"), field("n", "1"), field("size", "16x16")),
        (file("image[]", RED, "blob"), file("image[]", BLUE, "blob"), field("n", "2"), field("size", "16x16"),
         field("quality", "low"), field("background", "opaque"), field("output_format", "png"),
         field("input_fidelity", "high"), field("user", "ann")),
    ],
    ids=len,
)  # fmt: skip
def test_the_ai_sdk_edits(http: httpx.Client, parts: tuple[tuple[str, bytes], ...]) -> None:
    """One picture is `image`, several are `image[]`; no response format is named, and b64_json is wanted."""
    sent = form("----formdata-undici-056721390935", field("model", "gpt-image-1"), field("prompt", "a cat"), *parts)
    sent["headers"] = SDK | sent["headers"]
    made = pictures(http.post(EDITS, **sent))
    (n,) = [int(data) for head, data in parts if re.search('name="n"', head)]
    assert [one.size for one in made] == [(16, 16)] * n
