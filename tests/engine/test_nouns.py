"""What is drawn for a noun: the file, the forms of words, and how well the shipped model's table does.

`nouns.tsv` has 300 everyday nouns: the 200 picturable words of Ogden's Basic English (1930), and 100 people, animals,
foods and things that are not among these. It is marked by hand: whether some name of the vocabulary is a sensible
picture of the noun, and whether the name that is drawn is one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from salon.engine.config import Config
from salon.engine.errors import CheckpointError, PromptError
from salon.engine.reading import load_reader
from salon.engine.text.nouns import Nouns, load_nouns
from salon.engine.text.reader import PromptReader

TABLE: dict[str, Any] = {"drawn": {"apple": ["pippin"]}, "without": {"woman": ["apple"], "idea": []}}


class Mark(NamedTuple):
    """A line of the list: `name` is drawn ("-": nothing), `served`: some name would do, `sensible`: this one does."""

    noun: str
    name: str
    served: bool
    sensible: bool


def marks() -> Iterator[Mark]:
    for line in Path(__file__).with_name("nouns.tsv").read_text().splitlines()[1:]:
        noun, name, served, sensible = line.split("\t")
        yield Mark(noun, name, served == "yes", sensible == "yes")


@pytest.fixture(scope="module")
def shipped() -> PromptReader:
    reader = load_reader()
    assert isinstance(reader, PromptReader)
    return reader


def drawn(reader: PromptReader, noun: str) -> str:
    try:
        return reader.read(noun).texts["subject"]
    except PromptError:
        return "-"


def test_everyday_nouns_are_drawn_sensibly_or_not_at_all(shipped: PromptReader) -> None:
    """Ruling 13: of those that the vocabulary can serve 85 % are drawn, and 95 % of the drawn are sensible."""
    marked = list(marks())
    assert len({mark.noun for mark in marked}) == len(marked) == 300
    assert {mark.noun: drawn(shipped, mark.noun) for mark in marked} == {mark.noun: mark.name for mark in marked}
    found = [mark for mark in marked if mark.name != "-"]
    served = [mark for mark in marked if mark.served]
    assert sum(mark.sensible for mark in found) >= 0.95 * len(found)
    assert sum(mark.sensible for mark in served) >= 0.85 * len(served)
    others = [mark for mark in served if mark.noun not in (shipped.nouns or Nouns(frozenset(), {}, {})).names]
    assert sum(mark.sensible for mark in others) >= 0.85 * len(others), "also without those that are names themselves"


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("a puppy wearing a hat", "dog"),
        ("a cat, oil painting", "a cat"),
        ("two red apples on a wooden table", "red apple"),
        ("a boat", "motor boat"),
        ("(masterpiece:1.2), best quality, red apple <lora:x:0.8>", "red apple"),
        ("a photo of a sports car at night, 4k", "car"),
        ("a red fox", "fox"),
        ("a grey wolf", "wolf"),
        ("a polar bear", "a polar bear"),
        ("two green apples", "green apple"),
        ("a black sheep on a hill", "sheep"),
        ("a boiled egg", "egg"),
        ("a wild dog", "dog"),
        ("an orange juice", "-"),
        ("a snow leopard", "-"),
        ("a woman in a red dress", "-"),
        ("a girl", "-"),
        ("a wooden table", "-"),
        ("a lighthouse on a cliff", "-"),
        ("an old lighthouse in the fog", "-"),
        ("a fish tank", "-"),
        ("un gato negro", "-"),
        ("猫", "-"),
    ],
)
def test_prompts_of_people(shipped: PromptReader, prompt: str, text: str) -> None:
    """faults.md 4, 24 and 25: fishing pole, top hat, painting, ladybird, chair, "masterpiece:1.2"."""
    assert drawn(shipped, prompt) == text


def test_what_is_replaced_or_left_out_is_said(shipped: PromptReader) -> None:
    reading = shipped.read("an old puppy in the fog, oil painting, 3d render, (best quality:1.3)")
    assert reading.texts == {"subject": "dog", "style": "3d render style"}
    syntax, thing, rest = reading.warnings
    assert syntax.startswith("'(best quality:1.3)': this syntax of other programs means nothing here")
    assert thing.endswith("is drawn as 'dog', the nearest thing that the model knows; left out: 'old', 'in the fog'")
    assert rest.startswith("'oil painting', 'best quality' are left out")
    assert shipped.read("a red apple, 3d render, on a teal background").warnings == ()


def test_how_a_thing_looks_makes_no_other_thing_of_it(shipped: PromptReader) -> None:
    """The table has some such names of more words as nouns of their own, of which nothing is a picture."""
    nouns = shipped.nouns
    assert nouns is not None
    assert "red fox" in nouns.without
    reading = shipped.read("a red fox in the snow")
    assert reading.texts == {"subject": "fox"}
    assert reading.warnings == ("'a red fox in the snow' is drawn as 'fox'; left out: 'red', 'in the snow'",)


def test_a_refusal_offers_names(shipped: PromptReader) -> None:
    with pytest.raises(PromptError, match=r"got 'snow leopard', .*; did you mean 'leopard'\?"):
        shipped.read("a snow leopard")
    with pytest.raises(PromptError, match=r"prompt: got 'lighthouse', allowed a thing .*; did you mean '.*' or '.*'\?"):
        shipped.read("an old lighthouse in the fog")
    with pytest.raises(PromptError, match=r"got 'a red aple', .*; did you mean 'apple'.*`salon words` lists"):
        shipped.read("a red aple")


def test_what_is_not_to_be_drawn(shipped: PromptReader) -> None:
    avoided = shipped.read("people, doodle", "negative_prompt", beside=True)
    assert avoided.texts == {"style": "doodle style"}
    assert avoided.warnings == ("'people' is left out: the model draws no such thing",)
    assert shipped.read("a puppy", "negative_prompt", beside=True).texts == {"subject": "dog"}


# ---- the file --------------------------------------------------------------------------------------------------------


def config(folder: Path, table: Any, entry: Any = None) -> Config:
    (folder / "nouns.json").write_text(table if isinstance(table, str) else json.dumps(table))
    concepts = [{"name": "apple", "synonyms": ["Red-Apple"]}]
    text = {"nouns": {"file": "nouns.json"} if entry is None else entry}
    return Config(folder / "salon.json", {"text": text, "vocabulary": {"concepts": concepts}})


def test_the_table_is_read(tmp_path: Path) -> None:
    nouns = load_nouns(config(tmp_path, TABLE))
    assert nouns == Nouns(frozenset(("apple", "red apple")), {"pippin": "apple"}, {"woman": ("apple",), "idea": ()})
    assert load_nouns(Config(tmp_path / "salon.json", {"text": {}})) is None


@pytest.mark.parametrize(
    ("words", "noun"),
    [
        ("apple", "apple"), ("apples", "apple"), ("red apples", "red apple"), ("women", "woman"), ("ideas", "idea"),
        ("pippins", "pippin"),
    ],
)  # fmt: skip
def test_plurals_are_found(tmp_path: Path, words: str, noun: str) -> None:
    nouns = load_nouns(config(tmp_path, TABLE))
    assert nouns is not None
    match = nouns.find(words.split())
    assert match is not None
    assert match.noun == noun


@pytest.mark.parametrize(
    ("table", "entry"),
    [
        ("{", None),
        ([], None),
        ({"drawn": {}}, None),
        (TABLE | {"drawn": {"pear": ["conference"]}}, None),
        (TABLE | {"drawn": {"apple": "pippin"}}, None),
        (TABLE | {"drawn": ["apple"]}, None),
        (TABLE | {"without": {"woman": ["pear"]}}, None),
        (TABLE, {"file": "absent.json"}),
        (TABLE, {"file": "../nouns.json"}),
        (TABLE, {"table": "nouns.json"}),
        (TABLE, "nouns.json"),
    ],
)
def test_a_table_that_cannot_be_right_is_refused(tmp_path: Path, table: Any, entry: Any) -> None:
    with pytest.raises(CheckpointError, match=r"nouns|absent"):
        load_nouns(config(tmp_path, table, entry))
