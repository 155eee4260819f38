"""The measurement of `describe`, in its tiniest form, and the held-out pictures that the real one composes."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import numpy as np
from rich.console import Console

from salon.bench.facts import SHIPPED, digests
from salon.bench.report import problems
from salon.models.mini.recipe import describe
from salon.models.mini.recipe.config import PRESETS
from salon.models.mini.recipe.split import held_pairs
from salon.models.mini.recipe.store import Stage


def test_tiny(tmp_path: Path) -> None:
    """The thing of a picture that the model drew in four steps is told from two dozen, by the shipped model."""
    nowhere = Console(file=StringIO())
    assert describe.main(argv=["--tiny", "--threads", "1", "--out", str(tmp_path)], console=nowhere) == 0
    document = json.loads((tmp_path / "describe.json").read_text())
    assert problems(document) == []
    assert document["model"] == digests(SHIPPED)
    assert document["details"]["pictures"] == "the model's own"
    (row,) = document["rows"]
    assert len(row["prompts"]) == len(set(row["prompts"])) == 4
    assert row["place"] >= 1, row
    assert all(goal["met"] for goal in document["goals"])


def test_held_out_pictures_are_of_held_out_pairs(tmp_path: Path) -> None:
    things, sets = [f"thing {i}" for i in range(20)], ["noto", "twemoji", "fluent-flat", "streamline"]
    icons = [{"set": name, "concept": thing, "key": thing} for thing in things for name in sets]
    rgba = np.zeros((len(icons), 256, 256, 4), np.uint8)
    rgba[:, 60:200, 60:200] = (200, 40, 40, 255)
    stage = Stage(tmp_path, "raster", {}, {})
    stage.write_array("rgba.npy", rgba)
    stage.write_json("icons.json", icons)
    stage.finish()
    data = PRESETS["full"]().data
    held = held_pairs([(row["concept"], row["set"]) for row in icons], data.held_pairs, data.seed)
    shown = list(describe.held_out(tmp_path, 10))
    assert {one.thing for one in shown} == {thing for thing, _ in held}
    for one in shown:
        assert one.pixels.shape == (128, 128, 3)
        assert one.clauses["style"].endswith(" style")
        assert one.clauses["background"].endswith(" background")
