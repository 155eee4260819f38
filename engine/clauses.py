"""From a prompt to clauses: which words describe the subject, the style, the background and the palette.

Pure text work, driven by a checkpoint's `salon.json`; `text.py` turns the clauses into numbers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

SUBJECT: Final = "subject"
STYLE: Final = "style"
BACKGROUND: Final = "background"
PALETTE: Final = "palette"

_BREAK = re.compile(r"[,;\n]+|\.(?=\s|$)")
_SPACE = re.compile(r"[\s\-_/]+")
_EDGE = re.compile(r"^\W+|\W+$")
_ARTICLE = re.compile(r"^(?:an?|the)\s+")
_GROUND = re.compile(r"\s(?:background|backdrop)$")
_PLACED = re.compile(r"^(?:(?P<rest>.*)\s)?(?:on|against|over|with|in front of)\s(?P<colour>.+)$")
_PLAIN = re.compile(r"^(?:(?:an?|the|plain|simple|solid)\s)+")
_LEAD = re.compile(r"^(?:in\s+the\s+style\s+of|in|as|with)\s+")


@dataclass(frozen=True)
class Slot:
    """A run of text rows that one clause fills: `tokens` rows; `form` is the wording of the training captions."""

    name: str
    tokens: int
    form: str = "{}"


@dataclass(frozen=True)
class Clauses:
    """A prompt, taken apart.

    Attributes:
        texts: slot name -> the words to encode there, already in the slot's form; slots without a clause are missing.
        warnings: what was left out of the picture, one sentence each, for the user to see.
    """

    texts: Mapping[str, str]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Vocabulary:
    """Words that belong to a slot: spoken form -> the form that the model was trained with."""

    styles: Mapping[str, str]
    palettes: Mapping[str, str]  # "" = no palette clause
    backgrounds: frozenset[str]

    @classmethod
    def from_json(cls, text: Mapping[str, Any]) -> Vocabulary:
        """From the "text" part of `salon.json`."""

        def spoken(table: Mapping[str, Sequence[str]]) -> dict[str, str]:
            return {normalise(form): name for name, forms in table.items() for form in (name, *forms)}

        natural = {normalise(form): "" for form in text.get("natural_palette", ())}
        return cls(
            styles=spoken(text.get("styles", {})),
            palettes=spoken(text.get("palettes", {})) | natural,
            backgrounds=frozenset(normalise(name) for name in text.get("backgrounds", ())),
        )


def normalise(clause: str) -> str:
    """Lower case, hyphens and runs of space as one space, no punctuation at the edges: as the training captions are."""
    return _EDGE.sub("", _SPACE.sub(" ", unicodedata.normalize("NFKC", clause).lower())).strip()


def split(prompt: str) -> list[str]:
    """The prompt's clauses, normalised, without empty ones."""
    return [clause for part in _BREAK.split(prompt) if (clause := normalise(part))]


class ClauseReader:
    """Assigns the clauses of a prompt to slots.

    The first clause that is not an attribute is the subject. Attributes are found anywhere: "... background", "on ..."
    with a known background, known styles ("3d", "3d render of a ...") and palettes. A later clause that is neither
    joins the subject while the subject's slot has room, and is otherwise left out with a warning.

    Args:
        slots: in the order of their rows; one must be called "subject".
        vocabulary: the checkpoint's known words.
        count: number of tokens of a text, without special tokens.
    """

    def __init__(self, slots: Sequence[Slot], vocabulary: Vocabulary, count: Callable[[str], int]) -> None:
        self.slots = {slot.name: slot for slot in slots}
        if SUBJECT not in self.slots:
            raise ValueError(f"text slots: got {', '.join(self.slots)}, want one called {SUBJECT!r}")
        self.vocabulary = vocabulary
        self.count = count

    def read(self, prompt: str) -> Clauses:
        """Take a prompt apart. ValueError if it has no words."""
        clauses = split(prompt)
        if not clauses:
            raise ValueError("the prompt has no words")
        found: dict[str, str] = {}
        warnings: list[str] = []
        plain: list[str] = []
        for clause in clauses:
            plain.extend(self._take_attributes(clause, found, warnings))
        if not plain:  # nothing but attributes: the first clause must be the subject after all
            found = {}
            plain, clauses = clauses[:1], clauses[1:]
            for clause in clauses:
                plain.extend(self._take_attributes(clause, found, warnings := []))
        subject = plain[0]
        for clause in plain[1:]:
            joined = f"{subject} {clause}"
            if self.count(joined) <= self.slots[SUBJECT].tokens:
                subject = joined
            else:
                warnings.append(f"no room for {clause!r}: it is left out (shorten the subject {subject!r})")
        return Clauses({SUBJECT: subject, **found}, tuple(warnings))

    def _take_attributes(self, clause: str, found: dict[str, str], warnings: list[str]) -> list[str]:
        """Put the attributes of one clause into `found`; what is left of it, as a list of none or one."""

        def take(slot: str, words: str) -> bool:
            """Whether `slot` holds `words` or has refused them with a warning; False if the model has no such slot."""
            if slot not in self.slots:
                return False
            text = self.slots[slot].form.format(words) if words else ""
            if found.setdefault(slot, text) != text:
                warnings.append(f"a second {slot}, {words or 'natural'!r}, is left out ({found[slot]!r} came first)")
            return True

        rest, colour = self._background(clause)
        if colour and take(BACKGROUND, colour):
            return self._take_attributes(rest, found, warnings) if rest else []
        bare = _ARTICLE.sub("", _LEAD.sub("", clause))
        if bare in self.vocabulary.palettes and take(PALETTE, self.vocabulary.palettes[bare]):
            return []
        if bare in self.vocabulary.styles and take(STYLE, self.vocabulary.styles[bare]):
            return []
        for spoken, style in self.vocabulary.styles.items():  # "a 3d render of a red apple"
            head = f"{spoken} of "
            if bare.startswith(head) and take(STYLE, style):
                return [bare.removeprefix(head)]
        if bare.endswith(" style") and self._fits(STYLE, bare.removesuffix(" style")):
            take(STYLE, bare.removesuffix(" style"))
            return []
        return [clause]

    def _background(self, clause: str) -> tuple[str, str]:
        """(what is left, background) of "a red apple on a teal background", "teal background" or "on teal"."""
        head = _GROUND.sub("", clause)
        named = head != clause
        placed = _PLACED.match(head)
        if placed:
            colour = _PLAIN.sub("", placed["colour"])
            if named or colour in self.vocabulary.backgrounds:
                return placed["rest"] or "", colour
        if not named:
            return ("", clause) if clause in self.vocabulary.backgrounds else (clause, "")
        colour = _PLAIN.sub("", head)
        if not self._fits(BACKGROUND, colour):  # "red apple teal background": the known colour at its end, if any
            for known in sorted(self.vocabulary.backgrounds, key=len, reverse=True):
                if head.endswith(" " + known):
                    return head.removesuffix(" " + known), known
        return "", colour

    def _fits(self, slot: str, words: str) -> bool:
        return slot in self.slots and self.count(self.slots[slot].form.format(words)) <= self.slots[slot].tokens
