"""The images API through OpenAI's own client: what it gets is what ZeroMQ's clients get."""

from __future__ import annotations

import asyncio
import base64
import io
import threading
from typing import Any

import httpx
import openai
import pytest
from PIL import Image

from salon.frontends.client.client import Client
from salon.frontends.http.asked import asked_of
from salon.frontends.recipe import read_picture_file
from salon.frontends.zmq.background import BackgroundServer

from .conftest import ASKED, SIZE, WAIT_S, address, followed

SMALL: dict[str, Any] = {"size": SIZE, "extra_body": {"steps": 2}}


def bytes_of(picture: Any) -> bytes:
    return base64.b64decode(picture.b64_json)


def test_the_same_seed_gives_the_bytes_that_zeromq_gives(server: BackgroundServer, client: openai.OpenAI) -> None:
    asked = {"size": SIZE, "extra_body": {"steps": 2, "seed": 7}}
    made = client.images.generate(prompt="a red apple", n=2, **asked)  # type: ignore[call-overload]
    with Client(server.address) as other:
        job = other.imagine("a red apple", images=2, seed=7, width=16, height=16, steps=2)
        assert [bytes_of(one) for one in made.data] == job.result(timeout_s=WAIT_S)
    assert (made.size, made.output_format, made.background, made.quality) == (SIZE, "png", "opaque", "auto")


def test_one_picture_unless_the_prompt_says_how_many(client: openai.OpenAI) -> None:
    assert len(client.images.generate(prompt="a cat", **SMALL).data or ()) == 1
    pictures = client.images.generate(prompt="a {red, green} apple --n 2 --seed 3", **SMALL).data or []
    assert len(pictures) == 4
    assert [each.revised_prompt for each in pictures] == ["a red apple"] * 2 + ["a green apple"] * 2


def test_ten_are_ten(client: openai.OpenAI) -> None:
    pictures = client.images.generate(prompt="a cat", n=10, size=SIZE, extra_body={"steps": 1}).data or []
    assert len({bytes_of(each) for each in pictures}) == 10


@pytest.mark.parametrize("format", ["jpeg", "webp"])
def test_other_formats_have_the_recipe_too(client: openai.OpenAI, format: Any) -> None:
    files = []
    for quality in (10, 95):
        made = client.images.generate(
            prompt="a cat", output_format=format, output_compression=quality, size=SIZE,
            extra_body={"steps": 1, "seed": 5},
        )  # fmt: skip
        files.append(bytes_of((made.data or [])[0]))
        assert Image.open(io.BytesIO(files[-1])).format == format.upper()
        assert read_picture_file(io.BytesIO(files[-1]))[1].spec.seed == 5
    assert len(files[0]) < len(files[1])


def test_a_link_leads_to_the_picture(client: openai.OpenAI, http: httpx.Client) -> None:
    asked: dict[str, Any] = {"size": SIZE, "extra_body": {"steps": 1, "seed": 5}}
    plain = (client.images.generate(prompt="a cat", **asked).data or [])[0]
    linked = (client.images.generate(prompt="a cat", response_format="url", **asked).data or [])[0]
    assert linked.url is not None
    found = http.get(linked.url)
    assert found.content == bytes_of(plain)
    assert found.headers["content-type"] == "image/png"
    assert http.get(linked.url[:-5] + "x.png").status_code == 404


def test_quality_is_an_effort(client: openai.OpenAI, server: BackgroundServer) -> None:
    steps = {}
    with Client(server.address) as other:
        for word in ("low", "medium", "high"):
            answer = client.images.with_raw_response.generate(prompt="a cat", size=SIZE, quality=word)
            steps[word] = other.job(answer.headers["x-salon-jobs"]).refresh().steps
    assert steps["low"] <= steps["medium"] == steps["high"] // 2  # the tiny model has no settings for drafts
    assert asked_of(b'{"prompt": "a cat", "quality": "low"}', "key").request.parameters == {"draft": True, "images": 1}


def test_a_stream_shows_the_picture_as_it_forms(client: openai.OpenAI, shown: threading.Event) -> None:
    asked: dict[str, Any] = {"prompt": "a cat", "size": SIZE, "extra_body": {"steps": 6, "seed": 9}}
    events = followed(client.images.generate(**asked, stream=True, partial_images=2), shown)
    kinds = [event.type for event in events]
    assert kinds[-1] == "image_generation.completed"
    assert set(kinds[:-1]) == {"image_generation.partial_image"}
    assert 1 <= len(kinds) - 1 <= 2  # the newest takes the place of one that nobody has read yet
    for event in events:
        assert Image.open(io.BytesIO(bytes_of(event))).format == "PNG"
    plain = client.images.generate(**asked)
    assert bytes_of(events[-1]) == bytes_of((plain.data or [])[0])


def test_the_asynchronous_client(server: BackgroundServer) -> None:
    async def draw() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{address(server)}/v1", api_key="none", timeout=WAIT_S) as client:
            made = await client.images.generate(prompt="a cat", **SMALL)
            stream = await client.images.generate(prompt="a cat", stream=True, **SMALL)
            return [event.type async for event in stream] * len(made.data or ())

    assert asyncio.run(draw()) == ["image_generation.completed"]


def test_models_by_their_own_name_and_by_those_of_clients(client: openai.OpenAI) -> None:
    (model,) = client.models.list().data
    assert client.models.retrieve("dall-e-3").id == client.models.retrieve(model.id).id == model.id
    for name in (model.id, "gpt-image-1"):
        assert client.images.generate(prompt="a cat", model=name, **SMALL).data
    with pytest.raises(openai.NotFoundError) as refused:
        client.images.generate(prompt="a cat", model="flux-9", **SMALL)
    assert (refused.value.param, refused.value.code) == ("model", "model_not_found")


def test_a_repeated_request_is_one_job(server: BackgroundServer, http: httpx.Client) -> None:
    def jobs(headers: Any, **fields: Any) -> str:
        answer = http.post("/v1/images/generations", json=ASKED | fields, headers=headers)
        assert answer.status_code == 200, answer.text
        return str(answer.headers["x-salon-jobs"])

    named = {b"idempotency-key": "order 66 / ä".encode()}
    assert jobs(named) == jobs(named)
    answer = http.post("/v1/images/generations", json=ASKED | {"n": 2}, headers=named)
    assert answer.status_code == 409
    assert answer.headers["x-should-retry"] == "false"
    first = jobs({}, seed=11)
    assert jobs({"x-stainless-retry-count": "1"}, seed=11) == first
    assert jobs({}, seed=11) != first
    assert jobs({"x-stainless-retry-count": "1"}, seed=12) != first
