"""Styles from the command line: `--s`, `--raw`, `--sref`, `--sw`, here."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from salon.engine.engine import EMBEDDED
from salon.frontends.recipe import read_png

from .conftest import Main

BASE = ("imagine", "a red apple", "--n", "1", "--steps", "2", "--seed", "7", "--dtype", "float32", "--quiet")


def picture(path: Path, seed: int = 0) -> str:
    """Write a picture; its digest."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (6, 8, 3)).astype(np.uint8)
    Image.fromarray(coarse).resize((80, 60), Image.Resampling.NEAREST).save(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def drawn(main: Main, name: str, *words: str) -> tuple[Any, Any]:
    """The pixels and the recipe of a picture."""
    code, _, err = main(*BASE, *words, "-o", f"{name}.png")
    assert code == 0, err
    return read_png(Path(f"{name}.png"))


def test_the_default_style_and_without_it(main: Main) -> None:
    own, recipe = drawn(main, "own")
    assert [(use.adapter, use.weight) for use in recipe.spec.adapters] == [("style:default", 0.4)]
    np.testing.assert_array_equal(drawn(main, "s100", "--s", "100")[0], own)
    plain, recipe = drawn(main, "raw", "--raw")
    assert recipe.spec.adapters == ()
    np.testing.assert_array_equal(drawn(main, "s0", "--s", "0")[0], plain)
    strong, _ = drawn(main, "strong", "--stylize", "1000")
    assert np.abs(strong.astype(int) - plain).mean() > np.abs(own.astype(int) - plain).mean() > 1


def test_references(main: Main) -> None:
    digest = picture(Path("ref.png"))
    by_file, recipe = drawn(main, "file", "--sref", "ref.png")
    assert [(use.adapter, use.weight) for use in recipe.spec.adapters] == [(f"style:picture:{digest}", 1.0)]
    Path("ref.png").rename("other name.png")
    np.testing.assert_array_equal(drawn(main, "again", "--sref", "other name.png")[0], by_file)
    plain, _ = drawn(main, "plain", "--raw")
    weak, recipe = drawn(main, "none", "--sref", "other name.png", "--sw", "0")
    assert recipe.spec.adapters == ()
    np.testing.assert_array_equal(weak, plain)
    both, recipe = drawn(main, "both", "--sref", "4093::3", "./other name.png", "--s", "50", "--sw", "200")
    assert [(use.adapter, round(use.weight, 3)) for use in recipe.spec.adapters] == [
        ("style:default", 0.2), ("style:number:4093", 0.875), (f"style:picture:{digest}", 0.292)
    ]  # fmt: skip
    for other in (by_file, plain):
        assert np.abs(both.astype(int) - other).mean() > 1


def test_random_is_told_and_can_be_had_again(main: Main) -> None:
    first, recipe = drawn(main, "first", "--sref", "random")
    number = recipe.spec.adapters[0].adapter.removeprefix("style:number:")
    np.testing.assert_array_equal(drawn(main, "second", "--sref", number)[0], first)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--sref", "nothing.png"), "--sref 'PATH/nothing.png': No such file"),
        (("--sref", "text.png"), "--sref 'PATH/text.png': got no picture, allowed a picture (PNG, JPEG"),
        (("--sref", "."), "Is a directory"),
        (("--sref", "4294967296"), "--sref: got '4294967296', allowed a style number"),
        (("--sref", "ab" * 32), "style reference: got picture abababababab, which is not here"),
        (("--sref", "1", "2", "3", "4", "5"), "--sref: got 5 references, allowed 1 to 4"),
        (("--sref", "7", "7"), "--sref: got 7 twice"),
        (("--sw", "50"), "style_weight: got 50 without a style reference"),
        (("--s", "50", "--raw"), "--s: got it beside --raw, allowed one of them"),
        (("--s", "1001"), "--s: got '1001', allowed a number from 0 to 1000"),
    ],
)
def test_what_is_refused(main: Main, tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    Path("text.png").write_text("hello")
    code, out, err = main(*BASE, *words, "-o", "out.png")
    assert code == 2
    assert out == ""
    (line,) = err.splitlines()
    assert told.replace("PATH", str(tmp_path)) in line
    assert not Path("out.png").exists()


def test_a_model_without_styles(main: Main, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for path in EMBEDDED.iterdir():
        if path.name not in ("salon.json", "adapter.safetensors", "recipe"):
            (folder / path.name).symlink_to(path)
    salon = json.loads((EMBEDDED / "salon.json").read_text())
    del salon["default_style"], salon["style_vectors"]
    (folder / "salon.json").write_text(json.dumps(salon))
    plain, recipe = drawn(main, "plain", "--model", str(folder))
    assert recipe.spec.adapters == ()
    np.testing.assert_array_equal(plain, drawn(main, "raw", "--raw")[0])
    code, _, err = main(*BASE, "--model", str(folder), "--sref", "7", "-o", "out.png")
    assert code == 2
    assert "the model has no style" in err
