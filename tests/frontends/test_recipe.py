"""Files that are no picture of ours."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from salon.frontends.recipe import CHUNK, RecipeError, encode_png, pixel_hash, plain, read_png

from .conftest import Made


def save(path: Path, text: str | None) -> None:
    chunks = PngImagePlugin.PngInfo()
    if text is not None:
        chunks.add_itxt(CHUNK, text)
    Image.new("RGB", (2, 2)).save(path, pnginfo=chunks)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no recipe inside, allowed a PNG that Salon made"),
        ("{", "its recipe cannot be read"),
        ("{}", "its recipe cannot be read .*missing required field"),
        ("[]", "its recipe cannot be read"),
    ],
)
def test_recipes_refused(tmp_path: Path, text: str | None, message: str) -> None:
    save(tmp_path / "x.png", text)
    with pytest.raises(RecipeError, match=message):
        read_png(tmp_path / "x.png")


def test_files_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="No such file"):
        read_png(tmp_path / "none.png")
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    with pytest.raises(RecipeError, match="no PNG, or a damaged one"):
        read_png(tmp_path / "x.png")
    Image.new("RGB", (2, 2)).save(tmp_path / "x.gif")
    with pytest.raises(RecipeError, match="no PNG"):
        read_png(tmp_path / "x.gif")


def test_recipes_of_another_format_or_with_impossible_values(made: Made, tmp_path: Path) -> None:
    folder, _ = made
    _, recipe = read_png(next((folder / "outputs").iterdir()))
    fields = plain(recipe)
    save(tmp_path / "x.png", json.dumps(fields | {"format": 99}))
    with pytest.raises(RecipeError, match="a recipe of format 99, allowed format 1; use the Salon that made it"):
        read_png(tmp_path / "x.png")
    save(tmp_path / "x.png", json.dumps(fields | {"spec": fields["spec"] | {"steps": 0}}))
    with pytest.raises(RecipeError, match="its recipe cannot be read .*steps: got 0"):
        read_png(tmp_path / "x.png")


def test_any_text_survives(made: Made, tmp_path: Path) -> None:
    import msgspec

    folder, _ = made
    pixels, recipe = read_png(next((folder / "outputs").iterdir()))
    prompt = 'a "cat"\n苹果 \\ \x01 🍎'
    changed = msgspec.structs.replace(recipe, warnings=(prompt,), clauses={prompt: prompt})
    (tmp_path / "x.png").write_bytes(encode_png(pixels, changed))
    again, found = read_png(tmp_path / "x.png")
    assert found == changed
    assert np.array_equal(again, pixels)


def test_the_pixel_hash_knows_the_shape() -> None:
    pixels = np.zeros((2, 6, 3), np.uint8)
    hashes = {pixel_hash(pixels), pixel_hash(pixels.reshape(6, 2, 3)), pixel_hash(pixels + 1)}
    assert len(hashes) == 3
    assert pixel_hash(pixels[:, ::2]) == pixel_hash(np.zeros((2, 3, 3), np.uint8))


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def huge(width: int, height: int, text: bytes = b"") -> bytes:
    """A PNG of a few hundred bytes that says it is that large; its pixels are all there, and black."""
    packed = zlib.compressobj(9)
    row = b"\0" * (1 + width // 8)
    pixels = b"".join([*(packed.compress(row) for _ in range(height)), packed.flush()])
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + text + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8_200, 10_000, 13_000], ids=["quiet", "with a warning", "nearly refused"])
@pytest.mark.parametrize("where", ["a file", "what it holds"])
def test_a_small_file_of_a_huge_picture_is_not_unpacked(tmp_path: Path, side: int, where: str) -> None:
    """house.md 4.13: up to 178 million pixels were converted, half a GB, with at most a warning."""
    data = huge(side, side)
    assert len(data) < 100_000
    file: Any = io.BytesIO(data)
    if where == "a file":
        file = tmp_path / "x.png"
        file.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(RecipeError, match=rf"got {side:,} x {side:,} pixels, allowed up to 67,108,864 in all; give"):
        read_png(file)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_text_of_any_size_is_not_unpacked(tmp_path: Path) -> None:
    """house.md 4.13."""
    plain_text = chunk(b"iTXt", b"salon\0\0\0\0\0" + b"x" * (2 << 20))
    packed = chunk(b"iTXt", b"salon\0\1\0\0\0" + zlib.compress(b"x" * (16 << 20)))
    with pytest.raises(RecipeError, match="got a recipe of more than 1,048,576 characters, allowed a shorter one"):
        read_png(io.BytesIO(huge(8, 8, plain_text)))
    with pytest.raises(RecipeError, match="no PNG, or a damaged one"):
        read_png(io.BytesIO(huge(8, 8, packed)))


def test_two_headers_are_no_png() -> None:
    """The first says how large it is, the second is what is decoded."""
    second = chunk(b"IHDR", struct.pack(">IIBBBBB", 9_000, 9_000, 1, 0, 0, 0, 0))
    with pytest.raises(RecipeError, match="no PNG, or a damaged one"):
        read_png(io.BytesIO(huge(8, 8, second)))
