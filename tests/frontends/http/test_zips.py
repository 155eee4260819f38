"""Zips of many pictures over HTTP: whole, streamed, and of what is still there."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import httpx
import pytest

from salon.bounds import MAX_NAMES
from salon.frontends.http.zips import OF_ONE, Zips, _Kept

from .conftest import made


def test_a_zip(page: httpx.Client) -> None:
    first, second = made(page, "a red apple --n 2"), made(page, "a whale --n 1")
    name = page.post("/api/zip", json={"jobs": [first["job"], "never", second["job"]]}).json()["name"]
    page.post("/api/delete", json={"job": second["job"]})
    assert page.head(f"/api/zip/{name}").status_code == 200
    with page.stream("GET", f"/api/zip/{name}") as answer:
        assert answer.headers["content-type"] == "application/zip"
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
        assert "content-length" not in answer.headers, "it begins before all is read"
        data = answer.read()
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        assert packed.testzip() is None
        lines = [json.loads(line) for line in packed.read("manifest.jsonl").splitlines()]
        one = page.get(f"/api/pictures/{first['job']}/0").content
        assert packed.read(lines[0]["file"]) == one
    assert [(line["job"], "missing" in line) for line in lines] == [
        (first["job"], False), (first["job"], False), ("never", True), (second["job"], True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"jobs": []},
        {"jobs": "a"},
        {"jobs": ["a"], "more": ["b"]},
        {"jobs": ["a", "b\0"]},
        {"jobs": ["a" * 65]},
        {"jobs": [str(i) for i in range(MAX_NAMES + 1)]},
    ],  # fmt: skip
)
def test_what_is_no_zip(page: httpx.Client, body: Any) -> None:
    answer = page.post("/api/zip", json=body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "failure")
    assert page.get("/api/zip/never.zip").status_code == 404


def test_names_of_one_account_leave_those_of_others_alone() -> None:
    now = 0.0
    nothing: Any = None  # no zip is made
    zips = Zips(nothing, lambda: now)
    zips._keep("ben", _Kept("ben", ("a",), 9.0))
    for number in range(3 * OF_ONE):
        zips._keep(str(number), _Kept("ann", ("a",), 9.0))
    assert list(zips._kept) == ["ben", *map(str, range(2 * OF_ONE, 3 * OF_ONE))]
    now = 10.0
    zips._keep("new", _Kept("ann", ("a",), 20.0))
    assert list(zips._kept) == ["new"]
