"""The screen on which pairs are chosen between: what stands under pictures."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from salon.frontends.commands.choosing import _captions
from salon.frontends.terminal.pictures import GAP, Place


@pytest.mark.parametrize("caption", ["a cat", "猫がいる" * 9, "x" * 99, "🐈" * 40, "a\x1b[31mcat\n"])
def test_captions_stand_under_their_pictures(caption: str) -> None:
    place = Place(2, 20, 10)
    line = _captions((caption, "right one"), place)
    assert line.endswith("2 right one\n")
    assert cell_len(line.rpartition("2 right")[0]) == place.columns + GAP
    assert "\x1b" not in line
    assert line.count("\n") == 1
