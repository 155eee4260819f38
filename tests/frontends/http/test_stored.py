"""Pictures and what is made of them: for who may see the job, kept by browsers, gone with the job."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from starlette.datastructures import Headers

from salon.frontends.client.client import Client
from salon.frontends.fake.worker import Behaviour
from salon.frontends.http import gate
from salon.frontends.http.connections import ABORT
from salon.frontends.http.place import place_of
from salon.frontends.http.visitors import Visitor
from salon.frontends.zmq.background import BackgroundServer
from salon.frontends.zmq.options import ServeOptions
from salon.frontends.zmq.rates import Rates
from salon.studio.errors import BlobMissing
from salon.studio.service.thumbnails import Thumbnails
from salon.studio.store.blobs import MemoryBlobs

from .conftest import WAIT_S, made


def test_a_picture_is_the_file_that_is_kept(page: httpx.Client, faked: BackgroundServer) -> None:
    info = made(page, "a blue boat --n 2")
    job, digest = info["job"], info["pictures"][1]["digest"]
    answer = page.get(f"/api/pictures/{job}/0")
    assert hashlib.sha256(answer.content).hexdigest() == digest
    with Client(faked.address) as client:
        assert client.job(job).picture(0) == answer.content
    assert answer.headers["content-type"] == "image/png"
    assert "immutable" in answer.headers["cache-control"]
    assert "private" in answer.headers["cache-control"]
    again = page.get(f"/api/pictures/{job}/0", headers={"if-none-match": f'"x", W/{answer.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    head = page.head(f"/api/pictures/{job}/0")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(answer.content)))
    for form in ("jpeg", "webp"):
        other = page.get(f"/api/pictures/{job}/-1", params={"form": form, "download": 1})
        assert other.headers["content-type"] == f"image/{form}"
        assert f'filename="salon-{job}-grid.{form}"' in other.headers["content-disposition"]
        with Image.open(io.BytesIO(other.content)) as image:
            assert image.format == form.upper()


def test_what_is_no_picture(page: httpx.Client) -> None:
    job = made(page)["job"]
    for path, status in (
        (f"/api/pictures/{job}/9", 404), (f"/api/pictures/{job}/x", 400), (f"/api/pictures/{job}/00", 400),
        (f"/api/pictures/{job}/0?form=gif", 400), (f"/api/pictures/{job}/0?size=1", 400), ("/api/pictures/none/0", 404),
        (f"/api/thumbnails/{job}/0/300", 400), (f"/api/thumbnails/{job}/9/256", 404), (f"/api/previews/{job}/1", 404),
        ("/api/pictures/..%2f..%2fetc/0", 404), (f"/api/thumbnails/{job}/0/{'1' * 5000}", 400),
        (f"/api/previews/{job}/{'1' * 5000}", 400), (f"/api/previews/{job}/x", 400),
    ):  # fmt: skip
        answer = page.get(path)
        assert answer.status_code == status, path
        assert answer.json()["error"]["text"]


def test_a_thumbnail_is_made_once_and_goes_with_its_picture(page: httpx.Client, faked: BackgroundServer) -> None:
    """With its picture, beside all other work; one that is missing, as in folders of before, when it is asked for."""
    info = made(page, "a green hill --n 1", parameters={"width": 1024, "height": 512})
    job = info["job"]
    folder = Path(faked.options.data) / "thumbnails"

    def there() -> set[str]:
        return {path.name for path in folder.glob(f"{digest[:2]}/{digest[2:]}*.webp")}

    for digest in [each["digest"] for each in info["pictures"]]:
        end = time.monotonic() + WAIT_S
        while len(there()) < 2 and time.monotonic() < end:
            time.sleep(0.005)
        assert there() == {f"{digest[2:]}.256.webp", f"{digest[2:]}.512.webp"}
    digest = next(each["digest"] for each in info["pictures"] if each["index"] == 0)
    before = {name: (folder / digest[:2] / name).read_bytes() for name in there()}
    (folder / digest[:2] / f"{digest[2:]}.256.webp").unlink()
    sizes = {}
    for side in (256, 512):
        answer = page.get(f"/api/thumbnails/{job}/0/{side}")
        assert answer.headers["content-type"] == "image/webp"
        assert "immutable" in answer.headers["cache-control"]
        with Image.open(io.BytesIO(answer.content)) as image:
            sizes[side] = image.size
        seen = page.get(f"/api/thumbnails/{job}/0/{side}", headers={"if-none-match": answer.headers["etag"]})
        assert seen.status_code == 304
    assert sizes == {256: (256, 128), 512: (512, 256)}
    assert {name: (folder / digest[:2] / name).read_bytes() for name in there()} == before
    page.post("/api/delete", json={"job": job})
    assert not list(folder.glob(f"{digest[:2]}/{digest[2:]}*"))
    assert page.get(f"/api/thumbnails/{job}/0/256").status_code == 404


def test_a_thumbnail_of_what_is_deleted_meanwhile(tmp_path: Path) -> None:
    class Slow(MemoryBlobs):
        def get(self, digest: str) -> bytes:
            data = super().get(digest)
            thumbnails.remove(digest)  # the deletion comes just now
            return data

    buffer = io.BytesIO()
    Image.new("RGB", (8, 4)).save(buffer, "PNG")
    blobs = Slow()
    thumbnails = Thumbnails(tmp_path / "made", blobs)
    digest = blobs.put(buffer.getvalue())
    assert thumbnails.make(digest, 256)
    assert not list((tmp_path / "made").glob("*/*"))
    kept = MemoryBlobs()
    thumbnails = Thumbnails(tmp_path / "kept", kept)
    digest = kept.put(buffer.getvalue())
    assert thumbnails.kept(digest, 256) is None
    assert thumbnails.make(digest, 512) == thumbnails.kept(digest, 256)  # a small picture keeps its size
    for number, at in enumerate((0, time.time())):  # what a crash has left, and what is being written
        half = tmp_path / "kept" / digest[:2] / f"{digest[2:]}.256.webp.{number}.part"
        half.write_bytes(b"x")
        os.utime(half, (at, at))
    assert thumbnails.sweep() == 1
    assert half.exists()
    kept.delete(digest)
    assert thumbnails.sweep() == 3
    with pytest.raises(BlobMissing):
        thumbnails.make(digest, 256)


def test_a_preview(page: httpx.Client, behaviour: Behaviour) -> None:
    behaviour.step_s = 0.3  # a minute of steps: previews come, and are asked for, long before the end
    try:
        asked = {"key": "preview", "prompt": "a fox --steps 200", "language": True, "preview_every": 1}
        with page.stream("GET", "/api/events") as stream:
            job = page.post("/api/submit", json=asked).json()["job"]["job"]
            for line in stream.iter_lines():
                if '"url":' in line and job in line:
                    break
        url = line.partition('"url":"')[2].partition('"')[0]
        assert url.startswith(f"/api/previews/{job}/")
        answer = page.get(url)
        if answer.status_code == 200:  # else a newer one has taken its place
            assert answer.headers["content-type"] == "image/jpeg"
            with Image.open(io.BytesIO(answer.content)) as image:
                assert image.format == "JPEG"
        assert page.post("/api/cancel", json={"job": job}).status_code == 200
    finally:
        behaviour.step_s = 0.0


def test_who_does_not_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer waits for its reader for a while, and then its connection ends, so that nothing is kept for it."""
    monkeypatch.setattr(gate, "SEND_S", 0.05)
    ended: list[str] = []

    async def answers(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": False})

    async def never(message: Any) -> None:
        await asyncio.Event().wait()

    scope = {"type": "http", "path": "/healthz", "headers": [], "method": "GET", ABORT: lambda: ended.append("it")}
    place = place_of(ServeOptions(http="127.0.0.1:80"), keyed=False)
    guarded = gate.Gate(answers, Nobody(), Rates(0, 1, time.monotonic), place)
    asyncio.run(asyncio.wait_for(guarded(scope, never, never), WAIT_S))  # type: ignore[arg-type]
    assert ended


class Nobody:
    keyless = True

    async def of(self, headers: Headers) -> Visitor:
        raise AssertionError("not asked for what needs no account")
