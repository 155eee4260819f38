"""Folders of which every module is one thing: what is added is found, and two of one name are refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from salon.plugins import Plugins


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `knots` of two modules."""
    folder = tmp_path / "knots"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "reef.py").write_text("HELP = 'flat'\n")
    (folder / "bowline.py").write_text("HELP = 'a loop'\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("knots", "knots.reef", "knots.bowline"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return folder


def test_the_default_comes_first_and_a_new_file_is_found(package: Path) -> None:
    knots: Plugins[Any] = Plugins("knot", "knots", [str(package)], "reef")
    assert knots.names() == ("reef", "bowline")
    assert knots.get("bowline").HELP == "a loop"
    (package / "anchor.py").write_text("HELP = 'a bend'\n")
    knots.forget()
    assert knots.names() == ("reef", "anchor", "bowline")
    with pytest.raises(ValueError, match="knot: got 'granny', want one of reef, anchor, bowline"):
        knots.get("granny")


def test_two_of_one_name_are_refused(package: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "reef.py").write_text("")
    knots: Plugins[Any] = Plugins("knot", "knots", [str(package), str(other)], "reef")
    with pytest.raises(ValueError, match="knot 'reef': got two, in .*knots and .*other, want one; rename one"):
        knots.get("reef")


def test_what_a_module_says_of_itself_is_read_without_loading_it(package: Path) -> None:
    (package / "splice.py").write_text(
        "import nosuch\nHELP = 'two ends'\nSIZES: tuple[int, ...] = (1, 2)\nWORD = len('x')\n"
    )
    (package / "whipping").mkdir()
    (package / "whipping" / "__init__.py").write_text("HELP = 'an end'\n")
    knots: Plugins[Any] = Plugins("knot", "knots", [str(package)])
    assert [knots.constant(name, "HELP") for name in knots.names()] == ["a loop", "flat", "two ends", "an end"]
    assert knots.constant("splice", "SIZES") == (1, 2)
    assert "knots.splice" not in sys.modules
    with pytest.raises(ValueError, match="knot 'reef': got no SIZES, want a literal"):
        knots.constant("reef", "SIZES")
    with pytest.raises(ValueError, match="knot: got 'granny', want one of bowline, reef, splice, whipping"):
        knots.constant("granny", "HELP")
