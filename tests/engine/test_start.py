"""Generations that start from a picture: how much of it is left, what a mask keeps, and who holds what."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from salon.engine import noise, pictures, start_pictures
from salon.engine.engine import Engine
from salon.engine.errors import PromptError, SpecError
from salon.engine.evaluations import evaluations_of
from salon.engine.generation import Generation, ParkedGeneration, State
from salon.engine.regions import compose, cover_of, fresh_tokens
from salon.engine.spec import AdapterUse, GenerationSpec
from salon.engine.start import PictureForm, PictureUse, Start, forms_of, start_of
from salon.engine.start_pictures import StartPictures

from .conftest import add_pictures

PICTURE, OTHER, MASK = "a" * 64, "b" * 64, "c" * 64


def spec(start: Start | None = None, **fields: Any) -> GenerationSpec:
    """A small request: 4 x 4 tokens, 10 steps."""
    values: dict[str, Any] = {"prompt": "a red apple, 3d, on teal", "width": 16, "height": 16, "steps": 10, "seed": 0}
    return GenerationSpec(**(values | fields), start=start)


def drawn(engine: Engine, request: GenerationSpec) -> Any:
    """The pictures of a request."""
    generation = engine.open(add_pictures(engine, request))
    while generation.state is State.RUNNING:
        engine.step([generation])
    made = engine.finish(generation)
    engine.close(generation)
    assert not engine.start_pictures.pinned
    return made


def source(engine: Engine, request: GenerationSpec) -> Any:
    """The pixels that a request starts from."""
    add_pictures(engine, request)
    return engine.start_pictures.pixels(request)


def distance(one: Any, other: Any) -> float:
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


# ---- strength --------------------------------------------------------------------------------------------------------


def test_strength_1_is_no_picture_at_all_and_0_is_the_picture_itself(engine: Engine) -> None:
    np.testing.assert_array_equal(drawn(engine, spec(Start(PICTURE, 1.0))), drawn(engine, spec()))
    for fields in ({}, {"solver": "heun"}, {"images": 2}, {"guidance_scale": 1.0}):
        request = spec(Start(PICTURE, 0.0), **fields)
        generation = engine.open(add_pictures(engine, request))
        assert (generation.state, generation.evaluations, generation.progress, generation.step) == ("done", (), 1.0, 0)
        for made in (engine.finish(generation), engine.preview(generation)):
            assert len(made) == request.images
            for image in made:
                np.testing.assert_array_equal(image, source(engine, request))
        np.testing.assert_array_equal(engine.decode(generation, 0), source(engine, request))
        resumed = engine.resume(engine.park(generation))
        assert resumed.state is State.DONE
        np.testing.assert_array_equal(engine.finish(resumed)[0], source(engine, request))
        engine.close(resumed)


def test_the_more_strength_the_further_from_the_picture(engine: Engine) -> None:
    """Measured against what the autoencoder makes of the picture, whose weights are random here."""
    request = spec(Start(PICTURE, 0.1))
    codec = engine.model.denoiser.codec
    tokens = pictures.encode(engine.ops, codec, source(engine, request))
    (copy,) = pictures.decode(engine.ops, codec, engine.ops.array(tokens, "float32"), 1, (4, 4), 1)
    far = [distance(drawn(engine, spec(Start(PICTURE, strength)))[0], copy) for strength in (0.1, 0.3, 0.6, 1.0)]
    assert sorted(far) == far
    assert len(set(far)) == 4


def test_a_generation_begins_between_picture_and_noise(engine: Engine) -> None:
    request = spec(Start(PICTURE, 0.3), images=2)
    generation = engine.open(add_pictures(engine, request))
    sigma = np.float32(generation.evaluations[0].sigma)
    assert 0 < sigma < 1
    clean = pictures.encode(engine.ops, engine.model.denoiser.codec, source(engine, request))
    for image, latents in enumerate(np.split(engine.ops.numpy(generation.latents), 2)):
        want = (1 - sigma) * clean + sigma * noise.normal(0, image, 0, 16, 16)
        np.testing.assert_allclose(latents, want, rtol=0, atol=1e-6)
    engine.close(generation)


def test_several_pictures_are_a_mean(engine: Engine) -> None:
    request = spec(Start(PICTURE, 0.3, others=(OTHER, MASK)), images=2)
    assert [(form.digest, form.use) for form in forms_of(request)] == [
        (digest, PictureUse.START) for digest in (PICTURE, OTHER, MASK)
    ]
    generation = engine.open(add_pictures(engine, request))
    assert sum(engine.start_pictures.pinned.values()) == 3
    sigma = np.float32(generation.evaluations[0].sigma)
    codec = engine.model.denoiser.codec
    alone = [source(engine, spec(Start(digest, 0.3))) for digest in (PICTURE, OTHER, MASK)]
    clean = sum(pictures.encode(engine.ops, codec, pixels).astype(np.float64) for pixels in alone) / 3
    for image, latents in enumerate(np.split(engine.ops.numpy(generation.latents), 2)):
        want = (1 - sigma) * clean + sigma * noise.normal(0, image, 0, 16, 16)
        np.testing.assert_allclose(latents, want, rtol=0, atol=1e-6)
    parked = engine.park(generation)
    again = engine.resume(msgspec.msgpack.decode(msgspec.msgpack.encode(parked), type=ParkedGeneration))
    while again.state is State.RUNNING:
        engine.step([again])
    made = engine.finish(again)
    engine.close(again)
    np.testing.assert_array_equal(made, drawn(engine, request))


@pytest.mark.parametrize(
    "fields",
    [{"others": (PICTURE,)}, {"others": (OTHER, OTHER)}, {"others": ("x",)}, {"mask": MASK}, {"strength": 0.0},
     {"place": (0, 0, 8, 8)}],
)  # fmt: skip
def test_what_several_pictures_cannot_have(fields: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="start picture"):
        Start(PICTURE, **({"others": (OTHER,)} | fields))


def test_a_start_may_have_no_words(engine: Engine) -> None:
    request = spec(Start(PICTURE, 0.5), prompt="  ")
    assert request.prompt == ""
    made = drawn(engine, request)
    assert distance(made[0], drawn(engine, spec(Start(PICTURE, 0.5)))[0]) > 0
    with pytest.raises(PromptError):
        spec(prompt="")


@pytest.mark.parametrize(
    ("strength", "steps", "taken"),
    [
        (0.0, 10, 0),
        (0.01, 10, 1),
        (0.3, 10, 3),
        (0.6, 10, 6),
        (0.99, 10, 9),
        (1.0, 10, 10),
        (0.6, 1, 1),
        (0.7, 100, 70),
    ],
)
def test_the_end_of_the_table_is_taken(engine: Engine, strength: float, steps: int, taken: int) -> None:
    """One function says how many evaluations there are; of Heun's method two a step, but for the last one."""
    sizes = engine.model.architecture
    request = spec(Start(PICTURE, strength), steps=steps)
    assert request.steps_taken == taken
    table, whole = evaluations_of(request, sizes), evaluations_of(dataclasses.replace(request, start=None), sizes)
    assert [(e.sigma, e.a) for e in table] == [(e.sigma, e.a) for e in whole[steps - taken :]]
    assert [e.step for e in table] == list(range(taken))
    heun = evaluations_of(dataclasses.replace(request, solver="heun"), sizes)
    assert len(heun) == max(0, 2 * taken - 1)
    assert not heun or not heun[0].from_base


# ---- masks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{}, {"solver": "heun"}, {"images": 2, "guidance_scale": 1.0}, {"width": 20}])
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_outside_of_the_mask_every_pixel_is_the_pictures(
    engine: Engine, strength: float, fields: dict[str, Any]
) -> None:
    request = spec(Start(PICTURE, strength, MASK, 2), **fields)
    made, picture = drawn(engine, request), source(engine, request)
    edge = max(1, request.width // 3) + 2
    for image in made:
        np.testing.assert_array_equal(image[:, edge:], picture[:, edge:])
        assert (image[:, : edge - 2] != picture[:, : edge - 2]).mean() > 0.5


def test_previews_keep_what_the_mask_keeps_and_end_as_the_picture(engine: Engine) -> None:
    request = spec(Start(PICTURE, 1.0, MASK), steps=3)
    generation = engine.open(add_pictures(engine, request))
    while generation.state is State.RUNNING:
        engine.step([generation])
        preview = engine.preview(generation)
        np.testing.assert_array_equal(preview[0][:, 5:], source(engine, request)[:, 5:])
    np.testing.assert_array_equal(preview, engine.finish(generation))
    np.testing.assert_array_equal(preview[0], engine.decode(generation, 0))
    engine.close(generation)


def test_tokens_outside_follow_the_picture_at_every_step(engine: Engine) -> None:
    """At the noise level of the moment, with the image's own noise; at the end without any."""
    request = spec(Start(PICTURE, 1.0, MASK), solver="heun", steps=3)
    generation = engine.open(add_pictures(engine, request))
    clean = pictures.encode(engine.ops, engine.model.denoiser.codec, source(engine, request))
    kept = np.tile([False, False, True, True], 4)  # of each row of tokens two have no new pixel
    while generation.state is State.RUNNING:
        sigma = np.float32(generation.evaluations[generation.position].next_sigma)
        engine.step([generation])
        latents = engine.ops.numpy(generation.latents)
        want = (1 - sigma) * clean + sigma * noise.normal(0, 0, 0, 16, 16)
        np.testing.assert_allclose(latents[kept], want[kept], rtol=0, atol=2e-6)
        assert np.abs(latents[~kept] - want[~kept]).min(axis=1).max() > 1e-3
    np.testing.assert_array_equal(latents[kept], clean[kept])
    engine.close(generation)


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_parked_at_any_step_and_resumed_elsewhere(
    engine: Engine, new_engine: Callable[..., Engine], solver: str
) -> None:
    request = spec(Start(PICTURE, 0.7, MASK, 1), steps=4, solver=solver, images=2)
    want, other = drawn(engine, request), new_engine()
    for position in range(len(evaluations_of(request, engine.model.architecture)) + 1):
        generation = engine.open(request)
        for _ in range(position):
            engine.step([generation])
        parked = ParkedGeneration.from_bytes(engine.park(generation).to_bytes())
        if not position:
            with pytest.raises(SpecError, match=f"start picture: got picture {PICTURE} at 16 x 16, which is not here"):
                other.resume(parked)
        add_pictures(other, request)
        resumed = other.resume(parked)
        while resumed.state is State.RUNNING:
            other.step([resumed])
        np.testing.assert_array_equal(other.finish(resumed), want)
        other.close(resumed)
    assert not engine.start_pictures.pinned
    assert not other.start_pictures.pinned


def test_a_place_leaves_the_rest_of_the_canvas_to_be_drawn(engine: Engine) -> None:
    request = spec(Start(PICTURE, 1.0, place=(4, 4, 8, 8)))
    made, canvas = drawn(engine, request)[0], source(engine, request)
    np.testing.assert_array_equal(made[4:12, 4:12], canvas[4:12, 4:12])
    around = np.ones((16, 16), bool)
    around[4:12, 4:12] = False
    assert (made[around] != canvas[around]).mean() > 0.5


def test_the_cover_of_a_mask_and_a_place() -> None:
    mask = np.zeros((6, 8), np.uint8)
    mask[:, :2] = 255
    mask[0, 7] = 100
    assert (cover_of(Start(PICTURE, 1, MASK), mask, (8, 6)) == mask).all()
    faded = cover_of(Start(PICTURE, 1, MASK, 3), mask, (8, 6))
    assert faded[5].tolist() == [255, 255, 191, 128, 64, 0, 0, 0]
    assert faded[0, 5:].tolist() == [50, 75, 100]
    both = cover_of(Start(PICTURE, 1, MASK, place=(1, -2, 9, 6)), mask, (8, 6))
    assert both[5].tolist() == [255] * 8
    assert both[1].tolist() == [255, 255, 0, 0, 0, 0, 0, 0]
    fresh = fresh_tokens(both, (3, 4))
    assert fresh[:, 0].tolist() == [1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 1, 1]
    for start, pixels in ((Start(PICTURE, 1, MASK), 0 * mask), (Start(PICTURE, 1, place=(0, 0, 8, 6)), None)):
        with pytest.raises(
            SpecError, match="(mask|place): got one that leaves nothing to draw, allowed some new pixels"
        ):
            cover_of(start, pixels, (8, 6))


def test_pixels_are_mixed_as_the_cover_says(engine: Engine) -> None:
    request = spec(Start(PICTURE, 1.0, MASK, 2), steps=1)
    generation = engine.open(add_pictures(engine, request))
    region = generation.region
    assert region is not None
    new = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3)).astype(np.uint8)
    mixed = compose(new, region)[0].astype(int)
    for x, cover in enumerate(region.cover[0].tolist()):
        want = (new[0, :, x] * float(cover) + region.pixels[:, x] * float(255 - cover)) / 255
        assert np.abs(mixed[:, x] - want).max() <= 0.5
    np.testing.assert_array_equal(mixed[:, region.cover[0] == 255], new[0][:, region.cover[0] == 255])
    engine.close(generation)


def test_a_failing_generation_with_a_mask_fails_alone(engine: Engine) -> None:
    from salon.engine.text.pipeline import TextEncoding

    request = spec(Start(PICTURE, 1.0, MASK), steps=2)
    broken = TextEncoding(np.zeros((3, 12), np.float32), np.full(12, 3e38, np.float32))
    failing = engine.open(add_pictures(engine, request), text=broken)
    good = engine.open(request)
    states = [report.state for report in engine.step([failing, good])]
    assert states == [State.FAILED, State.RUNNING]
    engine.close(failing)
    engine.step([good])
    made = engine.finish(good)
    engine.close(good)
    np.testing.assert_array_equal(made, drawn(engine, request))


# ---- what is kept ----------------------------------------------------------------------------------------------------


def test_what_is_not_there_is_refused_before_anything_is_opened(engine: Engine) -> None:
    request = spec(Start("d" * 64, 0.5, "e" * 64))
    with pytest.raises(SpecError, match=f"start picture: got picture {'d' * 64} at 16 x 16, which is not here"):
        engine.open(request)
    engine.add_picture(forms_of(request)[0], np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(SpecError, match=f"mask: got picture {'e' * 64} at 16 x 16, .*; call add_picture first"):
        engine.open(request)
    engine.add_picture(forms_of(request)[1], np.zeros((16, 16), np.uint8))
    with pytest.raises(SpecError, match="mask: got one that leaves nothing to draw"):
        engine.open(request)
    assert engine.num_open == 0
    assert not engine.start_pictures.pinned


@pytest.mark.parametrize(
    ("form", "pixels", "told"),
    [
        (PictureForm(PICTURE, PictureUse.START, (16, 16)), np.zeros((16, 12, 3), np.uint8), r"uint8 \[16, 12, 3\]"),
        (PictureForm(PICTURE, PictureUse.START, (16, 16)), np.zeros((16, 16, 3), np.float32), "got float32"),
        (
            PictureForm(PICTURE, PictureUse.START, (16, 16)),
            np.zeros((16, 16), np.uint8),
            r"allowed uint8 \[16, 16, 3\]",
        ),
        (
            PictureForm(MASK, PictureUse.MASK, (16, 16)),
            np.zeros((16, 16, 1), np.uint8),
            r"mask: got uint8 \[16, 16, 1\]",
        ),
        (PictureForm(PICTURE, PictureUse.START, (18, 16)), np.zeros((16, 18, 3), np.uint8), "multiples of 4"),
        (PictureForm(PICTURE, PictureUse.START), np.zeros((16, 16, 3), np.uint8), "size None"),
    ],
)
def test_pixels_that_do_not_fit_their_form(engine: Engine, form: PictureForm, pixels: Any, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        engine.add_picture(form, pixels)


def test_a_bounded_number_stays_and_what_is_used_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start_pictures, "NEWEST", 5)
    encoded = []

    def encode(pixels: Any) -> Any:
        encoded.append(int(pixels[0, 0, 0]))
        return np.zeros((1, 4), np.float32)

    kept = StartPictures(encode, 4, max_bytes=6 * 48)
    requests = [spec(Start(f"{i:064x}", 0.5), width=4, height=4) for i in range(12)]
    forms = [forms_of(request)[0] for request in requests]

    def add(i: int) -> None:
        kept.add(forms[i], np.full((4, 4, 3), i, np.uint8))

    add(0)
    kept.pin(requests[0])
    for i in range(1, 9):
        add(i)
    assert [i for i in range(9) if forms[i] in kept] == [0, 4, 5, 6, 7, 8]
    assert kept.num_bytes == 6 * 48
    add(4)  # again: used now, not kept twice
    add(9)
    assert [i for i in range(10) if forms[i] in kept] == [0, 4, 6, 7, 8, 9]
    kept.unpin(requests[0])
    add(10)
    assert forms[0] not in kept
    kept.max_bytes = 0
    add(11)
    assert sum(form in kept for form in forms) == start_pictures.NEWEST


def test_a_picture_is_encoded_once(new_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch) -> None:
    engine, calls, real = new_engine(), list[Any](), pictures.encode

    def encode(ops: Any, codec: Any, pixels: Any) -> Any:
        calls.append(pixels)
        return real(ops, codec, pixels)

    monkeypatch.setattr(pictures, "encode", encode)
    requests = [spec(Start(PICTURE, 0.5, seed_mask), steps=2, seed=seed) for seed, seed_mask in ((1, None), (2, MASK))]
    for request in requests:
        drawn(engine, request)
    drawn(engine, spec(Start(OTHER, 1.0)))
    assert len(calls) == 1, "and what nothing reads is not encoded"


# ---- the value -------------------------------------------------------------------------------------------------------


def test_a_spec_with_a_start_is_plain_data() -> None:
    request = spec(Start(PICTURE, 0.25, MASK, 3, (1, 2, 3, 4)), adapters=(AdapterUse("a"),))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(request), type=GenerationSpec) == request
    old = msgspec.msgpack.decode(msgspec.msgpack.encode(request))
    del old["start"]
    assert msgspec.convert(old, GenerationSpec).start is None
    kinds = Start(np.str_(PICTURE), np.float32(0.5), None, np.int64(2), [np.int32(1), 2, 3, 4])  # type: ignore[arg-type]
    assert [type(value) for value in (kinds.picture, kinds.strength, kinds.feather)] == [str, float, int]
    assert kinds.place == (1, 2, 3, 4)


def test_what_a_spec_needs() -> None:
    style = AdapterUse(f"style:picture:{OTHER}")
    start = Start(PICTURE, 0.5, MASK, place=(0, 0, 8, 8))
    assert forms_of(spec(start, width=20, adapters=(style, AdapterUse("style:number:7")))) == (
        PictureForm(OTHER, PictureUse.STYLE),
        PictureForm(PICTURE, PictureUse.START, (20, 16), (0, 0, 8, 8)),
        PictureForm(MASK, PictureUse.MASK, (20, 16)),
    )


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"picture": "cat.png"}, "start picture: got 'cat.png', allowed 64 hex digits"),
        ({"picture": "A" * 64}, "start picture: got 'AAA"),
        ({"strength": 1.01}, "image_strength: got 1.01, allowed a number from 0 to 1"),
        ({"strength": -0.1}, "image_strength"),
        ({"strength": float("nan")}, "image_strength: got nan"),
        ({"strength": "1"}, "image_strength: got '1'"),
        ({"mask": "x"}, "mask: got 'x'"),
        ({"feather": 257}, "feather: got 257, allowed a whole number from 0 to 256"),
        ({"feather": 1.5}, "feather: got 1.5"),
        ({"place": (0, 0, 0, 4)}, "place: got"),
        ({"place": (0, 0, 4)}, "place: got"),
        ({"place": "abcd"}, "place: got 'abcd'"),
        ({"place": (16, 0, 4, 4)}, r"place: got \(16, 0, 4, 4\), allowed one that lies on the canvas of 16 x 16"),
        ({"place": (-4, 0, 4, 4)}, "move it back"),
    ],
)
def test_what_a_start_cannot_be(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        spec(Start(**({"picture": PICTURE} | fields)))


def test_a_start_of_what_a_request_says() -> None:
    assert start_of() is None
    assert start_of(PICTURE) == Start(PICTURE, 0.75)
    assert start_of(PICTURE, mask=MASK) == Start(PICTURE, 1.0, MASK, 8)
    assert start_of(PICTURE, 0.2, MASK, 0) == Start(PICTURE, 0.2, MASK, 0)
    for fields in ({"image_strength": 0.5}, {"mask": MASK}, {"feather": 1}):
        with pytest.raises(SpecError, match=f"{next(iter(fields))}: got .*, allowed nothing without an image"):
            start_of(**fields)
    with pytest.raises(SpecError, match="feather: got 3, allowed nothing without a mask"):
        start_of(PICTURE, feather=3)


def test_a_request_names_its_start(engine: Engine) -> None:
    made = engine.make_spec("cat", image=PICTURE, image_strength=0.25, width=16, height=16)
    assert made.start == Start(PICTURE, 0.25)
    with pytest.raises(SpecError, match="mask: got"):
        engine.make_spec("cat", mask=MASK)


def test_generations_without_a_picture_are_as_they_were(engine: Engine) -> None:
    generation: Generation = engine.open(spec())
    assert generation.region is None
    np.testing.assert_array_equal(engine.ops.numpy(generation.latents), noise.normal(0, 0, 0, 16, 16))
    engine.close(generation)
