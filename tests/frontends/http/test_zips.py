"""Zips of many pictures over HTTP: whole, streamed, and of what is still there."""

from __future__ import annotations

import asyncio
import io
import json
import resource
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from salon.bounds import MAX_NAMES
from salon.engine.errors import OutputError
from salon.frontends.http.zips import OF_ONE, Zips, _Kept
from salon.frontends.zmq.background import BackgroundServer
from salon.studio.errors import StoreFull
from salon.studio.service import storing
from salon.studio.service.job_record import StoredPicture
from salon.zips import ZipFileWriter

from .conftest import WAIT_S, made


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


def test_a_disk_that_fills_up_while_a_zip_streams(
    page: httpx.Client, faked: BackgroundServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The zip goes on, as it needs no space; what is drawn meanwhile waits, new jobs are refused, and the one that
    waits is there once there is space again."""
    assert faked.server is not None
    service = faked.server.service
    jobs = [made(page, f"number {number} --n 1")["job"] for number in range(2)]
    name = page.post("/api/zip", json={"jobs": jobs}).json()["name"]
    monkeypatch.setattr(storing, "FULL_S", 0.05)

    going_on, read = threading.Event(), service.file

    async def slowly(job: str, picture: StoredPicture) -> bytes:
        if job == jobs[1]:
            assert await asyncio.to_thread(going_on.wait, WAIT_S)
        return await read(job, picture)

    monkeypatch.setattr(service, "file", slowly)

    def full(data: bytes) -> str:
        raise StoreFull("store: got no space left on the disk")

    with monkeypatch.context() as disk, page.stream("GET", f"/api/zip/{name}") as answer:
        pieces = answer.iter_bytes()
        data = next(pieces)
        disk.setattr(service.context.blobs, "put", full)
        asked = {"key": "full-disk", "prompt": "a late one", "language": True}
        late = page.post("/api/submit", json=asked).json()["job"]["job"]
        until(lambda: page.get("/readyz").status_code == 503)
        refused = page.post("/api/submit", json=asked | {"key": "full-disk-2"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
        going_on.set()
        data += b"".join(pieces)
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        assert packed.testzip() is None
        lines = [json.loads(line) for line in packed.read("manifest.jsonl").splitlines()]
    assert [(line["job"], "missing" in line) for line in lines] == [(job, False) for job in jobs]
    until(lambda: page.post("/api/show", json={"job": late}).json()["state"] == "done")
    assert page.get("/readyz").status_code == 200


def test_a_disk_that_fills_up_while_a_zip_is_written(tmp_path: Path) -> None:
    """What `salon download` has written goes, and the older file stays."""
    file = tmp_path / "all.zip"
    file.write_bytes(b"the older one")
    writer = ZipFileWriter(file, force=True)
    writer.open()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # the system refuses longer files, as on a full disk
    try:
        with pytest.raises(OutputError, match=r"cannot be written \(write: File too large"):
            writer.write(bytes(30_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        writer.discard()
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"the older one"]


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


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
