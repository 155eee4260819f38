"""`salon recipe` and `salon reproduce`: what is inside a picture, and the same picture again."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from salon.frontends.recipe import encode, encode_png, infotext, plain, read_picture_file, read_png

from .conftest import Main
from .test_styles import picture

BASE = ("imagine", "a red apple, 3d render", "--steps", "2", "--seed", "7", "--quiet")


@pytest.fixture
def apple(main: Main) -> Path:
    """A picture of two that were made together."""
    code, _, err = main(*BASE, "--n", "2", "-o", "apple.png")
    assert code == 0, err
    return Path("apple-2.png")


def test_the_recipe_of_a_picture(main: Main, apple: Path) -> None:
    pixels, recipe = read_png(apple)
    Path("apple.webp").write_bytes(encode(pixels, recipe, "WEBP"))
    for name in ("apple-2.png", "apple.webp"):
        code, out, _ = main("recipe", name)
        assert code == 0
        said = dict(line.split("  ", 1) for line in out.splitlines())
        assert said["prompt"].strip() == "a red apple, 3d render"
        assert said["what"].strip() == "picture 2, 128 x 128, seed 7"
        assert said["pixels"].strip() == recipe.pixels
        assert json.loads(main("recipe", name, "--json")[1]) == json.loads(json.dumps(plain(recipe)))
        assert main("recipe", name, "--text")[1] == infotext(recipe) + "\n"
    code, _, err = main("recipe", "none.png")
    assert (code, "No such file" in err) == (2, True)


def test_a_picture_is_made_again_and_compared(main: Main, apple: Path) -> None:
    code, out, _ = main("reproduce", str(apple), "--quiet", "-o", "again.png")
    assert (code, out) == (0, "")
    assert Path("again.png").read_bytes() == apple.read_bytes()
    code, out, _ = main("reproduce", "apple.png")  # the grid
    assert (code, out) == (0, "the same pixels\n")
    pixels, recipe = read_png(apple)
    Path("other.png").write_bytes(encode_png(pixels, msgspec.structs.replace(recipe, pixels="0" * 64)))
    code, out, _ = main("reproduce", "other.png", "--json")
    assert code == 1
    found = json.loads(out)
    assert (found["same"], found["expected"], found["made"]) == (False, "0" * 64, recipe.pixels)
    code, out, _ = main("reproduce", "other.png")
    assert (code, out) == (1, f"other pixels: {recipe.pixels}, in the recipe {'0' * 64}\n")


def test_another_model_is_refused_with_both_hashes(main: Main, apple: Path) -> None:
    pixels, recipe = read_png(apple)
    model = msgspec.structs.replace(recipe.model, digest="ab" * 32, name="mini", version="0")
    Path("other.png").write_bytes(encode_png(pixels, msgspec.structs.replace(recipe, model=model)))
    code, out, err = main("reproduce", "other.png")
    assert (code, out) == (2, "")
    assert f"recipe: got one of mini 0 ({'ab' * 32}), allowed one of salon-mini 1 ({recipe.model.digest}); name" in err


def test_a_picture_in_the_style_of_another_needs_that_one(main: Main) -> None:
    digest = picture(Path("ref.png"))
    code, _, err = main(*BASE, "--n", "1", "--sref", "ref.png", "-o", "styled.png")
    assert code == 0, err
    code, _, err = main("reproduce", "styled.png")
    assert code == 2
    assert (
        f"style reference: got picture {digest}, which is not here, allowed one that was added; name its file: --r"
        in err
    )
    code, out, err = main("reproduce", "styled.png", "--reference", "ref.png", "-o", "again.png", "--quiet")
    assert (code, out) == (0, "")
    np.testing.assert_array_equal(read_png("again.png")[0], read_png("styled.png")[0])


def test_a_picture_that_starts_from_another_needs_that_one(main: Main, apple: Path) -> None:
    assert main("upscale", str(apple), "--seed", "3", "--steps", "2", "--quiet", "-o", "large.png")[0] == 0
    code, _, err = main("reproduce", "large.png")
    assert code == 2
    assert "start picture: got picture " in err
    assert "name its file: --reference FILE" in err
    assert main("reproduce", "large.png", "--reference", str(apple))[:2] == (0, "the same pixels\n")


def test_pixels_of_another_backend_are_told_before(main: Main, apple: Path) -> None:
    pixels, recipe = read_png(apple)
    Path("other.png").write_bytes(encode_png(pixels, msgspec.structs.replace(recipe, backend="cuda/sm_90")))
    _, _, err = main("reproduce", "other.png")
    assert "salon: note: it was made on cuda/sm_90" in err
    assert "pixels may differ" in err


def test_other_formats_by_the_name(main: Main, apple: Path) -> None:
    """They carry the same recipe, of the same pixels."""
    for name, format in (("apple.jpg", "JPEG"), ("apple.WEBP", "WEBP")):
        code, _, err = main(*BASE, "--n", "2", "-o", name)
        assert code == 0, err
        for number, before in (("", "apple.png"), ("-2", "apple-2.png")):
            file = Path(name).with_stem(f"apple{number}")
            with Image.open(file) as image:
                assert image.format == format
            assert read_picture_file(file)[1] == read_png(before)[1]
    assert main("reproduce", "apple-1.jpg", "--quiet", "-o", "again.webp")[0] == 0
    assert read_picture_file("again.webp")[1] == read_png("apple-1.png")[1]
