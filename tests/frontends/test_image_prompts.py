"""Pictures before the words of a prompt, on the command line, here: `photo.png a cat --iw 1.5`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.engine.image_prompts import LOOK, WITH_WORDS, WITHOUT
from salon.frontends.recipe import read_png

from .conftest import Main
from .test_start import photo

BASE = ("--n", "1", "--steps", "10", "--seed", "7", "--dtype", "float32", "--quiet", "--s", "0")


def drawn(main: Main, name: str, prompt: str, *words: str) -> tuple[Any, Any]:
    """The pixels and the recipe of a picture."""
    code, _, err = main("imagine", prompt, *BASE, *words, "-o", f"{name}.png")
    assert code == 0, err
    return read_png(Path(f"{name}.png"))


def far(made: Any, source: Any) -> float:
    """How far two pictures are from each other, in levels."""
    return float(np.abs(made.astype(int) - source).mean())


def test_the_weight(main: Main) -> None:
    source = photo()
    digest = hashlib.sha256(Path("photo.png").read_bytes()).hexdigest()
    plain, recipe = drawn(main, "plain", "a red apple")
    np.testing.assert_array_equal(drawn(main, "iw0", "photo.png a red apple --iw 0")[0], plain)
    distances = [far(plain, source)]
    for weight, share, look in ((1, 0.85, 0.6), (2, 0.75, 0.9), (3, 0.65, 1.2)):
        pixels, recipe = drawn(main, f"iw{weight}", f"photo.png a red apple --iw {weight}")
        assert (recipe.spec.start.picture, recipe.spec.start.strength) == (digest, share)
        assert [(use.adapter, round(use.weight, 6)) for use in recipe.spec.adapters] == [
            (f"style:picture:{digest}", look)
        ]
        distances.append(far(pixels, source))
    assert distances == sorted(distances, reverse=True)
    assert distances[3] < distances[0] / 2, "3 is near to the picture"
    usual, again = drawn(main, "usual", "photo.png a red apple")
    assert again.spec.start.strength == dict(WITH_WORDS)[1.0]
    assert again.spec.adapters[0].weight == dict(LOOK)[1.0]
    np.testing.assert_array_equal(usual, drawn(main, "one", "photo.png a red apple --iw 1")[0])
    assert usual.shape == plain.shape, "the size is that of a prompt without pictures"


def test_several_and_none_of_words(main: Main) -> None:
    photo()
    photo("wide.png", (300, 200))
    digests = [hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in ("photo.png", "wide.png")]
    both, recipe = drawn(main, "both", "photo.png wide.png a red apple")
    assert recipe.spec.start.pictures == tuple(digests)
    assert [use.weight for use in recipe.spec.adapters] == [0.3, 0.3]
    swapped, _ = drawn(main, "swapped", "wide.png photo.png a red apple")
    assert far(both, swapped) < 0.01, "a mean has no order, but for the rounding of sums"
    alone, recipe = drawn(main, "alone", "photo.png wide.png")
    assert (recipe.spec.prompt, recipe.spec.start.strength) == ("", dict(WITHOUT)[1.0])
    blended, _ = drawn(main, "blended", "photo.png wide.png --blend")
    np.testing.assert_array_equal(alone, blended)
    assert far(alone, both) > 1


def test_a_plan(main: Main) -> None:
    photo()
    digest = hashlib.sha256(Path("photo.png").read_bytes()).hexdigest()
    code, out, err = main("plan", "photo.png a red apple --iw 2", "--json")
    assert code == 0, err
    (job,) = json.loads(out)["jobs"]
    assert job["prompt"] == f"{digest} a red apple --iw 2"
    assert (job["parameters"]["image_prompts"], job["parameters"]["image_weight"]) == ([digest], 2.0)
    assert job["sources"]["image_prompts"] == "typed"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("photo.png",), "Cannot use a single image prompt without text: add text or a second image"),
        (("nothing.png a cat",), "image prompt 'nothing.png': No such file"),
        (("text.png a cat",), "image prompt 'text.png': got no picture"),
        (("photo.png a cat --iw 3.1",), "--iw: got '3.1', allowed a number from 0 to 3"),
        (("photo.png a cat --iw -1",), "--iw: got '-1'"),
        (("a cat --iw 1",), "--iw: got it without image prompts"),
        (("photo.png::2 a cat",), "a weight of one picture"),
        (("photo.png photo.png a cat",), "got a picture twice"),
        (("photo.png a cat --image photo.png",), "--image: got it beside image prompts"),
        (("photo.png a cat --blend",), "--blend: got it with words"),
        (("a cat --blend",), "--blend: got it with words"),
        (("photo.png other.png --iw 0",), "--iw: got 0 without words"),
        (("a.png b.png c.png d.png e.png f.png a cat",), "image_prompts: got 6 pictures, allowed 1 to 5"),
        ((f"{'ab' * 12}:1 a cat",), "a job's JOB:NUMBER only with a server"),
        ((f"{'ab' * 32} a cat",), "which is not here"),
        (("photo.png a cat --oref photo.png",), "--oref: got it with another model, allowed models that were"),
        (("a cat --cref photo.png",), "A picture before the words draws from it, --sref in its style"),
        (("photo.png a cat --tile",), "tile: got it with a picture to start from"),
    ],
)
def test_what_is_refused(main: Main, words: tuple[str, ...], told: str) -> None:
    Path("text.png").write_text("hello")
    photo()
    for name in ("other.png", "a.png", "b.png", "c.png", "d.png", "e.png", "f.png"):
        photo(name, (64, 32))
    code, out, err = main("imagine", *words, "--n", "1", "--steps", "3", "--quiet", "-o", "out.png")
    assert code == 2
    assert out == ""
    assert told in err.splitlines()[0]
    assert not Path("out.png").exists()


def test_blend(main: Main) -> None:
    """The kind, and `--blend` in a prompt of pictures alone, are the same; any files serve."""
    photo()
    photo("wide.png", (300, 200))
    words, _ = drawn(main, "words", "photo.png wide.png --blend")
    code, _, err = main("blend", "photo.png", "wide.png", *BASE, "-o", "kind.png")
    assert code == 0, err
    pixels, recipe = read_png(Path("kind.png"))
    np.testing.assert_array_equal(pixels, words)
    assert recipe.spec.start is not None
    assert (recipe.spec.prompt, len(recipe.spec.start.pictures), len(recipe.spec.adapters)) == ("", 2, 2)
    again, _ = drawn(main, "other", "photo.png wide.png", "--iw", "3")
    assert far(again, words) > 1
    for command in ("vary", "zoom"):  # without a style, whose pictures are not here
        code, _, err = main(command, "kind.png", "--raw", "--n", "1", "--steps", "3", "--quiet", "-o", f"{command}.png")
        assert code == 0, err
        assert read_png(Path(f"{command}.png"))[1].spec.prompt == ""
    code, _, err = main("vary", "kind.png", "photo.png a cat", "--raw", "--quiet", "-o", "refused.png")
    assert code == 2
    assert "got pictures before the words, allowed none for what starts from a picture already" in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("blend", "photo.png"), "sources: got 1 for 'blend', allowed 2 to 5"),
        (("blend", "photo.png", "kind.png", "a cat"), "blend: got words, allowed pictures alone"),
        (("blend", "photo.png", "photo.png"), "got a picture twice"),
        (("blend", "photo.png", "kind.png", "--image", "photo.png"), "image: got it for a blend"),
        (("blend", "text.png", "photo.png"), "got no picture"),
        (("blend", "photo.png", "kind.png", "--iw", "0"), "--iw: got 0 without words"),
    ],
)
def test_blends_that_are_refused(main: Main, words: tuple[str, ...], told: str) -> None:
    photo()
    photo("kind.png", (64, 32))
    Path("text.png").write_text("hello")
    code, out, err = main(*words, "--n", "1", "--steps", "3", "--quiet", "-o", "out.png")
    assert (code, out) == (2, "")
    assert told in err.splitlines()[0]
    assert not Path("out.png").exists()
