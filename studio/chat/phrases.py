"""Change the words of a prompt: how its subject looks, what is with it, where it is, and how it is drawn."""

from __future__ import annotations

import re
from typing import Final

from .lexicon import COLOURS, SEASONS, SIZES, STYLES, TIMES, WEATHER

_ARTICLE: Final = r"(?:a|an|the|some|one|two|three|four|his|her|its|their|my)"
# What ends the words of a subject: what it is with, where it is, what it does.
_END: Final = re.compile(
    r"\s(?:with|without|on|in|at|of|under|over|near|by|beside|behind|inside|for|from|and|next|against|above|below|"
    r"wearing|holding|sitting|standing|lying|running|walking|flying|eating|riding|that|who|which|is|as)\b",
    re.I,
)
_MEDIUM: Final = re.compile(
    rf"\s*(?:{_ARTICLE}\s+)?(?:\w+\s+){{0,2}}?(?:painting|photo|photograph|picture|drawing|sketch|portrait|image|"
    r"illustration|watercolou?r|render|close-?up)\s+of\s+",
    re.I,
)
_BACKGROUND: Final = re.compile(
    rf"(?:(?:on|against)\s+(?:an?\s+|the\s+)?(?:{'|'.join(sorted(COLOURS))})(?:\s+background)?|"
    rf"(?:an?\s+|the\s+)?(?:{'|'.join(sorted(COLOURS))})\s+background)",
    re.I,
)
_GROUPS: Final = (TIMES, SEASONS, WEATHER)


def parts_of(text: str) -> list[str]:
    """Return the parts of a text between commas, without white space around them."""
    return [part for part in (part.strip() for part in text.split(",")) if part]


def subject(text: str) -> tuple[int, int]:
    """Return where the subject stands in a text: "a red apple" of "a photo of a red apple on a table, 3d"."""
    start = found.end() if (found := _MEDIUM.match(text)) else len(text) - len(text.lstrip())
    end = text.find(",", start)
    end = len(text) if end < 0 else end
    if (stop := _END.search(text, start, end)) is not None:
        end = stop.start()
    return start, end


def described(text: str, word: str, noun: str = "") -> str | None:
    """Return a text in which the subject, or another noun, is `word`: "a red apple" and "blue" is "a blue apple".

    A colour takes the place of a colour, a size that of a size. None: the text does not have the noun.
    """
    start, end = subject(text)
    if noun:
        found = re.search(rf"\b{re.escape(noun)}\b", text, re.I)
        if found is None:
            return None
        before = re.search(rf"(?:\b{_ARTICLE}\s+)?(?:[\w-]+\s+){{0,2}}$", text[: found.start()], re.I)
        start, end = found.start() if before is None else before.start(), found.end()
        stops = [
            stop.end() for stop in re.finditer(r"\b(?:with|on|in|at|of|and|under)\s+", text[start : found.start()])
        ]
        start += max(stops, default=0)
    phrase = text[start:end]
    for kind in (COLOURS, SIZES):
        old = re.search(rf"\b(?:{'|'.join(sorted(kind))})\b", phrase, re.I)
        if word.lower() in kind and old is not None:
            return with_articles(text[:start] + phrase[: old.start()] + word + phrase[old.end() :] + text[end:])
    at = re.match(rf"\s*(?:{_ARTICLE}\s+)?", phrase, re.I)
    place = at.end() if at is not None else 0
    if word.lower() not in SIZES:
        sizes = re.match(rf"(?:(?:{'|'.join(sorted(SIZES))})\s+)+", phrase[place:], re.I)
        place += sizes.end() if sizes is not None else 0
    return with_articles(f"{text[:start]}{phrase[:place]}{word} {phrase[place:]}{text[end:]}")


def renamed(text: str, thing: str) -> str:
    """Return a text with another subject; what it is with, where it is and how it is drawn stay."""
    start, end = subject(text)
    return text[:start] + thing + text[end:]


def joined(text: str, thing: str) -> str:
    """Return a text whose subject has something with it: "an apple, 3d" and "a hat" is "an apple with a hat, 3d"."""
    head, comma, rest = text.partition(",")
    head = head.rstrip()
    word = "and" if re.search(r"\bwith\b", head, re.I) else "with"
    return f"{head} {word} {thing}{comma}{rest}"


def left_out(text: str, thing: str) -> str | None:
    """Return a text without something; None: it is not there, or it is what the picture shows."""
    name = re.escape(re.sub(rf"^{_ARTICLE}\s+", "", thing, flags=re.I))
    parts = parts_of(text)
    kept = [part for i, part in enumerate(parts) if i == 0 or not re.search(rf"\b{name}\b", part, re.I)]
    if len(kept) < len(parts):
        return ", ".join(kept)
    phrase = re.compile(
        rf"\s+(with|and|wearing|holding|near|next to|beside|under|behind|in front of|on|in|at|by)\s+"
        rf"(?:{_ARTICLE}\s+)?(?:[\w-]+\s+){{0,2}}?{name}(?!\w)",
        re.I,
    )
    start = subject(text)[1]
    if (found := phrase.search(text, max(0, start - 1))) is not None:
        rest = text[found.end() :]
        if found[1].lower() != "and" and (more := re.match(r"\s+and\b", rest, re.I)):
            rest = f" {found[1]}{rest[more.end() :]}"  # "with a hat and a bird" keeps the bird
        return text[: found.start()] + rest
    adjective = re.search(rf"\b{name}\s+(?=[\w-])", text, re.I)
    if adjective is not None and adjective.end() < subject(text)[1]:
        return with_articles(text[: adjective.start()] + text[adjective.end() :])
    return None


def replaced(text: str, old: str, new: str) -> str | None:
    """Return a text with other words in place of some; None: it does not have them."""
    bare = re.sub(rf"^{_ARTICLE}\s+", "", old, flags=re.I)
    found = re.search(rf"(?<!\w){re.escape(bare)}(?!\w)", text, re.I)
    if found is None:
        return None
    start = found.start()
    if re.match(rf"{_ARTICLE}\s", new, re.I) and found.end() == subject(text)[1]:
        return renamed(text, new)
    if re.match(rf"{_ARTICLE}\s", new, re.I):
        before = re.search(rf"\b{_ARTICLE}\s+$", text[:start], re.I)
        if before is None:
            new = re.sub(rf"^{_ARTICLE}\s+", "", new, flags=re.I)
        else:
            start = before.start()
    return with_articles(text[:start] + new + text[found.end() :])


def placed(text: str, place: str) -> str:
    """Return a text with a place or a time: one of the day, the year or the weather takes the place of another."""
    group = next((group for group in _GROUPS if place.lower() in group), None)
    if group is not None:
        text = re.sub(rf",?\s*\b(?:{'|'.join(sorted(group, key=len, reverse=True))})(?!\w)", "", text, flags=re.I)
    return appended(text, place)


def on_background(text: str, colour: str) -> str:
    """Return a text with a background of a colour, in the form that it has already."""
    if (found := _BACKGROUND.search(text)) is None:
        return appended(text, f"{colour} background")
    old = re.search(rf"\b(?:{'|'.join(sorted(COLOURS))})\b", found[0], re.I)
    assert old is not None, "the pattern has a colour"
    start = found.start() + old.start()
    return with_articles(text[:start] + colour + text[start + len(old[0]) :])


def in_style(text: str, style: str) -> str:
    """Return a text that is drawn in a style, which takes the place of another one."""
    parts = parts_of(text)
    for i, part in enumerate(parts):
        bare = re.sub(rf"^(?:in\s+|as\s+)?(?:{_ARTICLE}\s+)?(?:style\s+of\s+)?|\s+style$", "", part, flags=re.I)
        if i and bare.lower() in STYLES:
            return ", ".join([*parts[:i], style, *parts[i + 1 :]])
    return appended(text, style)


def appended(text: str, words: str) -> str:
    """Return a text with words behind it, unless it has them as a part already."""
    if words.lower() in (part.lower() for part in parts_of(text)):
        return text
    return f"{text.rstrip(' ,')}, {words}" if text.strip(" ,") else words


def with_articles(text: str) -> str:
    """Return a text with "a" and "an" before the words that they go with."""

    def fit(found: re.Match[str]) -> str:
        word = found[3].lower()
        vowel = word[0] in "aeio" or (word[0] == "u" and not word.startswith(("uni", "use", "ufo", "ut")))
        vowel = (vowel and not word.startswith(("eu", "one", "once"))) or word.startswith(("hour", "honest"))
        article = "an" if vowel else "a"
        return (article.capitalize() if found[1][0].isupper() else article) + found[2] + found[3]

    return re.sub(r"\b(an?)(\s+)([a-z]\w*)", fit, text, flags=re.I)
