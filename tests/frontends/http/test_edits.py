"""Edits, variations and files, through OpenAI's own client and as forms, byte for byte."""

from __future__ import annotations

import asyncio
import base64
import io
import struct
import threading
import time
import zlib
from typing import Any

import httpx
import msgspec
import openai
import pytest
from PIL import Image, ImageChops

from salon.engine.reference_rule import ReferenceRule
from salon.frontends.client.client import Client
from salon.frontends.http import bodies, edits, forms, gateway, reading, sd
from salon.frontends.http.brought import Brought
from salon.frontends.http.edits import edited
from salon.frontends.http.errors import HttpRefused
from salon.frontends.http.generations import Generations
from salon.frontends.zmq.background import BackgroundServer

from .conftest import WAIT_S, address, followed

EDITS, VARIATIONS, FILES = "/v1/images/edits", "/v1/images/variations", "/v1/files"
PLAIN: dict[str, Any] = {"steps": 2, "seed": 7}


def png(colour: Any = (200, 30, 40), size: tuple[int, int] = (16, 16), mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def mask(size: tuple[int, int] = (16, 16)) -> bytes:
    """A mask whose left half is to be drawn anew."""
    image = Image.new("RGBA", size, (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, size[0] // 2, size[1]))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def photograph() -> bytes:
    """A JPEG that says who made it."""
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x013B] = "somebody"
    Image.new("RGB", (16, 16), (200, 30, 40)).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


RED, BLUE = png(), png((20, 60, 220))


def picture_of(made: Any) -> bytes:
    return base64.b64decode((made.data or [])[0].b64_json)


def image_of(made: Any) -> Image.Image:
    return Image.open(io.BytesIO(picture_of(made)))


def test_an_edit_is_what_a_start_picture_is_over_zeromq(server: BackgroundServer, client: openai.OpenAI) -> None:
    made = client.images.edit(image=RED, prompt="an apple", extra_body=PLAIN)
    with Client(server.address) as other:
        digest = other.add_reference(RED)
        job = other.imagine("an apple", image=digest, images=1, width=16, height=16, **PLAIN)
        assert [picture_of(made)] == job.result(timeout_s=WAIT_S)
        near = client.images.edit(image=RED, prompt="an apple", input_fidelity="high", extra_body=PLAIN)
        job = other.imagine("an apple", image=digest, image_strength=0.5, images=1, width=16, height=16, **PLAIN)
        assert [picture_of(near)] == job.result(timeout_s=WAIT_S)
    assert made.size == "16x16"


def test_a_mask_keeps_what_it_covers_to_the_bit(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"image": ("red.png", RED, "image/png"), "mask": mask(), "prompt": "a cat"}
    made = image_of(client.images.edit(**asked, extra_body=PLAIN | {"feather": 0}))
    assert made.crop((8, 0, 16, 16)).getcolors() == [(128, (200, 30, 40))]
    assert ImageChops.difference(made.crop((0, 0, 8, 16)), Image.new("RGB", (8, 16), (200, 30, 40))).getbbox()


def test_several_pictures_stand_before_the_words(server: BackgroundServer, client: openai.OpenAI) -> None:
    made = client.images.edit(image=[RED, BLUE], prompt="a cat", size="16x16", extra_body=PLAIN)
    with Client(server.address) as other:
        digests = [other.add_reference(each) for each in (RED, BLUE)]
        job = other.imagine("a cat", image_prompts=digests, images=1, width=16, height=16, **PLAIN)
        assert [picture_of(made)] == job.result(timeout_s=WAIT_S)


def test_an_edit_as_a_stream_and_raw(server: BackgroundServer, client: openai.OpenAI, shown: threading.Event) -> None:
    asked: dict[str, Any] = {"image": RED, "prompt": "a cat", "extra_body": {"steps": 6, "seed": 9}}
    events = followed(client.images.edit(**asked, stream=True, partial_images=2), shown)
    kinds = [event.type for event in events]
    assert kinds[-1] == "image_edit.completed"
    assert set(kinds[:-1]) == {"image_edit.partial_image"}
    raw = client.images.with_raw_response.edit(**asked, n=2, output_format="webp", output_compression=60)
    assert raw.headers["x-salon-jobs"]
    pictures = raw.parse().data or []
    assert [Image.open(io.BytesIO(base64.b64decode(each.b64_json or ""))).format for each in pictures] == ["WEBP"] * 2

    async def draw() -> bytes:
        async with openai.AsyncOpenAI(base_url=f"{address(server)}/v1", api_key="none", timeout=WAIT_S) as other:
            return picture_of(await other.images.edit(**asked))

    assert asyncio.run(draw()) == base64.b64decode(events[-1].b64_json)


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # OpenAI itself has retired them
def test_variations_of_salons_pictures_and_of_others(server: BackgroundServer, client: openai.OpenAI) -> None:
    own = picture_of(client.images.generate(prompt="a red apple", size="16x16", extra_body=PLAIN))
    with Client(server.address) as other:
        for picture, prompt in ((own, "a red apple"), (RED, "")):
            made = client.images.with_raw_response.create_variation(image=picture, n=2, extra_body={"seed": 3})
            record = other.job(made.headers["x-salon-jobs"]).refresh()
            assert (record.kind, record.prompt, record.images) == ("vary", prompt, 2)
            assert len({each.b64_json for each in made.parse().data or ()}) == 2


def test_files_are_named_by_their_ids(client: openai.OpenAI, http: httpx.Client) -> None:
    first = client.files.create(file=("red.png", RED), purpose="vision")
    second = client.files.create(file=BLUE, purpose="user_data")
    assert (first.filename, first.bytes, first.object, first.purpose) == ("red.png", len(RED), "file", "vision")
    assert client.files.retrieve(first.id) == first
    assert {file.id for file in client.files.list()} == {first.id, second.id}
    assert [file.id for file in client.files.list(purpose="vision")] == [first.id]
    page = client.files.list(limit=1, order="asc")
    assert (page.has_more, len(page.data), len(list(page))) == (True, 1, 2)
    assert client.files.content(first.id).read() == RED
    by_id = {"images": [{"file_id": first.id}], "prompt": "an apple", **PLAIN}
    by_value = by_id | {"images": [{"image_url": f"data:image/png;base64,{base64.b64encode(RED).decode()}"}]}
    answers = [http.post(EDITS, json=each).json() for each in (by_id, by_value)]
    assert answers[0]["data"] == answers[1]["data"]
    photo = client.files.create(file=("photo.jpg", photograph()), purpose="vision")
    by_id_alone = http.post(EDITS, json=by_id | {"images": [{"file_id": photo.id}]})
    assert by_id_alone.status_code == 200, by_id_alone.text  # whose file is kept without what it says
    assert client.files.delete(photo.id).deleted
    styled = client.images.generate(prompt=f"{first.id} a cat", size="16x16", extra_body=PLAIN)
    assert picture_of(styled) != picture_of(client.images.generate(prompt="a cat", size="16x16", extra_body=PLAIN))
    assert client.files.delete(first.id).deleted
    assert [file.id for file in client.files.list()] == [second.id]
    for answer in (
        http.get(f"{FILES}/{first.id}"),
        http.get(f"{FILES}/{first.id}/content"),
        http.get(f"{FILES}/x.png"),
    ):
        assert answer.status_code == 404
    odd = http.post(FILES, **form("b", file("file", RED, "a\0 b\u2028.png"), field("purpose", "vision")))
    assert odd.json()["filename"] == "a b .png"
    for id in ("%00", "a" * 64 + "%00"):
        assert http.delete(f"{FILES}/{id}").status_code == http.get(f"{FILES}/{id}/content").status_code == 404
    assert client.files.delete(first.id).deleted
    gone = http.post(EDITS, json=by_id)
    assert (gone.status_code, gone.json()["error"]["param"]) == (400, "images")


def form(boundary: str, *parts: tuple[str, bytes]) -> dict[str, Any]:
    """A form, byte for byte: (the part's header, its data)."""
    lines = b"".join(f"--{boundary}\r\n{head}\r\n\r\n".encode() + data + b"\r\n" for head, data in parts)
    kind = f"multipart/form-data; boundary={boundary}"
    return {"content": lines + f"--{boundary}--\r\n".encode(), "headers": {"content-type": kind}}


def field(name: str, value: str) -> tuple[str, bytes]:
    return f'Content-Disposition: form-data; name="{name}"', value.encode()


def file(name: str, data: bytes, called: str = "a.png", kind: str = "image/png") -> tuple[str, bytes]:
    return f'Content-Disposition: form-data; name="{name}"; filename="{called}"\r\nContent-Type: {kind}', data


PROMPT = field("prompt", "a cat")


def test_what_becomes_of_pictures_is_what_the_model_can(server: BackgroundServer) -> None:
    assert server.server is not None
    model = server.server.context.studio.loop.model
    replace = msgspec.structs.replace
    looks = replace(model, architecture=replace(model.architecture, references=ReferenceRule(most=4, area=256)))
    two, masked = Brought(("a" * 64, "b" * 64), None, (16, 16), {}), Brought(("a" * 64,), "c" * 64, (16, 16), {})
    assert edited(looks, two, "image", "high").said == {"omni_reference": ("image", two.names)}
    assert edited(looks, masked, "image", "high").said["image_strength"] == ("input_fidelity", 0.75)
    assert edited(model, two, "image", "high").said["image_weight"] == ("input_fidelity", 2.0)
    fills = replace(model, architecture=replace(model.architecture, fills=True))
    assert edited(fills, masked, "image", None).canvas == (16, 16)
    with pytest.raises(HttpRefused, match="mask: got none"):
        edited(fills, two, "image", None)


def test_the_same_form_again_is_the_same_job(http: httpx.Client) -> None:
    def jobs(boundary: str, **headers: str) -> str:
        sent = form(boundary, PROMPT, file("image", RED), field("steps", "1"))
        sent["headers"] |= headers
        return str(http.post(EDITS, **sent).headers["x-salon-jobs"])

    first = jobs("one")
    assert jobs("two", **{"x-stainless-retry-count": "1"}) == first  # a client makes a new boundary each time
    assert jobs("one") != first
    named = {"idempotency-key": "an order"}
    assert jobs("one", **named) == jobs("two", **named)


def bomb() -> bytes:
    """A small file that says it has 81 million pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 9_000, 9_000, 8, 2, 0, 0, 0)
    return RED[:12] + head + struct.pack(">I", zlib.crc32(head)) + RED[33:]


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HTML = b"<!doctype html><script>alert(1)</script>"


@pytest.mark.parametrize(
    ("path", "parts", "param", "words"),
    [
        (EDITS, (PROMPT,), "image", "0 pictures, allowed 1 to 16"),
        (EDITS, (file("image", RED),), "prompt", "none"),
        (EDITS, (PROMPT, *[file("image[]", RED)] * 17), "image", "17 pictures, allowed 1 to 16"),
        (EDITS, (PROMPT, file("image", SVG)), "image", "no picture"),
        (EDITS, (PROMPT, file("image[]", RED), file("image[]", HTML)), "image", "image 2: got no picture"),
        (EDITS, (PROMPT, file("image", RED[:50])), "image", "damaged"),
        (EDITS, (PROMPT, file("image", bomb())), "image", "9,000 x 9,000 pixels"),
        (EDITS, (PROMPT, file("image", b"")), "image", "no picture"),
        (EDITS, (PROMPT, file("image", RED), file("mask", RED)), "mask", "without transparency"),
        (EDITS, (PROMPT, file("image", RED), file("mask", mask((8, 8)))), "mask", "8 x 8 pixels, allowed 16 x 16"),
        (EDITS, (PROMPT, file("image", RED), file("mask", mask()), file("mask", mask())), "mask", "two files"),
        (EDITS, (PROMPT, *[file("image[]", RED)] * 2, file("mask", mask())), "image", "one with a mask"),
        (EDITS, (PROMPT, *[file("image[]", RED)] * 2), "image", "twice"),
        (EDITS, (PROMPT, file("picture", RED)), "picture", "files under image"),
        (EDITS, (PROMPT, PROMPT, file("image", RED)), "prompt", "twice"),
        (EDITS, (PROMPT, file("image", RED), field("input_fidelity", "most")), "input_fidelity", "low or high"),
        (EDITS, (PROMPT, file("image", RED), field("n", "two")), "n", "1 to 10"),
        (EDITS, (PROMPT, file("image", RED), field("markup", "x")), "markup", "names of parameters"),
        (EDITS, (PROMPT, file("image", RED), field("seed", "-1")), "seed", "whole number"),
        (EDITS, (PROMPT, file("image", RED), field("stream", "yes")), "stream", "true or false"),
        (EDITS, (field("prompt", "a cat --image x.png"), file("image", RED)), "prompt", "--image"),
        (VARIATIONS, (), "image", "0 pictures"),
        (VARIATIONS, (file("image", RED), file("mask", mask())), "mask", "one picture alone"),
        (VARIATIONS, (file("image", RED), field("n", "11")), "n", "1 to 10"),
        (FILES, (field("purpose", "vision"),), "file", "0 files"),
        (FILES, (file("file", RED), field("purpose", "batch")), "purpose", "vision or user_data"),
        (FILES, (file("file", HTML), field("purpose", "vision")), "file", "no picture"),
        (FILES, (file("file", RED), field("purpose", "vision"), field("expires_after[seconds]", "1")),
         "expires_after[seconds]", "file and purpose"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_wrong_form(
    server: BackgroundServer, http: httpx.Client, path: str, parts: Any, param: str, words: str
) -> None:
    assert server.server is not None
    before, files = server.server.service.accepted, http.get(FILES).json()["data"]
    answer = http.post(path, **form("b", *parts))
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["param"], words in error["message"]) == (param, True), error
    assert server.server.service.accepted == before
    assert http.get(FILES).json()["data"] == files


def test_forms_that_are_none(http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = form("b", PROMPT, file("image", RED))
    kind = whole["headers"]
    for content in (whole["content"][:-9], whole["content"][:60], b"", b"{}", b"--b\r\n\r\nx\r\n--b--\r\n"):
        answer = http.post(EDITS, content=content, headers=kind)
        assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error"), content
    for given, status in (("multipart/form-data", 400), ("text/plain", 415), ("", 415)):
        assert http.post(EDITS, content=whole["content"], headers={"content-type": given}).status_code == status
    monkeypatch.setattr(forms, "MAX_REFERENCE_BYTES", 5000)
    large = http.post(EDITS, **form("b", PROMPT, file("image", b"\0" * 5001)))
    assert (large.status_code, large.json()["error"]["param"]) == (413, "image")
    many = http.post(EDITS, **form("b", *[field(f"f{n}", "") for n in range(201)]))
    assert "parts" in many.json()["error"]["message"]
    assert "header" in http.post(EDITS, **form("b", field("x" * 5000, ""))).json()["error"]["message"]
    room = bodies.Room(2 * len(whole["content"]))  # half of it is an account's
    monkeypatch.setattr(bodies.Room, "lease", room.lease)
    assert http.post(EDITS, **whole).status_code == 200
    whole = form("b", PROMPT, file("image[]", RED), file("image[]", BLUE))
    busy = http.post(EDITS, **whole)
    assert (busy.status_code, busy.headers["x-should-retry"]) == (429, "true")


def test_large_bodies_hold_nobody_up(http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forms, JSON and base64 of many bytes are read, and answers of many written, on threads beside the loop's."""
    monkeypatch.setattr(reading, "LARGE", 50)
    monkeypatch.setattr(forms, "READ", 100)
    loops, seen = set[int](), dict[str, set[int]]()
    submit = Generations.submit

    async def submitted(self: Generations, account: str, asked: Any) -> Any:
        loops.add(threading.get_ident())
        return await submit(self, account, asked)

    def where(module: Any, name: str) -> None:
        work = getattr(module, name)

        def noted(*given: Any) -> Any:
            seen.setdefault(name, set()).add(threading.get_ident())
            return work(*given)

        monkeypatch.setattr(module, name, noted)

    monkeypatch.setattr(Generations, "submit", submitted)
    for module, name in (
        (edits, "_in_json"), (edits, "_in_form"), (sd, "_pictures_in"), (gateway, "json_answer"),
        (forms._Reader, "_add"),
    ):  # fmt: skip
        where(module, name)
    url = f"data:image/png;base64,{base64.b64encode(RED).decode()}"
    large = png(size=(64, 64))
    for answer in (
        http.post(EDITS, json={"prompt": "a cat", "images": [{"image_url": url}], "steps": 1}),
        http.post(EDITS, **form("b", PROMPT, file("image", large), field("size", "16x16"), field("steps", "1"))),
        http.post("/sdapi/v1/img2img", json={"prompt": "a cat", "init_images": [url], "steps": 1}),
    ):
        assert answer.status_code == 200, answer.text
    assert len(loops) == 1
    assert seen.keys() == {"_in_json", "_in_form", "_pictures_in", "json_answer", "_add"}
    assert not loops & set().union(*seen.values()), seen


def test_a_slow_form_is_given_up(http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 0.1

    def slowly() -> Any:
        yield b"--b\r\n"
        time.sleep(4 * limit)
        yield b"--b--\r\n"

    monkeypatch.setattr(forms, "PICTURES_S", limit)
    kind = {"content-type": "multipart/form-data; boundary=b"}
    assert http.post(EDITS, content=slowly(), headers=kind).status_code == 408
    monkeypatch.setattr(reading, "LARGE", 1)  # also if its time ends while a thread reads what has come
    monkeypatch.setattr(forms, "READ", 1)
    add = forms._Reader._begin

    def begin(self: Any) -> None:
        time.sleep(2 * limit)  # no event tells that a form's time has ended
        add(self)

    monkeypatch.setattr(forms._Reader, "_begin", begin)
    assert http.post(EDITS, content=slowly(), headers=kind).status_code == 408


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"images": RED.hex()}, "images", "a list"),
        ({"images": []}, "image", "0 pictures"),
        ({"images": [{}]}, "images", "an object"),
        ({"images": [{"file_id": "file-1"}]}, "images", "a file_id"),
        ({"images": [{"image_url": "data:image/png,abc"}]}, "images", "in base64"),
        ({"images": [{"image_url": "data:image/png;base64,@@"}]}, "images", "in base64"),
        ({"images": [{"image_url": "https://example.org/a.png"}]}, "images", "--image-links"),
        ({"images": [{"image_url": f"data:;base64,{base64.b64encode(HTML).decode()}"}]}, "images", "no picture"),
        ({"images": [{"image_url": base64.b64encode(RED).decode()}], "mask": {"file_id": "0" * 64}}, "mask",
         "not here"),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_picture_in_json(http: httpx.Client, fields: Any, param: str, words: str) -> None:
    answer = http.post(EDITS, json={"prompt": "a cat"} | fields)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["param"], words in error["message"]) == (param, True), error


def test_pages_of_files(http: httpx.Client) -> None:
    for query, param in (
        ("limit=0", "limit"), ("limit=ten", "limit"), ("order=up", "order"), ("after=x", "after"), ("page=2", "page")
    ):  # fmt: skip
        answer = http.get(f"{FILES}?{query}")
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
