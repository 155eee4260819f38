"""Describe: prompts that a picture might have been drawn of, in the model's own words.

The model itself is the judge: a text describes a picture the better, the less the model errs about the noise in it
(`engine/probing.py`). Colours and finish come first, of prompts that name no thing. Then things, of prompts with these:
all of them at one noise sample, and from round to round the best ones at more. Then every slot once more, of a prompt
with the best thing. The style is that whose vector is nearest to the picture's, where the model has an encoder of
styles. All candidates of a round see the same noise. Which noise levels and how many candidates these are was measured:
`docs/describe.md`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from ...kernels.elementary import exp
from ..text.clauses import BACKGROUND, PALETTE, SUBJECT
from . import Asking, Probe, Question, Text

HELP = "prompts that a picture might have been drawn of"
PICTURE = True
PROMPTS: Final = 4
# The model tells words of these slots apart without knowing the thing. It does not so tell styles.
BEFORE: Final[Sequence[str]] = (BACKGROUND, PALETTE, "finish")
# The model compares the words of a slot at these noise levels, with one noise sample for each level. It tells colours
# apart best at high levels, and fine detail at low ones.
LEVELS: Final[Mapping[str, Sequence[float]]] = {
    "style": (0.95, 0.9),
    BACKGROUND: (0.97, 0.95),
    PALETTE: (0.95, 0.9),
    "finish": (0.65, 0.5),
}
OTHER_LEVELS: Final = (0.9, 0.6)
STYLE: Final = "style"
NEAR: Final = 0.1  # a cosine to a style that is so much less makes it e times less likely
SURE: Final = 0.02  # a mean error that is so much larger makes a text e times less likely


class Round(NamedTuple):
    """So many things, the best so far, at these noise levels, a sample each."""

    things: int
    levels: tuple[float, ...]


ROUNDS: Final = (Round(10_000, (0.85,)), Round(48, (0.7, 0.85)), Round(12, (0.6, 0.75, 0.9)))

_Shares = list[tuple[str, float]]
_Telling = Generator[Sequence[Probe], Sequence[float], _Shares]


def num_probes(prompt: str, names: Mapping[str, int]) -> int:
    """See `Inquiry`."""
    others = {
        slot: (count + 1) * len(LEVELS.get(slot, OTHER_LEVELS))
        for slot, count in names.items()
        if slot != SUBJECT and count
    }
    told = sum(others.values()) + sum(others.get(slot, 0) for slot in BEFORE)
    things = sum(min(names[SUBJECT], each.things) * len(each.levels) for each in ROUNDS)
    return told + things


def ask(question: Question) -> Asking:
    """See `Inquiry`."""
    noises = itertools.count()
    slots = [slot.name for slot in question.words.slots if slot.name != SUBJECT and question.names[slot.name]]
    words = dict.fromkeys(slots, "")
    found: dict[str, _Shares] = {}
    if question.styles:
        found[STYLE] = _likely([*question.styles], [-near for near in question.styles.values()], NEAR)
        words[STYLE] = found[STYLE][0][0]
    for slot in filter(slots.__contains__, BEFORE):
        words[slot] = (yield from _tell(question, noises, slot, "", words))[0][0]
    things = yield from _things(question, noises, words)
    for slot in sorted(filter(lambda slot: slot not in found, slots), key=lambda slot: slot in BEFORE):
        found[slot] = yield from _tell(question, noises, slot, things[0][0], words)
        words[slot] = found[slot][0][0]
    readings = [(share * _product(found), thing, words) for thing, share in things[:PROMPTS]]
    for slot in slots:  # and other words for the best thing, one at a time
        for word, share in found[slot][1:PROMPTS]:
            changed = things[0][1] * _product(found) * share / found[slot][0][1]
            readings.append((changed, things[0][0], words | {slot: word}))
    readings.sort(key=lambda reading: -reading[0])
    return tuple(Text(_prompt(question, thing, said), round(share, 4)) for share, thing, said in readings[:PROMPTS])


def _things(question: Question, noises: Iterator[int], words: Mapping[str, str]) -> _Telling:
    """Tell which thing a picture shows, the most likely first."""
    things, taken = list(question.names[SUBJECT]), 0
    totals = dict.fromkeys(things, 0.0)
    for each in ROUNDS:
        things = sorted(things, key=lambda thing: totals[thing])[: each.things]  # stable: of equal ones the first
        looks = [(next(noises), level) for level in each.levels]
        errors = yield [Probe(_prompt(question, thing, words), *look) for look in looks for thing in things]
        for at, error in enumerate(errors):
            totals[things[at % len(things)]] += error
        taken += len(looks)
    return _likely(things, [totals[thing] / taken for thing in things])


def _tell(question: Question, noises: Iterator[int], slot: str, thing: str, words: Mapping[str, str]) -> _Telling:
    """Tell which word of a slot, or none, suits a picture best beside others, the most likely first."""
    choices = ["", *question.names[slot]]
    looks = [(next(noises), level) for level in LEVELS.get(slot, OTHER_LEVELS)]
    texts = [_prompt(question, thing, {**words, slot: word}) for word in choices]
    errors = yield [Probe(text, *look) for look in looks for text in texts]
    means = [sum(errors[at :: len(choices)]) / len(looks) for at in range(len(choices))]
    return _likely(choices, means)


def _likely(texts: Sequence[str], errors: Sequence[float], sure: float = SURE) -> _Shares:
    """Return texts with their shares of likelihood by their mean errors, the most likely first."""
    least = min(errors)
    weights = [float(exp((least - error) / sure)) for error in errors]
    total = sum(weights)
    found = [(text, weight / total) for text, weight in zip(texts, weights, strict=True)]
    return sorted(found, key=lambda pair: -pair[1])


def _product(found: Mapping[str, _Shares]) -> float:
    return math.prod(shares[0][1] for shares in found.values())


def _prompt(question: Question, thing: str, words: Mapping[str, str]) -> str:
    forms = {slot.name: slot.form for slot in question.words.slots}
    return ", ".join(filter(None, [thing, *(forms[slot].format(word) for slot, word in words.items() if word)]))
