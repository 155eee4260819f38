"""Which words of a phrase name its thing: the head noun, not what stands before or behind it.

"An old lighthouse in the fog" is a lighthouse, "a puppy wearing a hat" a puppy, "a photo of two cats" cats. This is
English, as far as captions go: a noun phrase ends at a preposition, a joining word or a participle, its last noun is
its head, and "a photo of", "a pair of" lead on to the next phrase. A word that says how a thing looks makes no other
thing of it: dictionaries have the red fox as a noun of its own, but it is a fox, while a dog house is no house.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from .clauses import words_of
from .nouns import MAX_WORDS, Match, Nouns


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_ENDS: Final = _set(
    "about above across after against along alongside among amongst and are around as asleep at atop awake behind"
    " below beneath beside between beyond but by during facing for from has have in inside into is like near next of"
    " off on onto or out outside over past per plus that through to toward towards under underneath until upon was"
    " were where which while who whose with within without"
)
ARTICLES: Final = frozenset(("a", "an", "the"))
JOINING: Final = _ENDS | ARTICLES  # words that say nothing without the next one
_NOT: Final = frozenset(("no", "not", "never", "without"))
# Behind one of these and "of" comes the thing: how it is shown, and how many there are.
_PICTURES: Final = _set(
    "artwork cartoon clipart closeup depiction drawing emoji icon illustration image logo painting photo photograph pic"
    " picture portrait print render rendering shot sketch sticker symbol up view watercolor watercolour"
)
_AMOUNTS: Final = _set(
    "bit bunch collection couple crowd dozen flock group handful heap herd hundreds kind lot lots number pack pair"
    " pairs piece pieces pile row set slice slices sort swarm type variety"
)
# A clause of its own with one of these at its end says how, not what: "best quality", "oil painting".
_ASIDE: Final = _PICTURES | _set(
    "4k 8k aesthetic art artstation background bokeh colors colours composition contrast detail details focus hd"
    " lighting lights masterpiece mood palette quality resolution scene style texture tones uhd wallpaper"
)
# These words say how a thing looks: "red fox" is drawn as "fox", even where a dictionary has both words as one noun.
_LOOKS: Final = _set(
    "red orange yellow green blue turquoise purple violet pink brown black white grey gray gold golden silver scarlet"
    " big large small little tiny giant huge tall old young new antique fat thin round beautiful cute pretty ugly clean"
    " dirty fresh wet broken wild wooden"
    " baked boiled cooked fried frozen grilled poached roast roasted scrambled stuffed toasted"
)


@dataclass(frozen=True)
class Head:
    """The head noun of a phrase.

    Attributes:
        match: what is known of it.
        before, behind: the words beside it, without a leading article; "" for none.
        aside: the phrase says how a thing is drawn rather than which.
    """

    match: Match
    before: str = ""
    behind: str = ""
    aside: bool = False

    @property
    def left_out(self) -> tuple[str, ...]:
        """The words that are not drawn."""
        return tuple(words for words in (self.before, self.behind) if words)


def head_of(phrase: str, nouns: Nouns) -> Head | None:
    """Return the head noun of a normalised phrase; None: no noun in it is known, or it says what is not there."""
    words = words_of(phrase)
    start = 0
    while True:
        while start < len(words) and words[start] in ARTICLES:
            start += 1
        if start == len(words):
            return None
        if words[start] in _NOT:
            whole = nouns.find(words[start:])  # "no entry" is the name of a sign
            return Head(whole) if whole is not None and whole.name is not None else None
        end = _end_of_phrase(words, start, nouns)
        found = _across(words, start, end, nouns)
        leads_on = words[end : end + 1] == ["of"] and words[end - 1] in _PICTURES | _AMOUNTS and end + 1 < len(words)
        if found is None and leads_on:
            start = end + 1
            continue
        found = found or _last_noun(words, start, end, nouns)
        if found is None:
            return None
        match, first, last = found
        skipped = 0
        while skipped < first and words[skipped] in ARTICLES:
            skipped += 1
        before = words[skipped:first]
        while before and before[-1] in ARTICLES:
            before.pop()
        return Head(match, " ".join(before), " ".join(words[last:]), words[end - 1] in _ASIDE)


def is_aside(phrase: str) -> bool:
    """Return whether a phrase without a known noun says how a thing is drawn: "trending on artstation"."""
    words = words_of(phrase)
    return bool(words) and (words[-1] in _ASIDE or words[0] in _NOT)


def _end_of_phrase(words: Sequence[str], start: int, nouns: Nouns) -> int:
    """Return where the noun phrase that begins at `start` ends."""
    seen = False  # a noun: what follows it and ends in -ing or -ed tells what it does
    for at in range(start, len(words)):
        word = words[at]
        known = nouns.find([word]) is not None
        if at > start and word in _ENDS:
            return at
        if seen and not known and len(word) > 4 and word.endswith(("ing", "ed")):
            return at
        seen = seen or known
    return len(words)


_Found = tuple[Match, int, int]  # what, its first word, and the one behind its last


def _across(words: Sequence[str], start: int, end: int, nouns: Nouns) -> _Found | None:
    """Return the first name that reaches over the end of the phrase: "bowl of soup", "bow and arrow"."""
    for first in range(max(start, end - MAX_WORDS), end):
        for last in range(min(len(words), first + MAX_WORDS + 2), end, -1):
            match = nouns.find(words[first:last])
            if match is not None and match.name is not None:
                return match, first, last
    return None


def _last_noun(words: Sequence[str], start: int, end: int, nouns: Nouns) -> _Found | None:
    """Return the longest known noun at the end of the phrase, or before words there that are none ("apple no 7")."""
    for last in range(end, start, -1):
        for first in range(max(start, last - MAX_WORDS), last):
            match = nouns.find(words[first:last])
            if match is not None:
                return (match, first, last) if match.name is not None else _by_its_end(match, words, first, last, nouns)
    return None


def _by_its_end(match: Match, words: Sequence[str], first: int, last: int, nouns: Nouns) -> _Found:
    """Return what is drawn for the end of a noun that is not drawn itself: "red fox"; else the noun, which offers that
    end ("snow leopard") where nothing else is near."""
    looks = True  # of all words up to here
    for start in range(first + 1, last):
        looks = looks and words[start - 1] in _LOOKS
        ends = nouns.find(words[start:last])
        if ends is not None and ends.name is not None:
            return (ends, start, last) if looks else (replace(match, near=match.near or (ends.name,)), first, last)
    return match, first, last
