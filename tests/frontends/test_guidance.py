"""Guidance of several texts from the command line and over the wire: `--no`, `terms`, `prompt_weight`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from salon.engine.guidance import TextTerm
from salon.frontends.recipe import read_png

from .conftest import Main

BASE = ("imagine", "a balloon", "--n", "1", "--steps", "2", "--seed", "7", "--raw", "--quiet", "--ar", "2:1")


def drawn(main: Main, name: str, *words: str) -> tuple[Any, Any]:
    """The pixels and the recipe of a picture."""
    code, _, err = main(*BASE, *words, "-o", f"{name}.png")
    assert code == 0, err
    return read_png(Path(f"{name}.png"))


def test_what_is_left_out_is_a_term_of_the_recipe(main: Main) -> None:
    plain, recipe = drawn(main, "plain")
    assert (recipe.spec.terms, recipe.spec.prompt_weight) == ((), 1.0)
    one, recipe = drawn(main, "one", "--no", "red")
    assert (recipe.spec.terms, recipe.spec.negative_prompt) == ((TextTerm("red", -0.5),), "")
    two, recipe = drawn(main, "two", "--no", "red, a cat")
    assert recipe.spec.terms == (TextTerm("red", -0.5), TextTerm("a cat", -0.5))
    assert np.abs(one.astype(int) - plain).mean() > 0.5
    assert np.abs(two.astype(int) - one).mean() > 0.5


def test_refusals(main: Main) -> None:
    for words, told in (
        (("--no", " , "), "--no: got ' , ', allowed some words"),
        (("--no", "a,b,c,d,e,f,g,h,i"), "terms: got 9 terms, allowed 8 (Limits.max_terms); leave some out"),
        (("--no", "red", "--guidance", "0"), "--no: got it with --guidance 0"),
    ):
        code, out, err = main(*BASE, *words, "-o", "refused.png")
        assert (code, out) == (2, ""), err
        assert told in err
    assert not Path("refused.png").exists()
