"""What HTTP refuses: each names its field in OpenAI's shape, and nothing was made."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest

from salon.frontends.zmq.background import BackgroundServer

from .conftest import ASKED

WHERE = "/v1/images/generations"


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"prompt": None}, "prompt", "none"),
        ({"prompt": "  "}, "prompt", "1 to 12,000"),
        ({"prompt": "x" * 12_001}, "prompt", "12,001 characters"),
        ({"prompt": ["a cat"]}, "prompt", "text"),
        ({"prompt": "a cat --stpes 3"}, "prompt", "--stpes"),
        ({"prompt": "a cat --n 3", "n": 2}, "prompt", "another value"),
        ({"n": 0}, "n", "1 to 10"),
        ({"n": 11}, "n", "1 to 10"),
        ({"n": "2"}, "n", "'2'"),
        ({"n": True}, "n", "1 to 10"),
        ({"n": 9, "seed": 1}, "n", "with a seed"),
        ({"n": 2, "images": 3}, "n", "one of it and images"),
        ({"size": "big"}, "size", "WIDTHxHEIGHT"),
        ({"size": "17x16"}, "size", "17"),
        ({"size": "99999x16"}, "size", "up to 4096"),
        ({"size": 512}, "size", "WIDTHxHEIGHT"),
        ({"size": "16x16", "width": 32}, "width", "one of it and size"),
        ({"quality": "best"}, "quality", "high"),
        ({"quality": 3}, "quality", "1 or 2 or 4"),
        ({"safety_identifier": 3}, "safety_identifier", "text"),
        ({"background": "transparent"}, "background", "opaque"),
        ({"background": 1}, "background", "opaque"),
        ({"response_format": "file"}, "response_format", "url"),
        ({"response_format": "url", "stream": True}, "response_format", "with stream"),
        ({"output_format": "gif"}, "output_format", "webp"),
        ({"output_compression": 50}, "output_compression", "100 for png"),
        ({"output_format": "jpeg", "output_compression": 101}, "output_compression", "0 to 100"),
        ({"stream": "yes"}, "stream", "true or false"),
        ({"partial_images": 2}, "partial_images", "stream"),
        ({"stream": True, "partial_images": 4}, "partial_images", "0 to 3"),
        ({"moderation": "off"}, "moderation", "low"),
        ({"user": 7}, "user", "text"),
        ({"model": 7}, "model", "text"),
        ({"seed": -1}, "seed", "allowed a whole number"),
        ({"steps": 1e400}, "steps", ""),
        ({"lane": "slow"}, "lane", "relax"),
        ({"profile": "nobody"}, "profile", "nobody"),
        ({"negative_promt": "blur"}, "negative_promt", "names of parameters"),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_field_is_named(http: httpx.Client, fields: dict[str, Any], param: str, words: str) -> None:
    body = json.dumps(ASKED | fields).replace("Infinity", "1e400")
    answer = http.post(WHERE, content=body, headers={"content-type": "application/json"})
    if "1e400" in body and answer.json()["error"]["param"] is None:
        param = None  # type: ignore[assignment]  # the JSON reader refuses the number itself
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["param"], error["type"]) == (param, "invalid_request_error")
    assert words in error["message"]
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"cat"', b"\xff", b'{"prompt": "\\ud800"}', b"[" * 100_000])
def test_what_is_no_object(http: httpx.Client, body: bytes) -> None:
    answer = http.post(WHERE, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["message"]


def test_other_ways_to_ask_wrongly(http: httpx.Client) -> None:
    large = http.post(WHERE, content=b" " * (1 << 20) + b"{}", headers={"content-type": "application/json"})
    assert large.status_code == 413
    assert http.post(WHERE, content=b"{}").status_code == 415
    assert (
        http.post(WHERE, json={}, headers={"idempotency-key": ""}).json()["error"]["code"] == "invalid_idempotency_key"
    )
    for answer, status in ((http.get(WHERE), 405), (http.post("/v1/images"), 404), (http.get("/v2"), 404)):
        assert answer.status_code == status
        assert answer.json()["error"]["code"] == "unknown_url"
    for path, methods in (("/v1/files", "GET, HEAD, POST"), (f"/v1/files/{'0' * 64}", "DELETE, GET, HEAD")):
        assert http.patch(path).headers["allow"] == methods  # of all its routes
    assert http.get("/v1/models", headers={"authorization": "Basic x"}).status_code == 401


def test_a_strangers_page_cannot_make_a_browser_ask(http: httpx.Client) -> None:
    for headers in ({"host": "evil.example"}, {"origin": "https://evil.example"}, {"origin": "null"}):
        assert http.post(WHERE, json=ASKED, headers=headers).status_code == 403, headers
    assert http.get("/v1/models", headers={"host": "localhost:1"}).status_code == 200


def test_openais_client_raises_its_own_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.images.generate(prompt="a cat", size="1x1")
    assert refused.value.param == "size"


def test_nothing_refused_became_a_job(server: BackgroundServer, http: httpx.Client) -> None:
    assert server.server is not None
    before = server.server.service.accepted
    assert http.post(WHERE, json=ASKED | {"size": "17x16"}).status_code == 400
    assert server.server.service.accepted == before
