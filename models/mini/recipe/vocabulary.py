"""The vocabulary: `vocabulary.txt` read into concepts, and each concept's icon in every drawing set."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .errors import VocabularyError

FILE = Path(__file__).with_name("vocabulary.txt")
# Drawings whose picture shows something else than their name says (found by eye): (set, concept).
MISDRAWN_NAMES = {
    "fxemoji": "sunglasses, keyboard, construction barrier",
    "emojione": "basketball",
    "streamline": "rainbow, castle, turkey, necktie, headphones",
    "phosphor-light": "gem",
    "phosphor-duotone": "gem",
    "game-icons": "pig, volcano, ram, fountain, lobster claw, construction barrier",
    "icon-park": (
        "rock, wood, pie, chicken, turkey, anchor, ring, keyboard, telephone receiver, compass, frying pan, red heart, "
        "telescope, fireworks, magic wand, label, trumpet, razor, egg"
    ),
}
MISDRAWN = frozenset((group, name.strip()) for group, names in MISDRAWN_NAMES.items() for name in names.split(","))


@dataclass(frozen=True)
class Concept:
    name: str
    synonyms: tuple[str, ...]  # used in training captions
    held: tuple[str, ...]  # never used in training: does the text space generalise?
    keys: tuple[str, ...]
    keys_of: Mapping[str, tuple[str, ...]]  # set name -> keys that replace `keys` there

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.synonyms)


def parse_line(line: str) -> Concept:
    """Parse `name | synonym, synonym | ~held : key, key, set=key`; all parts after the name may be left out."""
    left, _, right = line.partition(":")
    name, *others = [part.strip() for part in left.split("|")]
    if not name or not re.fullmatch(r"[a-z0-9 ]+", name):
        raise VocabularyError(f"vocabulary line {line!r}: a name is lower-case words")
    words = [w.strip() for part in others for w in part.split(",") if w.strip()]
    keys: list[str] = []
    keys_of: dict[str, tuple[str, ...]] = {}
    for key in (k.strip() for k in right.split(",") if k.strip()):
        if "=" in key:
            group, _, own = key.partition("=")
            keys_of[group] = (*keys_of.get(group, ()), own) if own else ()
        else:
            keys.append(key)
    return Concept(
        name=name,
        synonyms=tuple(w for w in words if not w.startswith("~")),
        held=tuple(w[1:] for w in words if w.startswith("~")),
        keys=tuple(keys) or (name.replace(" ", "-"),),
        keys_of=keys_of,
    )


def read_vocabulary(path: Path = FILE) -> list[Concept]:
    """Read all concepts in file order. Raises VocabularyError for a bad line or a name that stands twice."""
    out: list[Concept] = []
    seen: dict[str, int] = {}
    for number, raw in enumerate(path.read_text().splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        concept = parse_line(line)
        for name in (*concept.names, *concept.held):
            if name in seen:
                raise VocabularyError(f"{path.name}:{number}: {name!r} stands in line {seen[name]} already")
            seen[name] = number
        out.append(concept)
    return out


@cache
def bare(key: str) -> str:
    """Return a key without dashes and trailing number, as keys are compared."""
    return re.sub(r"\d+$", "", key.replace("-", "")) or key


def find_icons(
    concepts: Iterable[Concept], icons: Mapping[str, Iterable[str]], packages: Mapping[str, tuple[str, str]]
) -> dict[tuple[str, str], str]:
    """Find the icon of each (concept, set).

    `icons`: set name -> its package's icon names; `packages`: set name -> (package, suffix of the wanted variant).
    """
    tables: dict[str, dict[str, str]] = {}
    for group, names in icons.items():
        suffix = packages[group][1]
        table = tables.setdefault(group, {})
        for name in sorted(names, key=lambda n: (len(n), n)):
            if name.endswith(suffix):
                table.setdefault(bare(name.removesuffix(suffix)), name)
    found = {}
    for concept in concepts:
        for group, table in tables.items():
            if (group, concept.name) in MISDRAWN:
                continue
            keys = concept.keys_of.get(group, concept.keys_of.get(packages[group][0], concept.keys))
            icon = next((table[bare(k)] for k in keys if bare(k) in table), None)
            if icon is not None:
                found[concept.name, group] = icon
    return found
