"""The wire's records as JSON: a page may ask what a program may, and is refused as one is."""

from __future__ import annotations

import contextlib
from typing import Any

import httpx
import pytest

from salon.frontends.client.client import Client
from salon.frontends.http.records import INSTEAD, KINDS, json_of, request_of
from salon.frontends.wire import messages as m
from salon.frontends.wire.codec import REQUESTS
from salon.frontends.zmq.answers import OF_A_CONNECTION
from salon.frontends.zmq.background import BackgroundServer

from .conftest import made

SENT = {"content-type": "application/json"}
LEFT = {"ops.drain", "ops.pause", "taste.next"}  # two would stop the server for the other tests, one draws pairs first


def failure(answer: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = answer.json()["error"]
    assert error["type"] == "failure"
    assert error["text"]
    return error


def test_every_record_is_here_or_says_what_is_instead() -> None:
    assert KINDS.keys() | INSTEAD.keys() == REQUESTS
    assert {str(kind.__struct_config__.tag) for kind in OF_A_CONNECTION} <= INSTEAD.keys()


@pytest.mark.parametrize("tag", sorted(KINDS.keys() - LEFT))
def test_every_record_is_answered(page: httpx.Client, tag: str) -> None:
    """With none of its fields: by a record, or by a refusal that is no fault of the server's."""
    answer = page.post(f"/api/{tag}", json={})
    assert answer.status_code in (200, 400, 404, 429), answer.text
    if answer.status_code == 200:
        assert answer.json()["type"]
    else:
        assert failure(answer)["code"] != "internal"


def test_a_job_as_a_page_and_as_a_program_see_it(page: httpx.Client, faked: BackgroundServer) -> None:
    info = made(page, "a red apple --n 2 --seed 7")
    assert info["state"] == "done"
    assert [each["index"] for each in info["pictures"]] == [-1, 0, 1]
    with Client(faked.address) as client:
        other = client.job(info["job"]).refresh()
    assert (other.prompt, other.seed) == (info["prompt"], info["seed"]) == ("a red apple", 7)
    assert info.keys() == {"type", *m.JobInfo.__struct_fields__}  # also what has its default value
    page_of = page.post("/api/list", json={"limit": 1}).json()
    assert page_of["jobs"][0] == info
    assert page.post("/api/delete", json={"job": info["job"]}).json() == {"type": "done", "changed": True}
    assert failure(page.post("/api/show", json={"job": info["job"]}))["code"] == "not_found"


def test_a_refusal_says_where(page: httpx.Client) -> None:
    answer = page.post("/api/plan", json={"prompt": "a red apple --stpes 3"})
    assert answer.status_code == 400
    error = failure(answer)
    assert (error["code"], error["position"]) == ("invalid", 12)
    assert "--stpes" in error["text"]
    assert page.post("/api/plan", json={"prompt": "a red apple"}).json()["jobs"][0]["cost_ms"] >= 0


@pytest.mark.parametrize(
    ("tag", "body", "status", "words"),
    [
        ("show", b"{", 400, "JSON object"),
        ("show", b"[]", 400, "JSON object"),
        ("show", b"\xff", 400, "JSON object"),
        ("show", b'{"job": 7}', 400, "job"),
        ("show", b'{"job": "../x"}', 400, "letters"),
        ("show", b'{"type": "cancel", "job": "x"}', 400, "type"),
        ("list", b'{"limit": 1e400}', 400, ""),
        ("list", b'{"limit": 100000}', 400, "limit"),
        ("plan", b'{"prompt": "\\ud800"}', 400, ""),
        ("plan", b'{"prompt": "x", "parameters": ' + b'{"a":' * 50_000, 400, ""),
        ("show", b" " * 300_000, 413, "fewer"),
        ("watch", b"{}", 400, "GET /api/events"),
        ("upload", b"{}", 400, "POST /api/references"),
        ("nonsense", b"{}", 404, "docs/wire.md"),
    ],
    ids=str,
)
def test_what_is_no_record(page: httpx.Client, tag: str, body: bytes, status: int, words: str) -> None:
    answer = page.post(f"/api/{tag}", content=body, headers=SENT)
    assert answer.status_code == status, answer.text
    assert words in failure(answer)["text"]


def test_records_of_both_sides() -> None:
    assert request_of("settings", b"") == m.GetSettings()
    assert json_of(m.Done()) == b'{"type":"done","changed":true}'
    told = json_of(m.Event(number=1, kind="image", picture=m.Picture(index=0, digest="d", size=1, width=2, height=3)))
    assert b'"picture":{"index":0' in told


def test_who_asks(page: httpx.Client) -> None:
    said = page.get("/api/session")
    assert said.headers["cache-control"] == "no-store"
    fields = said.json()
    assert (fields["account"], fields["role"], fields["keyless"]) == ("local", "operator", True)
    assert fields["csrf"]
    assert set(m.FEATURES) <= set(fields["features"])


def test_a_strangers_page_gets_nothing(page: httpx.Client) -> None:
    refused = [
        page.post("/api/settings", json={}, headers={"x-salon-csrf": ""}),
        page.post("/api/settings", json={}, headers={"origin": "https://evil.example"}),
        page.post("/api/settings", json={}, headers={"host": "evil.example"}),
        page.post("/api/settings", json={}, headers={"sec-fetch-site": "cross-site"}),
        page.get("/api/events", headers={"sec-fetch-site": "cross-site"}),
        page.get("/api/pictures/x/0", headers={"sec-fetch-site": "same-site"}),
        page.post("/api/references", content=b"x", headers={"x-salon-csrf": "", "content-type": "image/png"}),
    ]
    for answer in refused:
        assert (answer.status_code, failure(answer)["code"]) == (403, "forbidden")
    assert page.post("/api/settings", json={}, headers={"sec-fetch-site": "same-origin"}).status_code == 200
    assert page.post("/api/settings", content=b"{}", headers={"content-type": "text/plain"}).status_code == 415
    assert page.get("/api/settings").status_code == 405
    assert failure(page.post("/api/pictures/x/0", json={}))["code"] == "unknown_url"


def test_headers_and_cookies_of_any_size(page: httpx.Client) -> None:
    assert page.get("/api/session", headers={"cookie": "a=" + "x" * 10_000}).status_code == 200
    long = page.get("/api/session", headers={"cookie": "a=" + "x" * 33_000})
    assert (long.status_code, failure(long)["code"]) == (431, "too_large")
    with contextlib.suppress(httpx.TransportError):  # refused before it was sent whole
        assert page.get("/api/session", headers={"cookie": "a=" + "x" * 200_000}).status_code in (400, 431)
    assert page.get("/api/session", headers={"cookie": ';;=;"\\', "authorization": "Basic x"}).status_code == 401
    assert page.get("/api/session").status_code == 200


def test_a_picture_that_is_brought(page: httpx.Client) -> None:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (200, 30, 40)).save(buffer, "PNG")
    kind = {"content-type": "image/png"}
    digest = page.post("/api/references", content=buffer.getvalue(), headers=kind).json()["digest"]
    planned = page.post("/api/plan", json={"prompt": f"a cat --sref {digest}"})
    assert planned.status_code == 200, planned.text
    shown = page.get(f"/api/references/{digest}")
    assert Image.open(io.BytesIO(shown.content)).size == (16, 16)
    assert (shown.headers["content-type"], "private" in shown.headers["cache-control"]) == ("image/webp", True)
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    for data, headers, status in ((svg, kind, 400), (b"", kind, 400), (b"<html>", kind, 400), (b"x", SENT, 415)):
        answer = page.post("/api/references", content=data, headers=headers)
        assert answer.status_code == status, answer.text
        assert failure(answer)["code"] == "invalid"
