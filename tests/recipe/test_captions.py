"""Captions: clauses in their slots."""

import pytest

from salon.models.mini.recipe.captions import CLAUSES, ROWS, SLOTS, Caption, caption, subject_forms, with_article
from salon.models.mini.recipe.looks import BACKGROUNDS, FINISHES, PALETTES, Look
from salon.models.mini.recipe.sets import STYLES


def test_subject_comes_first_and_rows_add_up() -> None:
    assert CLAUSES == ("subject", "style", "background", "palette", "finish")
    assert sum(n for _, n, _ in SLOTS) == ROWS


def test_full_caption_reads_as_typed() -> None:
    look = Look("sepia", "teal", "mosaic")
    expected = "a red apple, 3d render style, teal background, sepia tones, pixel mosaic"
    assert caption("a red apple", "fluent-3d", look).text() == expected


def test_natural_palette_and_no_finish_say_nothing() -> None:
    assert caption("cat", "noto", Look()) == Caption("cat", "soft shaded style", "white background")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("apple", "an apple"), ("cat", "a cat"), ("jeans", "jeans"), ("glass", "a glass"), ("t rex", "a t rex")],
)
def test_article(name: str, expected: str) -> None:
    assert with_article(name) == expected


def test_forms_are_unique_and_start_with_the_name() -> None:
    forms = subject_forms(("jeans", "trousers", "cat"))
    assert forms == ["jeans", "trousers", "cat", "a cat"]


def test_every_look_has_words_of_its_own() -> None:
    looks = [Look(p, b, f) for p in PALETTES for b in BACKGROUNDS for f in FINISHES]
    seen = {caption("x", s, look).text() for s in STYLES for look in looks}
    assert len(seen) == len(STYLES) * len(looks)
