"""The vocabulary file and how icons are found."""

from pathlib import Path

import pytest

from salon.models.mini.recipe.errors import VocabularyError
from salon.models.mini.recipe.vocabulary import Concept, bare, find_icons, parse_line, read_vocabulary

PACKAGES = {"noto": ("noto", ""), "phosphor-light": ("ph", "-light")}


def test_the_file_reads_and_is_large_enough() -> None:
    concepts = read_vocabulary()
    assert len(concepts) >= 500
    assert sum(len(c.held) for c in concepts) >= 40


def test_line_with_everything() -> None:
    line = "hot drink | coffee, cup of coffee | ~espresso : hot-beverage, ph=coffee, game-icons="
    c = parse_line(line)
    assert c == Concept(
        "hot drink",
        ("coffee", "cup of coffee"),
        ("espresso",),
        ("hot-beverage",),
        {"ph": ("coffee",), "game-icons": ()},
    )
    assert c.names == ("hot drink", "coffee", "cup of coffee")


def test_a_name_is_its_own_key() -> None:
    assert parse_line("beer mug").keys == ("beer-mug",)


@pytest.mark.parametrize("line", ["", "| x : y", "Café", "two  |"])
def test_bad_lines(line: str) -> None:
    if line == "two  |":
        assert parse_line(line).name == "two"
    else:
        with pytest.raises(VocabularyError):
            parse_line(line)


@pytest.mark.parametrize("second", ["cat", "feline | cat", "feline | ~cat"])
def test_a_name_twice_is_refused(tmp_path: Path, second: str) -> None:
    path = tmp_path / "words.txt"
    path.write_text(f"# head\ncat\n\n{second}\n")
    with pytest.raises(VocabularyError, match=r"words.txt:4.*cat.*line 2"):
        read_vocabulary(path)


def test_icons_are_found_by_name_number_and_variant() -> None:
    concepts = [parse_line("beer mug"), parse_line("mouse | : mouse-face, ph=")]
    icons = {"noto": ["beermug-1", "mouse-face"], "phosphor-light": ["beer-mug", "beer-mug-light", "mouse-face-light"]}
    found = find_icons(concepts, icons, PACKAGES)
    assert found == {
        ("beer mug", "noto"): "beermug-1",
        ("beer mug", "phosphor-light"): "beer-mug-light",
        ("mouse", "noto"): "mouse-face",
    }


def test_the_plainest_spelling_wins() -> None:
    found = find_icons([parse_line("cake")], {"noto": ["cake-2", "cake", "cake-1"]}, PACKAGES)
    assert found == {("cake", "noto"): "cake"}


@pytest.mark.parametrize(("key", "expected"), [("beer-mug-1", "beermug"), ("t-rex", "trex"), ("1", "1")])
def test_bare(key: str, expected: str) -> None:
    assert bare(key) == expected
