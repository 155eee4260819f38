"""Prompts, taken apart by the embedded model's own data."""

import json
import unicodedata
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.engine.text.clauses import ClauseReader, Slot, Vocabulary, normalise, split, words_of

TEXT = json.loads((files("salon.models") / "mini" / "salon.json").read_text())["text"]
SLOTS = [Slot(**slot) for slot in TEXT["slots"]]


def count(text: str) -> int:
    return len(text.split())


READER = ClauseReader(SLOTS, Vocabulary.from_json(TEXT), count)


def read(prompt: str) -> tuple[Mapping[str, str], tuple[str, ...]]:
    clauses = READER.read(prompt)
    return clauses.texts, clauses.warnings


TEAL = {"subject": "a red apple", "style": "3d render style", "background": "teal background"}


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("a red apple, 3d render, on a teal background", TEAL),
        ("A Red  Apple; 3D-render style; teal background.", TEAL),
        ("teal background, 3d, a red apple", TEAL),
        ("a 3d render of a red apple on a teal background", TEAL),
        ("a red apple on teal, in the style of a 3d render", TEAL),
        ("a red apple against a plain teal backdrop\n3d rendering", TEAL),
        ("red apple", {"subject": "red apple"}),
        ("a cat, in pastel colors", {"subject": "a cat", "palette": "pastel colours"}),
        ("a cat, black and white", {"subject": "a cat", "palette": "monochrome"}),
        ("a cat, natural colours", {"subject": "a cat", "palette": ""}),
        (
            "a cat, neon, on a sky blue background",
            {"subject": "a cat", "palette": "neon colours", "background": "sky blue background"},
        ),
        ("a cat, sunset gradient", {"subject": "a cat", "background": "sunset gradient background"}),
        (
            "a cat in pastel colours on teal",
            {"subject": "a cat", "palette": "pastel colours", "background": TEAL["background"]},
        ),
        ("a cat, cartoon style", {"subject": "a cat", "style": "flat cartoon style"}),
        ("a squid with ink", {"subject": "a squid with ink"}),
        ("a fox, gold palette", {"subject": "a fox", "palette": "gold palette"}),
        ("a cat, art deco style", {"subject": "a cat", "style": "art deco style"}),
        ("red apple sky blue background", {"subject": "red apple", "background": "sky blue background"}),
        ("a ghost with a hat on pink", {"subject": "a ghost with a hat", "background": "pink background"}),
        ("a t-shirt", {"subject": "a t shirt"}),
        ("a cat, with a hat", {"subject": "a cat with a hat"}),
        ("doodle", {"subject": "doodle"}),
        ("doodle, pink", {"subject": "doodle", "background": "pink background"}),
        ("pink", {"subject": "pink"}),
    ],
)
def test_readings(prompt: str, texts: dict[str, str]) -> None:
    assert read(prompt) == (texts, ())


def test_what_does_not_fit_is_said() -> None:
    texts, warnings = read(
        "a red apple, in a beautiful old garden at dawn, doodle, storybook, on teal, pink background"
    )
    assert texts == {"subject": "a red apple", "style": "doodle style", "background": "teal background"}
    assert len(warnings) == 3
    for words in ("in a beautiful old garden at dawn", "storybook", "pink"):
        assert sum(f"{words!r}" in warning for warning in warnings) == 1


def test_the_same_attribute_twice_is_no_conflict() -> None:
    assert read("a red apple, 3d render, 3d, teal background, on teal") == (
        {"subject": "a red apple", "style": "3d render style", "background": "teal background"},
        (),
    )


@pytest.mark.parametrize("prompt", ["", " ", ",,;", "\n\t", "...", ", . ,"])
def test_no_words(prompt: str) -> None:
    with pytest.raises(ValueError, match="no words"):
        READER.read(prompt)


def test_a_model_without_attribute_slots_gets_one_subject() -> None:
    reader = ClauseReader([Slot("subject", 20)], Vocabulary({}), count)
    assert reader.read("a red apple, 3d render, on a teal background").texts == {
        "subject": "a red apple 3d render on a teal background"
    }
    with pytest.raises(ValueError, match="want one called 'subject'"):
        ClauseReader([Slot("name", 6)], Vocabulary({}), count)


MORE: dict[str, Any] = {
    "slots": [
        {"name": "subject", "tokens": 6},
        {"name": "style", "tokens": 4, "form": "{} style"},
        {"name": "background", "tokens": 4, "form": "{} background"},
        {"name": "palette", "tokens": 3, "endings": ["palette", "colours", "tones"]},
        {"name": "finish", "tokens": 3, "words": "finishes", "endings": ["outline", "texture"]},
    ],
    "styles": {"3d render": ["3d"], "doodle": []},
    "palettes": {"neon colours": ["neon"]},
    "natural_palette": ["natural"],
    "backgrounds": {"teal": [], "grey": ["gray"], "sunset gradient": ["sunset"]},
    "finishes": {"sticker outline": ["sticker", "white outline"], "halftone dots": ["halftone", "dots"]},
}
FOX = {"subject": "a fox", "style": "3d render style", "background": "teal background"}


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        (
            "a fox, 3d, gold palette, on teal, with sticker outline",
            FOX | {"palette": "gold palette", "finish": "sticker outline"},
        ),
        (
            "a 3d render of a fox with sticker outline on teal, neon",
            FOX | {"palette": "neon colours", "finish": "sticker outline"},
        ),
        ("as a sticker, a fox, in halftone dots", {"subject": "a fox", "finish": "sticker outline"}),
        ("a sticker of a fox in neon", {"subject": "a fox", "palette": "neon colours", "finish": "sticker outline"}),
        ("a fox, pencil outline", {"subject": "a fox", "finish": "pencil outline"}),
        ("an artist palette, doodle", {"subject": "an artist palette", "style": "doodle style"}),
        ("a dress with dots, natural", {"subject": "a dress with dots", "palette": ""}),
        ("a dress, dots", {"subject": "a dress", "finish": "halftone dots"}),
        ("a fox on gray", {"subject": "a fox", "background": "grey background"}),
        ("a fox, sunset background", {"subject": "a fox", "background": "sunset gradient background"}),
    ],
)
def test_slots_and_their_words_are_data(prompt: str, texts: dict[str, str]) -> None:
    reader = ClauseReader([Slot(**slot) for slot in MORE["slots"]], Vocabulary.from_json(MORE), count)
    assert reader.read(prompt).texts == texts


SAMPLE = "a red apple, teal background on 3d render style neon ; . of pink cat with natural the"
WORDS = st.sampled_from(SAMPLE.replace(",", " ,").split())


@given(st.lists(WORDS, min_size=1, max_size=30).map(" ".join))
def test_every_word_is_used_or_named(prompt: str) -> None:
    if not split(prompt):
        return
    clauses = READER.read(prompt)
    assert clauses.texts["subject"]
    assert clauses == READER.read(prompt)
    said = " ".join([*clauses.texts.values(), *clauses.warnings])
    for word in ("cat", "apple", "red"):
        assert (word in prompt.split()) <= (word in said)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(prompt: str) -> None:
    try:
        clauses = READER.read(prompt)
    except ValueError:
        assert not split(prompt)
    else:
        assert clauses.texts["subject"] == normalise(clauses.texts["subject"])


# ---- other scripts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prompt",
    [
        "a red apple，3d render，on a teal background",
        "ａ red apple；３ｄ render；teal background．",
        "a red apple、3d render、teal background。",
        "a red apple。3d render。teal background",
        "a red apple، 3d render؛ teal background",
        "a red apple\r3d render\u2028teal background",
    ],
)  # fmt: skip
def test_punctuation_of_other_scripts_breaks_clauses(prompt: str) -> None:
    """faults.md 5: the pattern ran before the text was normalised, so that style and background were lost."""
    assert read(prompt) == (TEAL, ())


@given(st.text())
def test_normalised_text_is_read_alike(prompt: str) -> None:
    """No pattern sees text before it is normalised."""
    assert split(prompt) == split(unicodedata.normalize("NFKC", prompt))


@pytest.mark.parametrize("word", ["बिल्ली", "कुत्ता", "ไก่", "ตู้", "ნაყინი", "தமிழ்", "cafe\u0301s\u0301"])
def test_marks_stay_with_their_letters(word: str) -> None:
    """faults.md 6: the last vowel sign of a clause was cut off as if it were punctuation."""
    word = unicodedata.normalize("NFKC", word)
    assert normalise(word) == normalise(f"«{word}»!") == word
    assert split(f"{word}, {word}.") == [word, word]
    assert words_of(f"¿{word} {word}-{word}!") == [word] * 3


def test_marks_without_a_letter_are_none() -> None:
    assert normalise("\u0301 a heart \u2764\ufe0f!") == "a heart"
    assert words_of("\u0301\u2764\ufe0f") == []


@given(st.text())
def test_words_are_what_is_between(text: str) -> None:
    words = words_of(text)
    assert all(word[0].isalnum() for word in words)
    rest = text
    for word in words:
        before, _, rest = rest.partition(word)
        assert not any(char.isalnum() for char in before)
    assert not any(char.isalnum() for char in rest)
