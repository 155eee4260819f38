"""Pictures that requests refer to: files of strangers, and jobs drawn in their style."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from salon.engine.engine import Engine
from salon.engine.errors import SpecError
from salon.engine.generation import State
from salon.engine.spec import AdapterUse
from salon.engine.styles import names
from salon.studio.errors import ReferenceRefused
from salon.studio.references import MAX_PIXELS, digest_of, read_file, read_picture
from salon.studio.resources import References, digests_of, needed
from salon.studio.studio import Studio

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
    for name in "abc":
        kept.put(name, np.zeros((4, 4, 3), np.uint8))
    assert kept.get("a") is not None
    kept.put("d", np.zeros((4, 4, 3), np.uint8))
    assert [name for name in "abcd" if kept.get(name) is not None] == ["a", "c", "d"]
    kept.put("d", np.zeros((4, 4, 3), np.uint8))
    assert kept.get("a") is not None, "the same again takes no room"
    kept.put("e", np.zeros((64, 64, 3), np.uint8))
    assert kept.get("e") is not None, "one is always kept"


# ---- jobs ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[False, True], ids=["thread", "process"])
def studio(request: pytest.FixtureRequest) -> Iterator[Studio]:
    with Studio(process=request.param, dtype="float32", threads=1) as studio:
        yield studio


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load(dtype="float32", threads=1)


def test_jobs_of_several_styles_are_what_they_are_alone(studio: Studio, engine: Engine) -> None:
    data = file_of()
    digest = studio.add_reference(data)
    asked: list[dict[str, Any]] = [
        {}, {"stylize": 100}, {"style_references": [digest]}, {"style_references": [4093, digest], "style_weight": 200},
    ]  # fmt: skip
    jobs = [studio.imagine("a red apple", seed=3, steps=2, images=1, **each) for each in asked]
    made = [job.result(TIMEOUT)[0] for job in jobs]
    picture = read_picture(data)
    engine.add_style_picture(picture.digest, picture.pixels(128 * 128, 16))
    for each, pixels in zip(asked, made, strict=True):
        generation = engine.open(engine.make_spec("a red apple", seed=3, steps=2, images=1, **each))
        while generation.state is State.RUNNING:
            engine.step([generation])
        np.testing.assert_array_equal(engine.finish(generation)[0], pixels)
        engine.close(generation)


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
    spec = engine.make_spec("cat", style_references=[digest, 7])
    assert digests_of(spec) == [digest]
    assert names.picture_of(spec.adapters[0].adapter) == digest
    fit = np.zeros((16, 32, 3), np.uint8)
    assert needed(spec, {digest: fit, "other": fit}, info) == {digest: fit}
    with pytest.raises(SpecError, match=r"got pixels \[10, 32, 3\], allowed .* multiples of 16"):
        needed(spec, {digest: fit[:10]}, info)
