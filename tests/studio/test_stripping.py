"""What a picture's file says besides its pixels goes when it is brought; the pixels stay, to the bit."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from salon.engine.info import ModelIdentity
from salon.engine.spec import GenerationSpec
from salon.studio import stripping
from salon.studio.errors import ReferenceRefused
from salon.studio.references import read_picture
from salon.studio.service.recipe import Recipe, pixel_hash
from salon.studio.service.recipe_files import encode, read_picture_file
from salon.studio.stripping import stripped

PIXELS = np.random.default_rng(7).integers(0, 256, (24, 40, 3)).astype(np.uint8)
MODEL = "Secret Camera"
SECRETS = (MODEL.encode(), b"me, at home", b"ICC_PROFILE", b"sRGB")
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description author="me, at home"/></rdf:RDF></x:xmpmeta>'


def exif(turned: int) -> Image.Exif:
    """What a phone writes: which side is up, the camera, and where it was."""
    made = Image.Exif()
    made[0x0112], made[0x0110], made[0x9286] = turned, MODEL, "me, at home"
    made.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 24.0), 3: "E", 4: (2.0, 21.0, 3.0)})
    return made


def file(format: str, turned: int, mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(PIXELS).convert(mode).save(
        buffer, format, exif=exif(turned), xmp=XMP, icc_profile=profile, **options
    )
    return buffer.getvalue()


def png(turned: int, **options: Any) -> bytes:
    said = PngImagePlugin.PngInfo()
    said.add_text("Author", "me, at home")
    said.add_itxt("XML:com.adobe.xmp", XMP.decode(), zip=True)
    said.add_text("Comment", "me, at home", zip=True)
    return file("PNG", turned, pnginfo=said, **options)


def pixels(data: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(read_picture(data).image)


CASES = {
    "jpeg": lambda turned: file("JPEG", turned, quality=90, comment=b"me, at home"),
    "progressive jpeg": lambda turned: file("JPEG", turned, progressive=True, quality=70),
    "cmyk jpeg": lambda turned: file("JPEG", turned, "CMYK"),
    "restarts": lambda turned: file("JPEG", turned, restart_marker_blocks=1),
    "png": png,
    "palette": lambda turned: file("PNG", turned, "P", transparency=3),
    "webp": lambda turned: file("WEBP", turned, quality=80),
    "lossless webp": lambda turned: file("WEBP", turned, "RGBA", lossless=True),
}


@pytest.mark.parametrize("turned", [1, 6])
@pytest.mark.parametrize("case", CASES)
def test_place_camera_and_words_go_and_pixels_stay(case: str, turned: int) -> None:
    data = CASES[case](turned)
    plain = stripped(data)
    assert MODEL.encode() in data, "the test would say nothing"
    assert not [secret for secret in SECRETS if secret in plain]
    with Image.open(io.BytesIO(plain)) as image:
        said = image.getexif()
        assert dict(said) == ({} if turned == 1 else {0x0112: turned})
        assert said.get_ifd(0x8825) == {}
        assert not {"icc_profile", "xmp", "comment", "Author", "Comment"} & image.info.keys()
    assert np.array_equal(pixels(plain), pixels(data))
    assert pixels(plain).shape == ((24, 40, 3) if turned == 1 else (40, 24, 3))
    assert stripped(plain) == plain


def test_previews_and_what_follows_the_end_go() -> None:
    """A preview may show what was cut off, and phones put films behind their pictures."""
    data = CASES["jpeg"](1)
    at = data.index(b"JFIF\0") + 12
    size = int.from_bytes(data[4:6]) + 3
    data = data[:4] + size.to_bytes(2) + data[6:at] + b"\1\1PRE" + data[at + 2 :]
    films = data + b"\0\0\0\x18ftypmp42 me, at home"
    assert np.array_equal(pixels(films), pixels(data))
    plain = stripped(films)
    assert b"PRE" not in plain
    assert b"ftyp" not in plain
    assert np.array_equal(pixels(plain), pixels(data))
    png_and_more = png(1) + b"me, at home"
    assert b"home" not in stripped(png_and_more)


def test_gif_and_bmp() -> None:
    buffer = io.BytesIO()
    image = Image.fromarray(PIXELS).convert("P")
    image.save(buffer, "GIF", comment=b"me, at home", transparency=3)
    data = buffer.getvalue()
    assert b"home" in data
    assert b"home" not in stripped(data)
    assert np.array_equal(pixels(stripped(data)), pixels(data))
    buffer = io.BytesIO()
    image.save(buffer, "BMP")
    data = buffer.getvalue() + b"me, at home"
    assert b"home" not in stripped(data)
    assert np.array_equal(pixels(stripped(data)), pixels(data))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_the_recipe_of_what_salon_made_stays(format: str, tmp_path: Path) -> None:
    recipe = Recipe(
        salon="0.1.0", kind="image", image=0, spec=GenerationSpec(prompt="a <cat> & Grüße", width=40, height=24),
        clauses={}, warnings=(), model=ModelIdentity(name="mini", version="1", digest="ab" * 32, components={}),
        backend="cpu", dtype="float32", pixels=pixel_hash(PIXELS),
    )  # fmt: skip
    data = encode(PIXELS, recipe, format)
    plain = stripped(data)
    assert b"Version: Salon" not in plain, "what is written for other tools is no recipe"
    assert b"V\0e\0r\0s\0i\0o\0n" not in plain
    found, said = read_picture_file(io.BytesIO(plain))
    assert said == recipe
    assert np.array_equal(found, read_picture_file(io.BytesIO(data))[0])
    assert stripped(plain) == plain


def test_what_decoders_forgive_is_drawn_anew() -> None:
    """A file that cannot be taken apart is kept as a PNG of its pixels alone."""
    data = png(6)
    plain = stripped(data[:-12])  # without its end
    assert not [secret for secret in SECRETS if secret in plain]
    assert np.array_equal(pixels(plain), pixels(data))
    assert plain.endswith(data[-12:])


def riff(kind: bytes, content: bytes) -> bytes:
    return kind + len(content).to_bytes(4, "little") + content + b"\0" * (len(content) % 2)


def test_an_animation_of_one_frame_keeps_nothing_in_its_frame() -> None:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "WEBP", quality=80)
    frame = b"\0" * 6 + (39).to_bytes(3, "little") + (23).to_bytes(3, "little") + b"\0" * 4
    coded = buffer.getvalue()[12:]
    said = riff(b"NOTE", b"me, at home") + riff(b"EXIF", exif(1).tobytes())
    body = b"WEBP" + riff(b"VP8X", bytes([0x02, 0, 0, 0, 39, 0, 0, 23, 0, 0]))
    body += riff(b"ANIM", bytes(6) + b"me, at home") + riff(b"ANMF", frame + coded + said)
    data = riff(b"RIFF", body)
    assert MODEL.encode() in data
    plain = stripped(data)
    assert not [secret for secret in SECRETS if secret in plain]
    assert np.array_equal(pixels(plain), pixels(data))
    assert np.array_equal(pixels(plain), pixels(buffer.getvalue()))
    assert stripped(plain) == plain


def test_what_is_drawn_anew_is_no_larger_than_what_may_be_brought(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few megabytes of JPEG could be 200 of PNG: such a file becomes a JPEG, or is refused."""
    smooth = Image.fromarray(PIXELS).resize((400, 240), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    smooth.save(buffer, "JPEG", quality=60)
    data = buffer.getvalue()
    data = data[:20] + b"\0me, at home" + data[20:]  # between two segments, where decoders pass over it
    as_png = stripped(data)
    assert as_png.startswith(b"\x89PNG")
    assert np.array_equal(pixels(as_png), pixels(data))
    monkeypatch.setattr(stripping, "MAX_REFERENCE_BYTES", len(as_png) - 1)
    as_jpeg = stripped(data)
    assert as_jpeg.startswith(b"\xff\xd8")
    assert b"home" not in as_jpeg
    assert len(as_jpeg) < len(as_png)
    assert np.abs(pixels(as_jpeg).astype(int) - pixels(data)).mean() < 2
    monkeypatch.setattr(stripping, "MAX_REFERENCE_BYTES", len(as_jpeg) - 1)
    with pytest.raises(ReferenceRefused, match="400 x 240 pixels, more than [0-9,]+ bytes when it is mended"):
        stripped(data)
