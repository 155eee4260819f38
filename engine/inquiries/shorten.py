"""Shorten: which words of a prompt carry weight, and what is left of it without those that carry least.

A word weighs what the model's velocity changes by when it is left out, at a few noise samples and levels. A word that
the reader leaves out weighs nothing, exactly. Articles, prepositions and the like go with the word behind them: alone
they say nothing, and without them the rest says something else. A clause behind the first counts as one word, since it
names one look. The shorter prompts leave out word after word, the lightest first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from ..errors import PromptError
from ..text.heads import JOINING
from . import Asking, Probe, Question, Text

if TYPE_CHECKING:
    from ..text.reader import PromptReader

HELP = "which words of a prompt carry weight, and shorter prompts"
PICTURE = False
LEVELS: Final = (0.9, 0.6)  # noise levels: what is where, and what it looks like
NOISES: Final = 2  # samples at each level
MOST_WORDS: Final = 32  # words that are weighed; those behind weigh nothing, and are said so
SHORTER: Final = 5  # prompts


class _Word(NamedTuple):
    """A word with those that join it to what stands before it, and the number of the clause that it stands in."""

    text: str
    clause: int


def num_probes(prompt: str, names: Mapping[str, int]) -> int:
    """See `Inquiry`."""
    return min(len(_words(prompt)), MOST_WORDS) * len(LEVELS) * NOISES


def ask(question: Question) -> Asking:
    """See `Inquiry`."""
    words, reader = _words(question.prompt), question.words
    without = [_joined([*words[:at], *words[at + 1 :]]) for at in range(min(len(words), MOST_WORDS))]
    looks = [(noise, level) for level in LEVELS for noise in range(NOISES)]
    numbers = yield [Probe(text, noise, level) for noise, level in looks for text in without]
    weights = [sum(math.sqrt(number) for number in numbers[at :: len(without)]) for at in range(len(without))]
    weights += [0.0] * (len(words) - len(without))
    total = sum(weights)
    shares = [weight / total if total else 0.0 for weight in weights]
    told = []
    whole = _read(_joined(words), reader)
    for at, word in enumerate(words):
        note = ""
        if at >= len(without):
            note = f"not weighed: only the first {MOST_WORDS} words are"
        elif not shares[at] and _read(without[at], reader) == whole:
            note = "left out: the model reads nothing of it"
        told.append(Text(word.text, round(shares[at], 4), "word", note))
    return (*told, *_shorter(words, shares, reader))


def _shorter(words: Sequence[_Word], shares: Sequence[float], reader: PromptReader) -> list[Text]:
    """Return up to `SHORTER` prompts that can be read, the one that keeps most of the weight first."""
    left, found = list(range(len(words))), list[tuple[Text, Mapping[str, str]]]()
    for at in sorted(left, key=lambda at: (shares[at], -at))[:-1]:  # of equal ones the last goes first
        left.remove(at)
        text = _joined(words[each] for each in left)
        read = _read(text, reader)
        if read is None:
            continue
        kept = round(sum(shares[each] for each in left), 4)
        if found and read == found[-1][1]:
            found.pop()  # the same picture of fewer words
        found.append((Text(text, kept), read))
    if len(found) > SHORTER:  # of all lengths, the longest and the shortest among them
        last = len(found) - 1
        found = [found[round(place * last / (SHORTER - 1))] for place in range(SHORTER)]
    return [text for text, _ in found]


def _words(prompt: str) -> list[_Word]:
    """Return the words of a prompt: those of its first clause one by one, each other clause as a whole, since it names
    one look."""
    found: list[_Word] = []
    for clause, part in enumerate(prompt.split(",")):
        joining: list[str] = []
        if clause and part.strip():
            found.append(_Word(" ".join(part.split()), clause))
            continue
        for word in part.split():
            joining.append(word)
            if word.lower() not in JOINING:
                found.append(_Word(" ".join(joining), clause))
                joining = []
        if joining and found and found[-1].clause == clause:
            found[-1] = _Word(" ".join([found[-1].text, *joining]), clause)
        elif joining:
            found.append(_Word(" ".join(joining), clause))
    return found


def _joined(words: Iterable[_Word]) -> str:
    clauses: dict[int, list[str]] = {}
    for word in words:
        clauses.setdefault(word.clause, []).append(word.text)
    return ", ".join(" ".join(clause) for clause in clauses.values())


def _read(text: str, reader: PromptReader) -> Mapping[str, str] | None:
    """Return what the model reads of a text, slot -> words; None: it refuses it."""
    try:
        return reader.read(text).texts
    except PromptError:
        return None
