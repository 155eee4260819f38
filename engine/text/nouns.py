"""What a checkpoint draws for a noun: the name that it was taught, one that stands in for it, or nothing.

A small model has learned to draw things by their names, and only by these. So the words for a thing are looked up, not
measured: the table of `text.nouns` of `salon.json` says which name is a sensible picture of which other noun ("puppy":
"dog"), and of which nouns none is ("woman"). Looking up needs no weights and gives the same answer on every machine,
so that a request is refused before it becomes a job.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches
from typing import Any, Final

from ..checkpoint import file_named
from ..config import Config, read_json
from ..errors import MalformedFile
from .clauses import normalise
from .neighbours import names_of

MAX_WORDS: Final = 4  # of a name or noun; longer runs of words are not looked up
_LONGEST: Final = 24  # characters of a word whose spelling is compared with others'
_COMPARED: Final = 4  # words of a prompt for which that is done
_LONGER: Final = 3  # letters by which words may differ in length
_ALIKE: Final = 0.8  # as difflib counts it: one letter in eight may be missing or wrong
_IRREGULAR: Final[Mapping[str, str]] = {
    "men": "man", "women": "woman", "children": "child", "people": "person", "feet": "foot", "teeth": "tooth",
    "mice": "mouse", "geese": "goose", "oxen": "ox", "dice": "die", "wolves": "wolf", "leaves": "leaf",
    "knives": "knife", "shelves": "shelf", "loaves": "loaf", "elves": "elf", "scarves": "scarf", "calves": "calf",
    "hooves": "hoof", "wives": "wife", "cacti": "cactus",
}  # fmt: skip


@dataclass(frozen=True)
class Match:
    """What is known of a noun.

    Attributes:
        noun: the words, as they were looked up.
        name: what is drawn; None: nothing is a picture of it.
        near: names that are near to a noun without a name.
    """

    noun: str
    name: str | None
    near: tuple[str, ...] = ()

    @property
    def replaced(self) -> bool:
        """Whether the name stands in for another noun."""
        return self.name is not None and self.name != self.noun


@dataclass(frozen=True)
class Nouns:
    """Names that a model was taught, and nouns beside them. All are normalised, without an article.

    Attributes:
        names: what it draws.
        drawn: noun -> the name that stands in for it.
        without: noun that no name stands in for -> names that are near.
    """

    names: frozenset[str]
    drawn: Mapping[str, str]
    without: Mapping[str, tuple[str, ...]]

    def find(self, words: Sequence[str]) -> Match | None:
        """Return what is known of these words as one noun, in the singular or plural; None: nothing."""
        if not 1 <= len(words) <= MAX_WORDS + 2:
            return None
        for noun in _forms(words):
            if noun in self.names:
                return Match(noun, noun)
            if noun in self.drawn:
                return Match(noun, self.drawn[noun])
            if noun in self.without:
                return Match(noun, None, self.without[noun])
        return None

    def alike(self, words: Sequence[str]) -> tuple[str, ...]:
        """Return names that are spelt nearly like one of these words, or drawn for a noun that is, nearest first.

        Only nouns of the same first letter and about the same length are compared: a server answers many meanwhile.
        """
        near = Counter[str]()
        for word in [word for word in words if 4 <= len(word) <= _LONGEST][:_COMPARED]:
            both = (*self.names, *self.drawn)
            known = [noun for noun in both if noun[0] == word[0] and abs(len(noun) - len(word)) <= _LONGER]
            for noun in get_close_matches(word, known, 3, _ALIKE):
                likeness = SequenceMatcher(None, word, noun).ratio() + (noun in self.names) / 100
                near[self.drawn.get(noun, noun)] = round(1000 * likeness)
        return tuple(name for name, _ in near.most_common())


def _forms(words: Sequence[str]) -> Iterator[str]:
    """Yield the words as they are, then with the last one in the singular, as English makes it."""
    *before, last = words
    for form in (last, *_singulars(last)):
        yield " ".join([*before, form])


def _singulars(word: str) -> Iterator[str]:
    if word in _IRREGULAR:
        yield _IRREGULAR[word]
    elif word.endswith("ies") and len(word) > 4:
        yield word[:-3] + "y"
        yield word[:-1]  # cookies
    elif word.endswith(("ches", "shes", "xes", "sses", "zes", "oes")):
        yield word[:-2]
        yield word[:-1]  # axes, shoes
    elif word.endswith("s") and not word.endswith("ss") and len(word) > 2:
        yield word[:-1]


def load_nouns(salon: Config) -> Nouns | None:
    """Return what `salon.json` says of nouns; None if it says nothing.

    Raises:
        CheckpointError: the file is missing or broken, or names something that the model was not taught.
    """
    entry = salon.mapping("text").get("nouns")
    if not entry:
        return None
    key = "text.nouns"
    if not isinstance(entry, dict):
        raise MalformedFile("wrong entry", path=salon.path, key=key, expected="an object", found=type(entry).__name__)
    path = file_named(salon.path, f"{key}.file", entry.get("file"))
    table = read_json(path)
    try:
        names = frozenset(normalise(name) for name in names_of(salon.mapping("vocabulary")))
        drawn = {noun: name for name, nouns in _lists(table["drawn"]) for noun in nouns}
        without = {noun: tuple(near) for noun, near in _lists(table["without"])}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedFile(f"nouns: {error!r}", path=path, key=key) from error
    strange = ({*drawn.values()} | {name for near in without.values() for name in near}) - names
    if strange or not names:
        expected, found = "names of vocabulary.concepts", json.dumps(min(strange, default=""))
        raise MalformedFile("wrong nouns", path=path, key=key, expected=expected, found=found)
    return Nouns(names, drawn, without)


def _lists(table: Any) -> Iterator[tuple[str, list[str]]]:
    """Yield the entries of a table of texts by a text. Raise TypeError for anything else."""
    for key, values in table.items():
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise TypeError(f"{key!r}: want a list of texts")
        yield key, values
