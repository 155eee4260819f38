"""Split a prompt into clauses: which words describe the subject, and which its style, background, palette and so on.

This is pure text work, driven by a checkpoint's `salon.json`, whose data are the slots and the words of each.
`pipelines/clauses.py` turns the clauses into numbers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ...values import shown

SUBJECT: Final = "subject"
BACKGROUND: Final = "background"  # the one slot with a grammar of its own: "on teal", "against a plain teal backdrop"
PALETTE: Final = "palette"

# The patterns run on normalised text (NFKC), in which full-width punctuation has become ASCII. Commas of other scripts,
# and full stops that no space follows, are listed beside it.
_BREAK = re.compile(r"[,;\n\r\u2028\u2029\u060c\u061b\u3001\u3002]+|\.(?=\s|$)")
# What prompts of other programs have beside words: <lora:name:0.8>, (words:1.2), ((words)).
_TAG = re.compile(r"<[a-zA-Z_]{1,20}:[^<>\n]{1,200}>")
_WEIGHT = re.compile(r"[(\[]{1,4}([^()\[\]\n]{1,200}):\s?[0-9]{0,3}\.?[0-9]{1,4}\s?[)\]]{1,4}")
_DOUBLED = re.compile(r"(?:\({2,4}|\[{2,4})([^()\[\]\n]{1,200})(?:\){2,4}|\]{2,4})")
_SPACE = re.compile(r"[\s\-_/]+")
_ARTICLE = re.compile(r"^(?:an?|the)\s+")
_GROUND = re.compile(r"\s(?:background|backdrop)$")
_PLACED = re.compile(r"^(?:(?P<rest>.*)\s)?(?:on|against|over|with|in front of)\s(?P<colour>.+)$")
_PLAIN = re.compile(r"^(?:(?:an?|the|plain|simple|solid)\s)+")
_LEAD = re.compile(r"^(?:in\s+the\s+style\s+of|in|as|with)\s+")
_JOINT = re.compile(r"\s(in the style of|in|as|with)\s")


@dataclass(frozen=True)
class Slot:
    """A run of text rows that one clause fills.

    Attributes:
        name: "subject", "background" or any other.
        tokens: number of rows.
        form: the wording of the training captions, "{}" where the words go.
        words: key of the slot's known words in the "text" part of `salon.json`; "": the name with an s.
        endings: last words of an unknown clause that put it into this slot ("gold palette"), once there is a subject.
    """

    name: str
    tokens: int
    form: str = "{}"
    words: str = ""
    endings: Sequence[str] = ()

    @property
    def table(self) -> str:
        """Key of the slot's known words."""
        return self.words or f"{self.name}s"

    def __post_init__(self) -> None:
        """Raise ValueError if the values make no slot. They come from a file."""
        if not all(isinstance(text, str) for text in (self.name, self.form, self.words, *self.endings)):
            raise ValueError(f"text slot {self.name!r}: want its name, form, words and endings as text")
        if type(self.tokens) is not int or not 1 <= self.tokens <= 10_000:
            raise ValueError(f"text slot {self.name!r}: got {self.tokens!r} tokens, want 1 to 10,000")
        try:
            self.form.format("words")
        except (ValueError, IndexError, KeyError, AttributeError) as error:
            raise ValueError(f"text slot {self.name!r}: got the form {self.form!r}, want one with one {{}}") from error


@dataclass(frozen=True)
class Clauses:
    """The clauses of a prompt.

    Attributes:
        texts: slot name -> the words to encode there, already in the slot's form; slots without a clause are missing.
        warnings: for the user, what was left out of the picture, one sentence each.
    """

    texts: Mapping[str, str]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Vocabulary:
    """The known words of each slot: slot -> spoken form -> trained form ("" = no clause)."""

    tables: Mapping[str, Mapping[str, str]]

    @classmethod
    def from_json(cls, text: Mapping[str, Any]) -> Vocabulary:
        """Read the "text" part of `salon.json`. A slot's words are a list, or map a form to its other spoken forms."""

        def spoken(words: Sequence[str] | Mapping[str, Sequence[str]]) -> dict[str, str]:
            forms = words if isinstance(words, Mapping) else dict.fromkeys(words, ())
            return {normalise(form): name for name, others in forms.items() for form in (name, *others)}

        tables = {}
        for slot in (Slot(**entry) for entry in text["slots"]):
            if slot.name != SUBJECT:
                tables[slot.name] = spoken(text.get(slot.table, ()))
        if PALETTE in tables:
            tables[PALETTE] |= {normalise(form): "" for form in text.get("natural_palette", ())}
        return cls(tables)


def normalise(clause: str) -> str:
    """Write a clause as the training captions are written.

    That is lower case, single spaces in place of hyphens, and no punctuation at the edges.
    """
    return _trimmed(_SPACE.sub(" ", unicodedata.normalize("NFKC", clause).lower()))


def without_article(clause: str) -> str:
    """Return a normalised clause without "a", "an" or "the" before it."""
    return _ARTICLE.sub("", clause)


def split(prompt: str) -> list[str]:
    """Return the prompt's clauses, normalised, without empty ones."""
    parts = _BREAK.split(unicodedata.normalize("NFKC", prompt))
    return [clause for part in parts if (clause := normalise(part))]


def without_foreign_syntax(prompt: str) -> tuple[str, tuple[str, ...]]:
    """Return a prompt without what prompts of other programs have beside words, and a note that says so.

    "(masterpiece:1.2), red apple <lora:x:0.8>" becomes "masterpiece, red apple".
    """
    text = unicodedata.normalize("NFKC", prompt)
    found: list[str] = []

    def without(match: re.Match[str]) -> str:
        found.append(match[0])
        return f" {match[1]} " if match.re.groups else " "

    for pattern in (_TAG, _WEIGHT, _DOUBLED):
        text = pattern.sub(without, text)
    if not found:
        return prompt, ()
    examples = ", ".join(shown(part) for part in dict.fromkeys(found[:4]))
    return text, (f"{examples}: this syntax of other programs means nothing here; the words in it are read as words",)


def words_of(text: str) -> list[str]:
    r"""Split text into runs of letters and figures, each with the marks that belong to it.

    A vowel sign or an accent of its own is part of the letter before it, though `\w` does not match it. Without these
    marks Hindi and Thai words fall apart.
    """
    words, start = [], None
    for at, char in enumerate(text):
        inside = char.isalnum() or (start is not None and is_mark(char))
        if inside and start is None:
            start = at
        elif not inside and start is not None:
            words.append(text[start:at])
            start = None
    return words if start is None else [*words, text[start:]]


def is_mark(char: str) -> bool:
    """Return whether a character is part of the letter before it: a vowel sign, tone or accent."""
    return unicodedata.category(char).startswith("M")


def _trimmed(text: str) -> str:
    """Return the text from its first letter or figure to its last one, with that one's marks."""
    inside = [at for at, char in enumerate(text) if char.isalnum()]
    if not inside:
        return ""
    end = inside[-1] + 1
    while end < len(text) and is_mark(text[end]):
        end += 1
    return text[inside[0] : end]


@dataclass(frozen=True)
class Subject:
    """What a prompt's remaining clauses say of its thing.

    Attributes:
        text: the words for the subject's slot; "": nothing.
        warnings: what is not drawn as it was typed, one sentence each.
    """

    text: str
    warnings: tuple[str, ...] = ()


class ClauseReader:
    """Assigns the clauses of a prompt to slots.

    The first clause that is not an attribute is the subject. Attributes are found anywhere: "... background", "on ..."
    with a known background, and the known words of any other slot, on their own ("3d", "as a sticker"), before a
    subject ("3d render of a ...") or behind it ("... in neon colours", "... with sticker outline"). A later clause that
    is no attribute joins the subject while the subject's slot has free rows; otherwise it is left out with a warning. A
    model that knows its nouns decides that itself, with `choose`. Syntax of other programs' prompts is dropped.

    Args:
        slots: the slots, in the order of their rows; one must be called "subject".
        vocabulary: the checkpoint's known words.
        count: returns the number of tokens of a text, without special tokens.
        choose: returns the subject of all clauses that are no attributes; None: they are joined.
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        vocabulary: Vocabulary,
        count: Callable[[str], int],
        choose: Callable[[Sequence[str]], Subject] | None = None,
    ) -> None:
        self.slots = {slot.name: slot for slot in slots}
        if SUBJECT not in self.slots:
            raise ValueError(f"text slots: got {', '.join(self.slots)}, want one called {SUBJECT!r}")
        self.backgrounds = vocabulary.tables.get(BACKGROUND, {})
        others = [slot.name for slot in slots if slot.name not in (SUBJECT, BACKGROUND)]
        self.tables = {name: vocabulary.tables.get(name, {}) for name in others}
        self.count = count
        self._choose = choose or self._joined

    def read(self, prompt: str, *, beside: bool = False) -> Clauses:
        """Split a prompt into clauses. Raise ValueError if it has no words, and whatever `choose` raises.

        `beside`: attributes alone will do.
        """
        prompt, foreign = without_foreign_syntax(prompt)
        clauses = split(prompt)
        if not clauses:
            raise ValueError("the prompt has no words")
        reading = _Reading({}, [*foreign], [])
        for clause in clauses:
            self._read_clause(clause, reading)
        if not reading.plain and beside and any(reading.found.values()):
            return Clauses(reading.found, tuple(reading.warnings))
        if not reading.plain:  # nothing but attributes: the first clause must be the subject after all
            reading = _Reading({}, [*foreign], clauses[:1])
            for clause in clauses[1:]:
                self._read_clause(clause, reading)
        subject = self._choose(reading.plain)
        found = {SUBJECT: subject.text, **reading.found} if subject.text else reading.found
        return Clauses(found, (*reading.warnings, *subject.warnings))

    def _joined(self, clauses: Sequence[str]) -> Subject:
        """Return all clauses as one subject, as far as they fit."""
        subject, warnings = clauses[0], []
        for clause in clauses[1:]:
            joined = f"{subject} {clause}"
            if self.count(joined) <= self.slots[SUBJECT].tokens:
                subject = joined
            else:
                warnings.append(f"no room for {clause!r}: it is left out (shorten the subject {subject!r})")
        return Subject(subject, tuple(warnings))

    def _read_clause(self, clause: str, reading: _Reading) -> None:
        """Put the attributes of one clause into `reading.found`, and what is left of it into `reading.plain`."""
        rest, colour = self._background(clause)
        if colour and self._take(BACKGROUND, self.backgrounds.get(colour, colour), reading):
            if rest:
                self._read_clause(rest, reading)
            return
        bare = _ARTICLE.sub("", _LEAD.sub("", clause))
        for slot, table in self.tables.items():
            if bare in table:
                self._take(slot, table[bare], reading)
                return
        for slot, table in self.tables.items():  # "a 3d render of a red apple"
            for spoken, words in table.items():
                if bare.startswith(f"{spoken} of "):
                    self._take(slot, words, reading)
                    self._read_clause(bare.removeprefix(f"{spoken} of "), reading)
                    return
        for joint in _JOINT.finditer(clause):  # "a fox in neon colours"; "with ink" may well be part of the subject
            words = _ARTICLE.sub("", clause[joint.end() :])
            known = [slot for slot, table in self.tables.items() if words in table]
            if known and (joint[1] != "with" or " " in words):
                self._take(known[0], self.tables[known[0]][words], reading)
                self._read_clause(clause[: joint.start()], reading)
                return
        for slot, table in self.tables.items():
            form = self.slots[slot].form.partition("{}")[2]
            head = bare.removesuffix(form)
            if form and head != bare and self._fits(slot, head):
                self._take(slot, table.get(head, head), reading)
                return
            ending = bare.endswith(tuple(f" {word}" for word in self.slots[slot].endings))
            if ending and reading.plain and self._fits(slot, bare):
                self._take(slot, bare, reading)
                return
        reading.plain.append(clause)

    def _take(self, slot: str, words: str, reading: _Reading) -> bool:
        """Return whether `slot` holds `words` or has refused them with a warning.

        If the model has no such slot, the answer is False.
        """
        if slot not in self.slots:
            return False
        text = self.slots[slot].form.format(words) if words else ""
        if reading.found.setdefault(slot, text) != text:
            first = reading.found[slot] or "natural"
            reading.warnings.append(f"a second {slot}, {words or 'natural'!r}, is left out ({first!r} came first)")
        return True

    def _background(self, clause: str) -> tuple[str, str]:
        """Return (the rest, the background) of "a red apple on a teal background", "teal background" or "on teal"."""
        head = _GROUND.sub("", clause)
        named = head != clause
        placed = _PLACED.match(head)
        if placed:
            colour = _PLAIN.sub("", placed["colour"])
            if named or colour in self.backgrounds:
                return placed["rest"] or "", colour
        if not named:
            return ("", clause) if clause in self.backgrounds else (clause, "")
        colour = _PLAIN.sub("", head)
        if not self._fits(BACKGROUND, colour):  # "red apple teal background": the known colour at its end, if any
            for known in sorted(self.backgrounds, key=len, reverse=True):
                if head.endswith(" " + known):
                    return head.removesuffix(" " + known), known
        return "", colour

    def _fits(self, slot: str, words: str) -> bool:
        return slot in self.slots and self.count(self.slots[slot].form.format(words)) <= self.slots[slot].tokens


@dataclass
class _Reading:
    """The state of reading a prompt."""

    found: dict[str, str]
    warnings: list[str]
    plain: list[str]
