"""Kinds of jobs that make something of a picture: what they ask the engine for, and what becomes of its pixels."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from salon.bounds import GRID
from salon.engine.engine import Engine
from salon.engine.errors import SpecError
from salon.engine.info import ModelInfo
from salon.engine.projection import halved
from salon.engine.spec import GenerationSpec
from salon.engine.start import Start
from salon.parameters.job_request import JobRequest, Source
from salon.scheduler.plans import Kind
from salon.scheduler.tickets import Lane
from salon.studio.kinds import Asked, Input, kind_of
from salon.studio.references import digest_of
from salon.studio.service.recipe_files import encode_png, read_png
from salon.studio.service.service import Service
from salon.studio.workers.worker import info_of

from ..conftest import BACKEND
from .conftest import Serve, ended
from .conftest import request as small

SOURCE = Source(job="a", index=1)
DIGEST = "ab" * 32
PRICES = {"reroll": Kind.GRID, "take": Kind.TAKE_ONE, "upscale": Kind.UPSCALE, "enhance": Kind.GRID}


@pytest.fixture(scope="module")
def model(tiny: Path) -> ModelInfo:
    return info_of(Engine.load(tiny, backend=BACKEND, threads=1))


def spec_of(model: ModelInfo, kind: str, prompt: str = "", source_kind: str = "imagine", **said: Any) -> GenerationSpec:
    """Ask a kind for the spec of a picture of 16 x 16 pixels that was drawn with seed 1."""
    parent = model.make_spec("cat", width=16, height=16, steps=4, seed=1, images=2)
    request = JobRequest(key="k", prompt=prompt, kind=kind, sources=(SOURCE,), parameters=said)
    start = Start("cd" * 32) if source_kind == "upscale" else None
    if start is not None:
        parent = model.make_spec("cat", width=16, height=16, steps=4, seed=1, start=start)
    picture = Input(source=SOURCE, digest=DIGEST, width=16, height=16, kind=source_kind, spec=parent)
    asked = Asked(request=request, lane=Lane.FAST, inputs=(picture,))
    found = kind_of(request)
    made = found.spec(asked, model)
    assert found.work(asked, made, model).kind is PRICES.get(kind, Kind.VARIATION)
    assert found.stages(made, model) == ()
    return made


def own(model: ModelInfo, kind: str, prompt: str, size: tuple[int, int], **said: Any) -> GenerationSpec:
    """Ask a kind for the spec of a picture without a recipe. The model's default size is 16 x 16, in tokens of 4."""
    request = JobRequest(key="k", prompt=prompt, kind=kind, sources=(Source(digest=DIGEST),), parameters=said)
    picture = Input(source=request.sources[0], digest=DIGEST, width=size[0], height=size[1])
    return kind_of(request).spec(Asked(request=request, lane=Lane.FAST, inputs=(picture,)), model)


@pytest.mark.parametrize(
    ("size", "canvas", "place"),
    [
        ((16, 16), (16, 16), (4, 4, 8, 8)),
        ((16, 24), (16, 24), (4, 6, 8, 12)),  # from half to twice the default area, in whole tokens: as it is
        ((50, 20), (24, 12), (5, 3, 15, 6)),  # the nearest proportions, of which it covers its part
        ((2000, 2000), (16, 16), (4, 4, 8, 8)),
        ((8, 8), (16, 16), (4, 4, 8, 8)),
    ],
)
def test_a_picture_without_a_recipe_is_fitted(
    model: ModelInfo, size: tuple[int, int], canvas: tuple[int, int], place: tuple[int, int, int, int]
) -> None:
    made = own(model, "zoom", "a cat", size)
    assert made.start is not None
    assert (made.width, made.height) == canvas
    assert made.start.place == place
    assert (made.prompt, made.steps, made.images) == ("a cat", model.defaults["steps"], 4)
    masked = own(model, "region", "a cat", size, mask=DIGEST)
    assert (masked.width, masked.height) == (own(model, "vary", "a cat", size).width, canvas[1]) == canvas
    panned = own(model, "pan", "a cat", size, side="down")
    assert panned.start is not None
    assert panned.width == canvas[0]
    assert panned.height > canvas[1]
    assert panned.start.place is not None
    assert panned.start.place[2] >= canvas[0]


def test_a_picture_without_a_recipe_needs_words_but_for_what_is_near_to_it(model: ModelInfo) -> None:
    near = own(model, "vary", " ", (16, 16))
    assert (near.prompt, near.start is not None and near.start.strength) == ("", 0.5)
    for kind in ("region", "zoom", "pan"):
        with pytest.raises(SpecError, match="prompt: got no words for picture abab.*which has no recipe, allowed some"):
            own(model, kind, " ", (16, 16), **({"mask": DIGEST} if kind == "region" else {}))
    with pytest.raises(SpecError, match="source: got .*allowed a picture that Salon made"):
        own(model, "reroll", "a cat", (16, 16))


def test_what_is_made_of_a_picture_that_tiles_does_not_tile(model: ModelInfo) -> None:
    parent = model.make_spec("cat", width=16, height=16, steps=4, seed=1, tile=True)
    request = JobRequest(key="k", prompt="", kind="vary", sources=(SOURCE,), parameters={})
    picture = Input(source=SOURCE, digest=DIGEST, width=16, height=16, spec=parent)
    assert not kind_of(request).spec(Asked(request=request, lane=Lane.FAST, inputs=(picture,)), model).tile


def test_what_starts_from_a_picture_is_of_its_whole_size_at_once(model: ModelInfo) -> None:
    parent = model.make_spec("cat", width=16, height=16, steps=4, seed=1, progressive=50)
    picture = Input(source=SOURCE, digest=DIGEST, width=16, height=16, spec=parent)
    for kind, steps in (("vary", 0), ("upscale", 0), ("take", 0), ("reroll", 2)):
        request = JobRequest(key="k", prompt="", kind=kind, sources=(SOURCE,), parameters={})
        made = kind_of(request).spec(Asked(request=request, lane=Lane.FAST, inputs=(picture,)), model)
        assert made.small_steps == steps, kind


def test_a_variation_starts_from_its_picture(model: ModelInfo) -> None:
    subtle, strong = spec_of(model, "vary"), spec_of(model, "vary", strong=True)
    assert (subtle.prompt, subtle.images, subtle.steps, subtle.width) == ("cat", 4, 4, 16)
    assert subtle.start is not None
    assert strong.start is not None
    assert subtle.start.picture == strong.start.picture == DIGEST
    assert 0 < subtle.start.strength < strong.start.strength < 1
    other = spec_of(model, "vary", "a dog", images=1, seed=9)
    assert (other.prompt, other.images, other.seed) == ("a dog", 1, 9)


def test_zoom_and_pan_place_their_picture(model: ModelInfo) -> None:
    def placed(kind: str, **said: Any) -> tuple[int, int, tuple[int, int, int, int] | None]:
        made = spec_of(model, kind, **said)
        assert made.start is not None
        return made.width, made.height, made.start.place

    assert placed("zoom") == (16, 16, (4, 4, 8, 8))
    assert placed("zoom", zoom=1.6) == (16, 16, (3, 3, 10, 10))
    assert placed("pan") == (24, 16, (0, 0, 16, 16))
    assert placed("pan", side="left") == (24, 16, (8, 0, 16, 16))
    assert placed("pan", side="up") == (16, 24, (0, 8, 16, 16))
    assert placed("pan", side="down") == (16, 24, (0, 0, 16, 16))
    assert spec_of(model, "pan", image_strength=0.9).start == Start(DIGEST, 0.9, None, 8, (0, 0, 16, 16))


def test_an_edit_places_its_picture_on_any_canvas(model: ModelInfo) -> None:
    def edited(**said: Any) -> tuple[int, int, Start | None]:
        made = spec_of(model, "edit", **said)
        return made.width, made.height, made.start

    assert edited(place=(-4, 2, 8, 9)) == (16, 16, Start(DIGEST, 0.45, None, 8, (-4, 2, 8, 9)))
    assert edited(mask=DIGEST) == (16, 16, Start(DIGEST, 1.0, DIGEST, 8))
    assert edited(aspect=(4, 1)) == (32, 8, Start(DIGEST, 0.45, None, 8, (12, 0, 8, 8))), "all of it, in the middle"
    both = edited(aspect=(1, 4), place=(0, 0, 8, 8), mask=DIGEST, feather=2, image_strength=0.6)
    assert both == (8, 32, Start(DIGEST, 0.6, DIGEST, 2, (0, 0, 8, 8)))
    brought = own(model, "edit", "a cat", (50, 20), aspect=(1, 1))
    assert brought.start == Start(DIGEST, 0.45, None, 8, (0, 5, 16, 6))


def test_a_retexture_starts_from_the_shapes_of_its_picture(model: ModelInfo) -> None:
    made = spec_of(model, "retexture", "a cat, woodcut")
    assert (made.prompt, made.images) == ("a cat, woodcut", 4)
    assert made.start == Start(DIGEST, made.start.strength if made.start else 0.0, flat=True)
    assert own(model, "retexture", "a cat", (50, 20), image_strength=0.7).start == Start(DIGEST, 0.7, flat=True)
    with pytest.raises(SpecError, match="prompt: got no words for 'retexture', allowed those of the new surface"):
        spec_of(model, "retexture")
    with pytest.raises(SpecError, match="flat: got True, allowed .* false of a picture whose pixels stay"):
        Start(DIGEST, 0.5, DIGEST, flat=True)


def test_an_upscale_is_exactly_twice_as_large(model: ModelInfo) -> None:
    subtle, creative = spec_of(model, "upscale"), spec_of(model, "upscale", creative=True)
    for made in (subtle, creative):
        assert (made.prompt, made.width, made.height, made.images) == ("cat", 32, 32, 1)
        assert made.start is not None
        assert (made.start.picture, made.start.enlarge) == (DIGEST, 2)
    assert subtle.start is not None
    assert creative.start is not None
    assert (subtle.start.project, creative.start.project) == (True, False)
    assert subtle.start.strength < creative.start.strength
    assert spec_of(model, "upscale", image_strength=0.1, images=2).images == 2
    assert own(model, "upscale", "a cat", (30, 21)).width == 64  # 32 x 20 in whole tokens, and then twice that
    assert own(model, "upscale", "a cat", (30, 21)).height == 40
    with pytest.raises(SpecError, match="source: got 513 x 520 pixels, allowed at most 262,144 pixels, .* save it sma"):
        own(model, "upscale", "a cat", (513, 520))


@pytest.mark.parametrize("kind", ["upscale", "enhance"])
def test_what_is_made_of_a_draft_has_full_quality(model: ModelInfo, kind: str) -> None:
    model = msgspec.structs.replace(model, draft={"steps": 1})
    drafted, plain = model.make_spec("cat", draft=True, seed=1, images=4), model.make_spec("cat", steps=2, seed=1)
    request = JobRequest(key="k", prompt="", kind=kind, sources=(SOURCE,), parameters={})
    picture = Input(source=SOURCE, digest=DIGEST, width=16, height=16, spec=drafted)
    asked = Asked(request=request, lane=Lane.FAST, inputs=(picture,))
    made = kind_of(request).spec(asked, model)
    assert made.steps == model.defaults["steps"] > 1
    assert (made.prompt, made.images) == ("cat", 1)
    assert made.start is not None
    assert 0 < made.start.strength < 1
    assert kind_of(request).work(asked, made, model).kind is PRICES[kind]
    if kind == "enhance":
        other = Asked(request=request, lane=Lane.FAST, inputs=(replace(picture, spec=plain),))
        with pytest.raises(SpecError, match=r"source: got .* no draft, allowed .* --draft; use vary .* or upscale"):
            kind_of(request).spec(other, model)


@pytest.mark.parametrize(
    ("kind", "said", "words"),
    [
        ("region", {}, "--mask: got none, allowed a picture, white where pixels shall be new; name its file"),
        ("vary", {"image": DIGEST}, "--image: got it beside the picture of a job, allowed one picture to start from"),
        ("zoom", {"strong": True}, "--strong: got one for 'zoom', allowed only for vary; leave it out"),
        ("vary", {"side": "up"}, "--side: got one for 'vary', allowed only for pan"),
        ("upscale", {"stop": 50}, "--stop: got one for 'upscale', allowed"),
        ("upscale", {"aspect": (2, 1)}, "--ar: got one for 'upscale', allowed"),
        ("edit", {}, "edit: got none of --place, --ar and --mask, allowed at least one of them; say where it lies"),
        ("edit", {"place": (16, 0, 4, 4)}, "place: got (16, 0, 4, 4), allowed one that lies on the canvas of 16 x 16"),
        ("vary", {"place": (0, 0, 4, 4)}, "--place: got one for 'vary', allowed only for edit; leave it out"),
        ("retexture", {"aspect": (2, 1)}, "--ar: got one for 'retexture', allowed"),
        ("edit", {"place": (0, 0, 4, 4), "image": DIGEST}, "--image: got it beside the picture of a job"),
        ("enhance", {"draft": True}, "--draft: got one for 'enhance', allowed"),
        ("take", {"seed": 3}, "--seed: got one for 'take', allowed none there; leave it out"),
        ("imagine", {"zoom": 1.5}, "sources: got 1 for 'imagine', allowed 0"),
    ],
)
def test_what_a_kind_refuses(model: ModelInfo, kind: str, said: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError) as info:
        spec_of(model, kind, **said)
    assert str(info.value).startswith(words)


@pytest.mark.parametrize(("kind", "said"), [("region", {"mask": DIGEST}), ("upscale", {}), ("take", {})])
def test_what_is_refused_of_an_upscale_names_its_parent(model: ModelInfo, kind: str, said: dict[str, Any]) -> None:
    with pytest.raises(
        SpecError, match=r"source: got picture 1 of job 'a', an upscale, .*name its parent, picture cdcd"
    ):
        spec_of(model, kind, source_kind="upscale", **said)


def test_an_edit_keeps_what_it_neither_leaves_free_nor_erases(serve: Serve) -> None:
    """Of a picture that was brought, moved to the left by half: on the right all is new, and so is what is erased."""
    brought = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    mask = np.zeros((16, 16), np.uint8)
    mask[:4] = 255

    async def work(service: Service) -> None:
        digests = []
        for pixels in (brought, mask):
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "PNG")
            digests.append(digest_of(buffer.getvalue()))
            await service.jobs.references.add("local", digests[-1], buffer.getvalue())
        said = {"mask": digests[1], "feather": 0, "images": 1, "place": (-8, 0, 16, 16), "steps": 4}
        source = Source(digest=digests[0])
        job, _ = await service.submit("local", small("a", "a cat", kind="edit", sources=(source,), parameters=said))
        record = await ended(service, job.job)
        assert (record.state, record.kind, record.sources) == ("done", "edit", (source,))
        shown = next(picture for picture in record.pictures if picture.index == 0)
        after = read_png(io.BytesIO(service.context.blobs.get(shown.digest)))[0]
        np.testing.assert_array_equal(after[4:, :8], brought[4:, 8:])
        assert (after[:4, :8] != brought[:4, 8:]).any()

    serve(work)


def test_outside_of_its_mask_a_region_is_the_picture_itself(serve: Serve) -> None:
    """And the job knows where it comes from."""

    async def work(service: Service) -> None:
        first, _ = await service.submit("local", small("a", "a red apple", images=2))
        pictures = (await ended(service, first.job)).pictures
        before = read_png(io.BytesIO(service.context.blobs.get(pictures[2].digest)))[0]
        mask = np.zeros((16, 16), np.uint8)
        mask[:, 8:] = 255
        buffer = io.BytesIO()
        Image.fromarray(mask).save(buffer, "PNG")
        await service.jobs.references.add("local", digest_of(buffer.getvalue()), buffer.getvalue())
        said = {"mask": digest_of(buffer.getvalue()), "feather": 0, "images": 1}
        source = Source(job=first.job, index=1)
        job, _ = await service.submit("local", small("b", "", kind="region", sources=(source,), parameters=said))
        record = await ended(service, job.job)
        assert (record.state, record.kind, record.sources) == ("done", "region", (source,))
        shown = next(picture for picture in record.pictures if picture.index == 0)
        after = read_png(io.BytesIO(service.context.blobs.get(shown.digest)))[0]
        np.testing.assert_array_equal(after[:, :8], before[:, :8])
        assert (after[:, 8:] != before[:, 8:]).any()

    serve(work)


def test_a_picture_taken_out_is_the_very_same(serve: Serve) -> None:
    """It costs nothing, takes no step, and its recipe says where it is from. Words and files without a recipe are
    refused."""

    async def work(service: Service) -> None:
        first, _ = await service.submit("local", small("a", "a red apple", images=2, parameters=None))
        pictures = {one.index: one for one in (await ended(service, first.job)).pictures}
        before, parent = read_png(io.BytesIO(service.context.blobs.get(pictures[1].digest)))
        source = Source(job=first.job, index=1)
        asked = small("b", "", kind="take", sources=(source,), parameters={})
        planned = await service.plan("local", msgspec.structs.replace(asked, language=True))
        assert [(one.cost_ms, one.list_ms) for one in planned.jobs] == [(0, 0)]
        job, _ = await service.submit("local", asked)
        record = await ended(service, job.job)
        assert (record.state, record.kind, record.sources, record.steps) == ("done", "take", (source,), 0)
        assert record.charged_ms == 0
        shown = {one.index: one for one in record.pictures}
        assert sorted(shown) == [GRID, 0]
        after, recipe = read_png(io.BytesIO(service.context.blobs.get(shown[0].digest)))
        np.testing.assert_array_equal(after, before)
        assert recipe.pixels == parent.pixels
        assert recipe.spec.start == Start(pictures[1].digest, 0.0)
        assert (recipe.spec.prompt, recipe.spec.seed, recipe.spec.images) == ("a red apple", 0, 1)
        for more, words in (
            ({"prompt": "a dog"}, "prompt: got 'a dog' for 'take', allowed none there"),
            ({"sources": (Source(job=first.job),)}, "source: got job .* as a whole, allowed one of its pictures"),
            ({"sources": (Source(job=first.job, index=2),)}, "source: got picture 2 of job .*, allowed 0 to 1"),
        ):
            with pytest.raises(SpecError, match=words):
                await service.submit("local", msgspec.structs.replace(asked, key="c", **more))

    serve(work)


def test_an_upscale_brought_down_is_its_picture(serve: Serve) -> None:
    """Again with another seed it has other detail; of itself none is made."""

    async def work(service: Service) -> None:
        first, _ = await service.submit("local", small("a", "a red apple", images=1, parameters=None))
        (before,) = [one for one in (await ended(service, first.job)).pictures if one.index == 0]
        small_one = read_png(io.BytesIO(service.context.blobs.get(before.digest)))[0]
        source, made = Source(job=first.job, index=0), []
        for seed in (1, 2):
            asked = small(f"b{seed}", "", kind="upscale", sources=(source,), parameters={"seed": seed, "steps": 4})
            record = await ended(service, (await service.submit("local", asked))[0].job)
            assert (record.state, record.kind, record.sources) == ("done", "upscale", (source,))
            (shown,) = [one for one in record.pictures if one.index == 0]
            pixels = read_png(io.BytesIO(service.context.blobs.get(shown.digest)))[0]
            assert pixels.shape == (32, 32, 3)
            assert np.sqrt(((halved(pixels) - small_one) ** 2).mean()) < 4.5  # 35 dB
            made.append(pixels)
        assert (made[0] != made[1]).any()
        again = small("c", "", kind="upscale", sources=(Source(job=record.job, index=0),), parameters={})
        with pytest.raises(SpecError, match=f"an upscale, .* name its parent, picture {before.digest[:12]}"):
            await service.submit("local", again)

    serve(work)


def test_a_picture_is_made_again_from_its_file(serve: Serve) -> None:
    """To the same pixels, at the price of what it was; one of another model is refused with both hashes."""

    async def work(service: Service) -> None:
        async def brought(file: bytes) -> JobRequest:
            digest = digest_of(file)
            await service.jobs.references.add("local", digest, file)
            return small(digest[:8], "", kind="reproduce", sources=(Source(digest=digest),), parameters={})

        first, _ = await service.submit("local", small("a", "a red apple", images=2, seed=7, parameters=None))
        shown = {one.index: one for one in (await ended(service, first.job)).pictures}
        files = {index: service.context.blobs.get(one.digest) for index, one in shown.items()}
        for index in (1, GRID):
            job, _ = await service.submit("local", await brought(files[index]))
            record = await ended(service, job.job)
            assert (record.state, record.kind) == ("done", "reproduce")
            assert {one.index: one.digest for one in record.pictures} == {k: one.digest for k, one in shown.items()}
        upscale = small("u", "", kind="upscale", sources=(Source(job=first.job, index=0),), parameters={})
        large = await ended(service, (await service.submit("local", upscale))[0].job)
        file = service.context.blobs.get(next(one.digest for one in large.pictures if one.index == 0))
        for source, kind in ((files[0], "grid"), (file, "upscale")):
            again = await service.prepare("local", await brought(source), b"")
            assert again.work.kind == kind
        pixels, recipe = read_png(io.BytesIO(files[0]))
        model = msgspec.structs.replace(recipe.model, digest="ab" * 32)
        other = await brought(encode_png(pixels, msgspec.structs.replace(recipe, model=model)))
        with pytest.raises(
            SpecError, match=f"recipe: got one of .*{'ab' * 32}.*, allowed one of .*{recipe.model.digest}"
        ):
            await service.submit("local", other)
        start = replace(recipe.spec, start=Start("ef" * 32, 0.5))
        lost = await brought(encode_png(pixels, msgspec.structs.replace(recipe, spec=start)))
        with pytest.raises(SpecError, match=f"start picture: got picture {'ef' * 32}, which is not here.*bring"):
            await service.submit("local", lost)
        of_job = msgspec.structs.replace(other, key="j", sources=(Source(job=first.job, index=0),))
        with pytest.raises(
            SpecError, match="source: got picture 0 of job .*, allowed a picture's file, with its recipe"
        ):
            await service.submit("local", of_job)
        plain = io.BytesIO()
        Image.fromarray(pixels).save(plain, "PNG")
        with pytest.raises(SpecError, match="source: got .*allowed a picture that Salon made"):
            await service.submit("local", await brought(plain.getvalue()))

    serve(work)
