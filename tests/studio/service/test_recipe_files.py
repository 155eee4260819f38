"""Recipes in picture files of every kind, and what other tools read there."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from salon.engine.info import ModelIdentity
from salon.engine.spec import AdapterUse, GenerationSpec
from salon.recipe_text import FORMATS
from salon.studio.service.infotext import infotext
from salon.studio.service.recipe import Recipe, RecipeError, pixel_hash
from salon.studio.service.recipe_files import encode, read_picture_file, read_png, transcode

PROMPT = 'a "red" apple <on> & a table, 苹果 🍎'
PIXELS = np.random.default_rng(1).integers(0, 256, (32, 48, 3), np.uint8)


def made(**spec: object) -> Recipe:
    fields = {"prompt": PROMPT, "negative_prompt": "blue: sky, clouds", "seed": 7, "width": 48, "height": 32}
    return Recipe(
        salon="0.1.0",
        kind="image",
        image=1,
        spec=GenerationSpec(**{**fields, "images": 2, "guidance_scale": 2.5, **spec}),  # type: ignore[arg-type]
        clauses={"thing": "apple"},
        warnings=("</salon:recipe> is left out",),
        model=ModelIdentity(name="mini", version="2", digest="ab" * 32, components={}),
        backend="cpu/avx2",
        dtype="float32",
        pixels=pixel_hash(PIXELS),
    )


@pytest.mark.parametrize("format", FORMATS)
def test_every_file_carries_its_recipe(format: str) -> None:
    data = encode(PIXELS, made(), format)
    pixels, recipe = read_picture_file(io.BytesIO(data))
    assert recipe == made()
    assert pixels.shape == PIXELS.shape
    assert (pixel_hash(pixels) == recipe.pixels) == (format == "PNG")
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == format


@pytest.mark.parametrize("format", FORMATS)
def test_another_tool_reads_prompt_and_settings(tmp_path: Path, format: str) -> None:
    sd_parsers = pytest.importorskip("sd_parsers")
    path = tmp_path / f"x.{format.lower()}"
    path.write_bytes(encode(PIXELS, made(), format))
    found = sd_parsers.ParserManager().parse(str(path))
    assert found is not None
    assert [prompt.value for prompt in found.prompts] == [PROMPT]
    assert [prompt.value for prompt in found.negative_prompts] == ["blue: sky, clouds"]
    (sampler,) = found.samplers
    assert sampler.name == "Euler"
    assert sampler.parameters == {"cfg_scale": "2.5", "seed": "7", "steps": "20"}
    assert [(model.name, model.hash) for model in found.models] == [("mini 2", "ababababab")]


def test_the_text_for_other_tools() -> None:
    style = AdapterUse("style:number:4093", 0.5)
    text = infotext(made(negative_prompt="", adapters=(style,), shift=3.0))
    assert text == (
        f"{PROMPT}\nSteps: 20, Sampler: Euler, CFG scale: 2.5, Seed: 7, Size: 48x32, Model hash: ababababab, "
        'Model: mini 2, Shift: 3, Batch size: 2, Batch pos: 1, Adapter 1: "style:number:4093 0.5", '
        "Version: Salon 0.1.0"
    )


def test_a_png_becomes_another_file_with_the_same_recipe() -> None:
    png = encode(PIXELS, made())
    assert transcode(png, "PNG") is png
    _, recipe = read_picture_file(io.BytesIO(transcode(png, "WEBP")))
    assert recipe == made()


def test_what_does_not_fit_a_jpeg_is_refused() -> None:
    long = made(prompt="x" * 40_000)
    assert read_png(io.BytesIO(encode(PIXELS, long)))[1] == long
    with pytest.raises(RecipeError, match=r"a recipe of [0-9,]+ bytes, allowed up to 65,000 in a JPEG; choose PNG"):
        encode(PIXELS, long, "JPEG")


def test_files_without_a_recipe_say_so() -> None:
    for format in FORMATS:
        buffer = io.BytesIO()
        Image.fromarray(PIXELS).save(buffer, format)
        with pytest.raises(RecipeError, match="no recipe inside, allowed a picture that Salon made; give the original"):
            read_picture_file(io.BytesIO(buffer.getvalue()))
    with pytest.raises(RecipeError, match="no picture, or a damaged one"):
        read_picture_file(io.BytesIO(b"GIF89a"))
    with pytest.raises(RecipeError, match="no PNG, or a damaged one"):
        read_png(io.BytesIO(encode(PIXELS, made(), "JPEG")))
