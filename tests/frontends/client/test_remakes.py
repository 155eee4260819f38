"""What a client makes of pictures: `job[0].vary("strong")` and its kind, of jobs and of files that it brings."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from salon.engine.info import ModelIdentity
from salon.engine.spec import GenerationSpec
from salon.frontends.client.errors import Invalid
from salon.frontends.client.fake import FakeServer
from salon.frontends.wire import messages as m
from salon.studio.service.recipe import Recipe, pixel_hash
from salon.studio.service.recipe_files import encode_png

from .helpers import DONE_S, Connect


def test_a_picture_of_a_job(server: FakeServer, connect: Connect) -> None:
    client = connect(server.address)
    job = client.imagine("a cat", images=2, seed=7)
    job.wait(timeout_s=DONE_S)
    picture = job[1]
    assert picture.file() == job.picture(1)
    assert job[-1].source == picture.source == m.Source(job=job.id, index=1)
    for index in (2, -3):
        with pytest.raises(IndexError, match=f"picture: got {index}, allowed 0 to 1; choose one of these"):
            job[index]


def test_each_kind_by_its_method(server: FakeServer, connect: Connect) -> None:
    client = connect(server.address)
    job = client.imagine("a cat", images=1, steps=4, width=64, height=64)
    job.wait(timeout_s=DONE_S)
    buffer = io.BytesIO()
    Image.new("L", Image.open(io.BytesIO(job[0].file())).size, 255).save(buffer, "PNG")
    mask = buffer.getvalue()
    made = {
        "vary": [job[0].vary(), job[0].vary("strong", "a dog", images=1)],
        "region": [job[0].region(mask, "a hat"), job[0].region(client.add_reference(mask))],
        "zoom": [job[0].zoom(1.5), job[0].zoom(lane="relax")],
        "pan": [job[0].pan("left")],
        "reroll": [job.reroll(), job.reroll("a dog", seed=7, key="k")],
    }
    for kind, jobs in made.items():
        for one in jobs:
            info = one.wait(timeout_s=DONE_S)
            assert (info.kind, info.sources[0].job) == (kind, job.id)
    assert [one.info.prompt for one in made["vary"]] == ["a cat", "a dog"]
    assert [one.info.images for one in made["vary"]] == [4, 1]
    assert made["zoom"][1].info.asked_lane == "relax"
    assert made["pan"][0].info.width > made["vary"][0].info.height
    assert client.make("reroll", "a dog", sources=[job.id], seed=7, key="k").id == made["reroll"][1].id


def test_a_picture_that_is_brought(server: FakeServer, connect: Connect, tmp_path: Path) -> None:
    """It says itself how it was drawn."""
    client = connect(server.address)
    pixels = np.zeros((64, 64, 3), np.uint8)
    path = tmp_path / "cat.png"
    recipe = Recipe(
        salon="0.1.0",
        kind="image",
        image=0,
        spec=GenerationSpec(prompt="a cat", width=64, height=64),
        clauses={},
        warnings=(),
        model=ModelIdentity(name="mini", version="1", digest="ab" * 32, components={}),
        backend="cpu/avx2",
        dtype="float32",
        pixels=pixel_hash(pixels),
    )
    path.write_bytes(encode_png(pixels, recipe))
    brought = client.picture(path)
    assert brought.vary(images=1).wait(timeout_s=DONE_S).prompt == "a cat"
    with pytest.raises(Invalid, match="picture: got one that was brought, allowed one of a job"):
        brought.file()


def test_what_is_wrong_is_refused(server: FakeServer, connect: Connect) -> None:
    client = connect(server.address)
    job = client.imagine("a cat", images=1, width=64, height=64)
    job.wait(timeout_s=DONE_S)
    before = len(client.jobs().jobs)
    for message, call in (
        ("vary: got 'wild', allowed subtle or strong", lambda: job[0].vary("wild")),
        ("side: got 'north'", lambda: job[0].pan("north")),
        ("zoom: got 3", lambda: job[0].zoom(3)),
        ("parameters: got 'colour'", lambda: job[0].vary(colour="red")),
        ("No such file", lambda: job[0].region("no-such-file.png")),
    ):
        with pytest.raises(Invalid, match=message):
            call()
    assert len(client.jobs().jobs) == before


def test_a_blend_of_pictures_of_jobs_and_files(server: FakeServer, connect: Connect) -> None:
    client = connect(server.address)
    job = client.imagine("a cat", images=2, width=64, height=64)
    job.wait(timeout_s=DONE_S)
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(buffer, "PNG")
    first = getattr(job[0], "_inner", job[0])
    blend = client.blend(first, buffer.getvalue(), images=1)
    info = blend.wait(timeout_s=DONE_S)
    assert (info.kind, info.images, info.sources[0], bool(info.sources[1].digest)) == ("blend", 1, first.source, True)
    with pytest.raises(Invalid, match="sources: got 1 for 'blend', allowed 2 to 5"):
        client.blend(first)


def test_only_a_picture_with_a_recipe_is_made_again(server: FakeServer, connect: Connect) -> None:
    """`test_commands_server` makes one again: the pictures of this server have no recipe."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    with pytest.raises(Invalid, match="picture: got no recipe inside, allowed a picture that Salon made"):
        connect(server.address).reproduce(buffer.getvalue())
