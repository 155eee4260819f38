"""Pictures that requests refer to: files of strangers, and jobs drawn in their style."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from salon.engine.engine import Engine
from salon.engine.errors import SpecError
from salon.engine.generation import State
from salon.engine.spec import AdapterUse, GenerationSpec
from salon.engine.start import PictureForm, PictureUse, forms_of
from salon.engine.styles import names
from salon.scheduler.tickets import Stage
from salon.studio.errors import ReferenceRefused
from salon.studio.references import (
    MAX_PIXELS,
    ReferencePicture,
    digest_of,
    pictures_of,
    read_file,
    read_picture,
    size_of,
)
from salon.studio.resources import References, digests_of, needed
from salon.studio.studio import Studio
from salon.studio.workers.messages import Arrival, Ran, Run
from salon.studio.workers.worker import Worker

TIMEOUT = 60.0


def file_of(form: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (60, 40), **options: Any) -> bytes:
    """A picture's file."""
    rng = np.random.default_rng(5)
    image = Image.fromarray(rng.integers(0, 255, (size[1] // 4 + 1, size[0] // 4 + 1, 3)).astype(np.uint8))
    buffer = io.BytesIO()
    image.resize(size, Image.Resampling.NEAREST).convert(mode).save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("form", "mode"),
    [("PNG", "RGB"), ("PNG", "L"), ("PNG", "P"), ("PNG", "1"), ("PNG", "RGBA"), ("PNG", "LA"), ("JPEG", "RGB"),
     ("JPEG", "CMYK"), ("JPEG", "L"), ("WEBP", "RGB"), ("WEBP", "RGBA"), ("GIF", "P"), ("BMP", "RGB")],
)  # fmt: skip
def test_pictures_of_every_kind(form: str, mode: str) -> None:
    data = file_of(form, mode)
    picture = read_picture(data)
    assert picture.digest == digest_of(data)
    assert (picture.image.mode, picture.image.size) == ("RGB", (60, 40))
    pixels = picture.pixels(128 * 128, 16)
    assert pixels.shape == (112, 160, 3)
    assert pixels.dtype == np.uint8
    assert pixels.std() > 10


def test_16_bits_are_not_clipped() -> None:
    levels = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "PNG")
    pixels = read_picture(buffer.getvalue()).pixels(64 * 64, 16)
    assert 100 < pixels.mean() < 156


def test_what_is_transparent_is_white() -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (32, 32), (200, 0, 0, 0)).save(buffer, "PNG")
    assert (read_picture(buffer.getvalue()).pixels(32 * 32, 16) == 255).all()


def test_a_photograph_stands_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    assert read_picture(file_of("JPEG", exif=exif)).image.size == (40, 60)


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1), (3, 5000), (128, 128), (1000, 30)])
def test_sides_fit_the_model_whatever_the_shape(size: tuple[int, int]) -> None:
    pixels = read_picture(file_of(size=size)).pixels(128 * 128, 16)
    height, width, _ = pixels.shape
    assert height % 16 == width % 16 == 0
    assert 1 / 16 < width / height < 16
    assert 0.5 < height * width / 128**2 < 2


def header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has nothing in it."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return start + struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "got no picture, allowed a picture .PNG, JPEG, WEBP, GIF, BMP."),
        (b"hello", "got no picture"),
        (b"%PDF-1.7", "got no picture"),
        (file_of()[:200], "got a damaged picture"),
        (file_of("JPEG")[:400], "got a damaged picture"),
        (header(60_000, 60_000), "3600000000 pixels"),
        (header(8_200, 8_200), f"8,200 x 8,200 pixels, allowed up to {MAX_PIXELS:,} in all"),
        (header(16, 16), "got a damaged picture"),
        (file_of("TIFF"), "got no picture"),
    ],
)
def test_what_is_no_picture(data: bytes, told: str) -> None:
    with pytest.raises(ReferenceRefused, match=told) as refused:
        read_picture(data, "--sref 'x'")
    assert str(refused.value).startswith("--sref 'x': ")
    assert "\n" not in str(refused.value)


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ReferenceRefused, match="nothing.png': No such file"):
        read_file(tmp_path / "nothing.png")
    with pytest.raises(ReferenceRefused, match="folder|directory"):
        read_file(tmp_path)
    monkeypatch.setattr("salon.studio.references.MAX_REFERENCE_BYTES", 99)
    (tmp_path / "a").write_bytes(b"x" * 100)
    with pytest.raises(ReferenceRefused, match="got more than 99 bytes, allowed up to 99; save it smaller"):
        read_file(tmp_path / "a")
    (tmp_path / "a").write_bytes(b"x" * 99)
    assert len(read_file(tmp_path / "a")) == 99


def test_of_many_pictures_the_least_recently_used_go() -> None:
    kept = References(max_bytes=3 * 48)
    form = {name: PictureForm(name * 64, PictureUse.STYLE) for name in "abcde"}
    for name in "abc":
        kept.put(form[name], np.zeros((4, 4, 3), np.uint8))
    assert kept.get(form["a"]) is not None
    kept.put(form["d"], np.zeros((4, 4, 3), np.uint8))
    assert [name for name in "abcd" if kept.get(form[name]) is not None] == ["a", "c", "d"]
    kept.put(form["d"], np.zeros((4, 4, 3), np.uint8))
    assert kept.get(form["a"]) is not None, "the same again takes no room"
    kept.put_file("f", b"x" * 48)
    assert (kept.get_file("f"), kept.get(form["c"])) == (b"x" * 48, None), "files count like pixels"
    kept.put(form["e"], np.zeros((64, 64, 3), np.uint8))
    assert kept.get(form["e"]) is not None, "one is always kept"


# ---- strangers' files ------------------------------------------------------------------------------------------------


def moving(form: str, frames: int = 3) -> bytes:
    """A picture that moves."""
    images = [Image.new("RGB", (32, 32), (80 * i, 9, 9)) for i in range(frames)]
    buffer = io.BytesIO()
    images[0].save(buffer, form, save_all=True, append_images=images[1:], duration=50)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_what_moves_is_refused_and_what_could_move_is_not(form: str) -> None:
    with pytest.raises(
        ReferenceRefused, match="x: got one that moves, allowed a single picture; save the one you mean"
    ):
        read_picture(moving(form), "x")
    assert read_picture(moving(form, 1)).image.size == (32, 32)


def test_a_photograph_with_a_preview_beside_it_is_its_first_picture() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(buffer, "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))])
    picture = read_picture(buffer.getvalue())
    assert picture.image.size == (64, 48)
    assert picture.image.getpixel((5, 5))[0] > 240


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file of a huge picture: it is refused by its header, before a pixel is made."""
    row = zlib.compress(b"\0" * (1 + 3 * 9000) * 200, 9)
    chunk = b"IDAT" + row
    data = header(9_000, 9_000)
    data = data[:33] + struct.pack(">I", len(row)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("unpacked"))
    with pytest.raises(ReferenceRefused, match="9,000 x 9,000 pixels, allowed up to"):
        read_picture(data)
    with pytest.raises(ReferenceRefused, match="10,000 x 10,000 pixels|decompression bomb|exceeds limit"):
        read_picture(header(10_000, 10_000))


def test_text_that_unpacks_to_too_much_is_refused() -> None:
    text = b"zTXtnote\0\0" + zlib.compress(b"x" * 2**21, 9)
    data = header(16, 16)
    data = data[:33] + struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text)) + data[33:]
    with pytest.raises(ReferenceRefused, match="a damaged picture"):
        read_picture(data)


def test_of_a_file_that_is_two_things_only_the_pixels_are_taken(studio: Studio) -> None:
    """A PNG with an archive behind it, and a photograph with its place in it: what is drawn from them says nothing."""
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    for data in (file_of() + b"PK\x05\x06" + b"secret" * 9, file_of("JPEG", exif=exif)):
        picture = read_picture(data)
        assert not picture.image.info.get("exif")
        digest = studio.add_reference(data)
        made = studio.imagine("cat", image=digest, image_strength=0, images=1, width=64, height=64).result(TIMEOUT)
        form = PictureForm(digest, PictureUse.START, (64, 64))
        np.testing.assert_array_equal(made[0], picture.fit(form, studio.loop.model))
    np.testing.assert_array_equal(read_picture(file_of() + b"PK").image, read_picture(file_of()).image)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_a_damaged_file_is_a_picture_or_is_refused(form: str) -> None:
    whole, rng = bytearray(file_of(form, "RGB" if form != "GIF" else "P")), np.random.default_rng(8)
    for _ in range(60):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), rng.integers(1, 6)):
            data[place] = rng.integers(0, 256)
        told = ""
        try:
            assert read_picture(bytes(data[: rng.integers(1, len(data) + 1)])).image.mode == "RGB"
        except ReferenceRefused as error:
            told = str(error)
        assert "\n" not in told


# ---- forms -----------------------------------------------------------------------------------------------------------


def test_a_start_picture_fills_the_size_that_is_asked_for(engine: Engine) -> None:
    """Cut off on both sides, never stretched; and what has the size is taken to the bit."""
    pixels = np.random.default_rng(1).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    picture = ReferencePicture("a" * 64, Image.fromarray(pixels))

    def fit(width: int, height: int, place: Any = None, use: PictureUse = PictureUse.START) -> Any:
        return picture.fit(PictureForm("a" * 64, use, (width, height), place), engine.info)

    np.testing.assert_array_equal(fit(64, 48), pixels)
    np.testing.assert_array_equal(fit(48, 48), pixels[:, 8:56])
    assert fit(128, 32).shape == (32, 128, 3)
    ramp = Image.fromarray(np.tile(np.arange(0, 256, 2).astype(np.uint8), (64, 1)))
    mask = ReferencePicture("b" * 64, ramp.convert("RGB")).fit(
        PictureForm("b" * 64, PictureUse.MASK, (32, 32)), engine.info
    )
    assert mask.shape == (32, 32)
    assert 60 < mask[0, 0] < 70
    assert 185 < mask[0, -1] < 195


def test_a_start_picture_has_its_place(engine: Engine) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    picture = ReferencePicture("a" * 64, Image.fromarray(pixels))

    def placed(*place: Any) -> Any:
        return picture.fit(PictureForm("a" * 64, PictureUse.START, (96, 64), place), engine.info)

    canvas = placed(16, 8, 64, 48)
    np.testing.assert_array_equal(canvas[8:56, 16:80], pixels)
    np.testing.assert_array_equal(canvas[:8, 16:80], np.repeat(pixels[:1], 8, axis=0))
    np.testing.assert_array_equal(canvas[20, 80:], np.repeat(pixels[12, -1:], 16, axis=0))
    np.testing.assert_array_equal(placed(-10, 30, 64, 48)[30:, :54], pixels[:34, 10:])
    assert placed(0, 0, 96, 72).shape == (64, 96, 3)


def test_the_size_of_a_file_is_that_of_the_upright_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert size_of(file_of("JPEG", exif=exif)) == read_picture(file_of("JPEG", exif=exif)).image.size == (40, 60)
    assert size_of(file_of()) == (60, 40)
    with pytest.raises(ReferenceRefused, match="y: got no picture"):
        size_of(b"hello", "y")


# ---- jobs ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[False, True], ids=["thread", "process"])
def studio(request: pytest.FixtureRequest) -> Iterator[Studio]:
    with Studio(process=request.param, dtype="float32", threads=1) as studio:
        yield studio


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load(dtype="float32", threads=1)


@pytest.fixture(scope="module")
def alone(engine: Engine) -> Callable[[GenerationSpec], Any]:
    """Draw a spec's one picture alone; a second time it is not drawn again. Its pictures have to be in the engine."""

    @cache
    def drawn(spec: GenerationSpec) -> Any:
        generation = engine.open(spec)
        while generation.state is State.RUNNING:
            engine.step([generation])
        pixels = engine.finish(generation)[0]
        assert spec.steps_taken == len(generation.evaluations)
        engine.close(generation)
        return pixels

    return drawn


def test_jobs_of_several_styles_are_what_they_are_alone(studio: Studio, engine: Engine, alone: Any) -> None:
    data = file_of()
    digest = studio.add_reference(data)
    asked: list[dict[str, Any]] = [
        {}, {"stylize": 100}, {"style_references": [digest]}, {"style_references": [4093, digest], "style_weight": 200},
    ]  # fmt: skip
    small: dict[str, Any] = {"seed": 3, "steps": 2, "images": 1, "width": 64, "height": 64}
    jobs = [studio.imagine("a red apple", **small, **each) for each in asked]
    made = [job.result(TIMEOUT)[0] for job in jobs]
    picture = read_picture(data)
    engine.add_style_picture(picture.digest, picture.pixels(128 * 128, 16))
    for each, pixels in zip(asked, made, strict=True):
        np.testing.assert_array_equal(alone(engine.make_spec("a red apple", **small, **each)), pixels)


def test_a_picture_that_is_not_there_is_refused_and_there_is_no_job(studio: Studio) -> None:
    digest = "cd" * 32
    before = studio.loop.snapshot()
    with pytest.raises(SpecError, match=f"style reference: got picture {digest}, which is not here.*add the picture"):
        studio.imagine("cat", style_references=[digest])
    with pytest.raises(SpecError, match="style:what"):
        studio.imagine("cat", adapters=(AdapterUse("style:what"),))
    assert studio.loop.snapshot().queued == before.queued


def test_what_a_job_needs(engine: Engine) -> None:
    info, digest = engine.info, "ef" * 32
    spec = engine.make_spec("cat", style_references=[digest, 7], image=digest, mask="ab" * 32, width=32, height=16)
    assert digests_of(spec) == [digest, "ab" * 32]
    assert names.picture_of(spec.adapters[0].adapter) == digest
    style, start, mask = forms_of(spec)
    fit = np.zeros((16, 32, 3), np.uint8)
    white = np.full((16, 32), 255, np.uint8)
    given = {style: fit, start: fit, mask: white, PictureForm("cd" * 32, PictureUse.STYLE): fit}
    assert needed(spec, given, info) == {style: fit, start: fit, mask: white}
    with pytest.raises(SpecError, match=r"got pixels \[10, 32, 3\], allowed .* multiples of 16"):
        needed(spec, given | {style: fit[:10]}, info)
    with pytest.raises(SpecError, match=r"start picture: got pixels \[16, 16, 3\], allowed uint8 \[16, 32, 3\]"):
        needed(spec, given | {start: fit[:, :16]}, info)
    del given[mask]
    with pytest.raises(
        SpecError, match=f"mask: got picture {'ab' * 32}, which is not here .job j7., .*add the picture"
    ):
        needed(spec, given, info, job="j7")


# ---- jobs that start from pictures -----------------------------------------------------------------------------------

SMALL: dict[str, Any] = {"steps": 2, "images": 1, "seed": 3}


def mask_of(size: tuple[int, int], white: tuple[int, int, int, int]) -> bytes:
    """The file of a mask that is white within (left, top, right, bottom)."""
    image, buffer = Image.new("L", size), io.BytesIO()
    image.paste(255, white)
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_jobs_from_pictures_are_what_they_are_alone(studio: Studio, engine: Engine, alone: Any) -> None:
    """Beside an ordinary one; several from one picture, and one that takes no step."""
    files = {digest_of(data): data for data in (file_of(size=(96, 64)), mask_of((96, 64), (0, 0, 40, 64)))}
    image, mask = [studio.add_reference(data) for data in files.values()]
    asked: list[dict[str, Any]] = [
        {}, {"image": image}, {"image": image, "image_strength": 0.0}, {"image": image, "mask": mask, "feather": 4},
        {"image": image, "mask": mask, "style_references": [image], "aspect": (1, 1)},
    ]  # fmt: skip
    jobs = [studio.imagine("a red apple", **SMALL, **each) for each in asked]
    made = [job.result(TIMEOUT)[0] for job in jobs]
    assert [pixels.shape for pixels in made] == [(128, 128, 3), *[(112, 160, 3)] * 3, (128, 128, 3)]
    for job, pixels in zip(jobs, made, strict=True):
        for form, each in pictures_of(job.spec, files.get, References(), engine.info).items():
            engine.add_picture(form, each)
        np.testing.assert_array_equal(alone(job.spec), pixels)
        assert job.step == job.spec.steps_taken
    form = PictureForm(image, PictureUse.START, (160, 112))
    picture = read_picture(files[image]).fit(form, engine.info)
    np.testing.assert_array_equal(made[2], picture)
    np.testing.assert_array_equal(made[3][:, 80:], picture[:, 80:])


def test_a_mask_of_another_size_is_refused_with_both(studio: Studio) -> None:
    image, mask = studio.add_reference(file_of(size=(96, 64))), studio.add_reference(mask_of((64, 96), (0, 0, 9, 9)))
    with pytest.raises(SpecError, match="mask: got 64 x 96 pixels, allowed 96 x 64, like the picture; give the mask"):
        studio.imagine("cat", image=image, mask=mask)
    with pytest.raises(SpecError, match=f"mask: got picture {'ab' * 32}, which is not here"):
        studio.imagine("cat", image=image, mask="ab" * 32)
    with pytest.raises(SpecError, match="start picture: got picture"):
        studio.imagine("cat", image="ab" * 32, mask=mask)
    with pytest.raises(SpecError, match="aspect: got 4000:1"):
        studio.imagine("cat", image=studio.add_reference(file_of(size=(4000, 1))))


def test_a_black_mask_is_refused_and_there_is_no_job(studio: Studio) -> None:
    image, mask = studio.add_reference(file_of(size=(64, 64))), studio.add_reference(mask_of((64, 64), (0, 0, 0, 0)))
    with pytest.raises(SpecError, match="mask: got one that leaves nothing to draw, allowed some new pixels; paint"):
        studio.imagine("cat", image=image, mask=mask, width=64, height=64, **SMALL)


def test_a_picture_that_a_worker_was_not_sent_is_named(engine: Engine) -> None:
    spec = engine.make_spec("cat", image="ab" * 32, width=64, height=64)
    arrival = Arrival(job="j9", spec=spec, pictures=forms_of(spec))
    answer, _ = Worker(engine).handle(Run(number=1, stage=Stage.ENCODE, jobs=("j9",), arrivals=(arrival,)))
    assert isinstance(answer, Ran)
    assert f"start picture: got picture {'ab' * 32}, which is not here (job j9)" in answer.failed["j9"].text
    assert answer.failed["j9"].kind == "SpecError"
