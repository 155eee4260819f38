"""Pictures to start from, on the command line: `--image`, `--strength`, `--mask`, `--feather`, here."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from salon.frontends.recipe import read_png

from .conftest import Main

BASE = ("imagine", "a red apple", "--n", "1", "--steps", "3", "--seed", "7", "--dtype", "float32", "--quiet")


def photo(name: str = "photo.png", size: tuple[int, int] = (128, 128)) -> Any:
    """Write a picture; its pixels."""
    coarse = np.random.default_rng(0).integers(0, 255, (4, 4, 3)).astype(np.uint8)
    image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    image.save(name)
    return np.asarray(image)


def mask(name: str = "mask.png", size: tuple[int, int] = (128, 128)) -> None:
    """Write a mask: the left half is white."""
    image = Image.new("1", size)
    image.paste(1, (0, 0, size[0] // 2, size[1]))
    image.save(name)


def drawn(main: Main, name: str, *words: str) -> tuple[Any, Any]:
    """The pixels and the recipe of a picture."""
    code, _, err = main(*BASE, *words, "-o", f"{name}.png")
    assert code == 0, err
    return read_png(Path(f"{name}.png"))


def test_strength(main: Main) -> None:
    source = photo()
    far = []
    for strength in ("0", "0.34", "0.67", "1"):
        pixels, recipe = drawn(main, f"s{strength}", "--image", "photo.png", "--strength", strength)
        far.append(float(np.abs(pixels.astype(int) - source).mean()))
        assert recipe.spec.start.strength == float(strength)
        assert recipe.spec.start.picture == hashlib.sha256(Path("photo.png").read_bytes()).hexdigest()
    assert far[0] == 0
    assert sorted(far) == far
    assert len(set(far)) == 4
    np.testing.assert_array_equal(pixels, drawn(main, "plain")[0])
    assert recipe.spec.steps_taken == 3
    assert drawn(main, "usual", "--image", "photo.png")[1].spec.start.strength == 0.75


def test_a_mask(main: Main) -> None:
    source = photo()
    mask()
    for words, feather in ((("--feather", "0"), 0), ((), 8)):
        pixels, recipe = drawn(main, f"f{feather}", "--image", "photo.png", "--mask", "mask.png", *words)
        assert (recipe.spec.start.feather, recipe.spec.start.strength) == (feather, 1.0)
        np.testing.assert_array_equal(pixels[:, 64 + feather :], source[:, 64 + feather :])
        assert np.abs(pixels[:, :64].astype(int) - source[:, :64]).mean() > 5


def test_proportions_and_transparency(main: Main) -> None:
    photo("wide.png", (300, 200))
    assert drawn(main, "wide-out", "--image", "wide.png", "--strength", "0")[0].shape == (112, 160, 3)
    assert drawn(main, "square", "--image", "wide.png", "--strength", "0", "--ar", "1:1")[0].shape == (128, 128, 3)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--image", "nothing.png"), "--image 'PATH/nothing.png': No such file"),
        (("--image", "text.png"), "--image 'PATH/text.png': got no picture, allowed a picture (PNG, JPEG"),
        (("--image", "moving.gif"), "--image 'PATH/moving.gif': got one that moves, allowed a single picture"),
        (("--image", "ab" * 32), f"start picture: got picture {'ab' * 32} at 128 x 128, which is not here"),
        (("--image", "photo.png", "--strength", "1.1"), "--strength: got '1.1', allowed a number from 0 to 1"),
        (("--image", "photo.png", "--strength", "x"), "--strength: got 'x'"),
        (("--strength", "0.5"), "image_strength: got 0.5, allowed nothing without an image"),
        (("--mask", "mask.png"), "mask: got"),
        (("--image", "photo.png", "--feather", "3"), "feather: got 3, allowed nothing without a mask"),
        (("--image", "photo.png", "--mask", "small.png"), "mask: got 64 x 32 pixels, allowed 128 x 128, like the pict"),
        (("--image", "photo.png", "--mask", "mask.png", "--feather", "999"), "--feather: got '999'"),
        (("--image", "photo.png", "--mask", "black.png"), "mask: got one that leaves nothing to draw"),
        (("--image", ""), "--image: got '', allowed a picture's file, the SHA-256"),
    ],
)
def test_what_is_refused(main: Main, tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    Path("text.png").write_text("hello")
    photo()
    mask()
    mask("small.png", (64, 32))
    Image.new("1", (128, 128)).save("black.png")
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save("moving.gif", save_all=True, append_images=frames[1:])
    code, out, err = main(*BASE, *words, "-o", "out.png")
    assert code == 2
    assert out == ""
    (line,) = err.splitlines()
    assert told.replace("PATH", str(tmp_path)) in line
    assert not Path("out.png").exists()
