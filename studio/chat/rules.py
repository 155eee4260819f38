"""Rewrite a prompt by what a user says about its pictures: "make it blue", "add a hat", "more like the second".

The rules know some forms of English sentences and no meaning. What no rule takes is added to the prompt as words, and
the user is told so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from ...bounds import MAX_IMAGES
from ...parameters.job_request import Source
from ...parameters.language.options import options_of
from ...parameters.language.prompt import Hole, Term
from ...parameters.language.reading import parse_one
from . import phrases
from .lexicon import (
    BARE,
    BIGGER,
    COLOURS,
    COMPARED,
    NAMED_SHAPES,
    NUMBERS,
    ORDINALS,
    PLACES,
    SHAPES,
    SIZES,
    STYLES,
)
from .types import Rewrite, Scene

Act: TypeAlias = Callable[["_Turn", "re.Match[str]"], bool]
_POLITE: Final = re.compile(
    r"^(?:(?:please|now|ok(?:ay)?|and|also|then|just|but|can you|could you|would you|will you|let'?s|i want(?: to)?|"
    r"i'?d like(?: to)?|try(?: to)?|maybe|hey|hm+)\b[\s,]*)+|"
    r"[\s,]*\b(?:please|thanks|thank you|now|instead|too|as well)[\s.!?]*$|[\s.!?]+$",
    re.I,
)
_VERBS: Final = r"(?:make|add|put|give|remove|take|draw|change|replace|turn|set|use|try|without|no|more|less|at|in|on)"
_SPLIT: Final = re.compile(rf"\s*;\s*|\.\s+|,?\s+(?:and then|then|and|but)\s+(?={_VERBS}\b)|,\s*(?={_VERBS}\b)", re.I)
_IT: Final = r"(?:it|them|that|this|him|her|the (?:picture|image|subject|whole thing))"
_NO_DEEDS: Final = ("spring", "something", "anything", "everything", "nothing", "evening", "morning", "king", "ring")
_ACTS: list[tuple[re.Pattern[str], Act]] = []


class _Turn:
    """A rewriting under way: the words and parameters so far."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.text = scene.prompt.terms[0].text if scene.prompt.terms else ""
        self.said = dict(scene.prompt.said)
        self.source = scene.source
        self.notes: list[str] = []

    def say(self, name: str, value: Any) -> None:
        """Say a parameter."""
        self.said |= options_of({name: value})

    def reshape(self, shape: tuple[int, int]) -> None:
        """Ask for other proportions, which a variation of a picture cannot have."""
        for name in ("width", "height"):
            self.said.pop(name, None)
        self.say("aspect", shape)
        self.drop_source()

    def names_to_leave_out(self) -> list[str]:
        """Return what `--no` has."""
        value = self.said["no"].value if "no" in self.said else ""
        return [name for name in (name.strip() for name in str(value).split(",")) if name]

    def drop_source(self) -> None:
        """Draw a picture of another shape anew."""
        if self.source is not None:
            self.source = None
            self.notes.append("a picture of another shape is drawn anew, and not from the one before")

    def go_on_from(self, number: int) -> None:
        """Vary a picture of the job that the user sees; it has its own shape, and a seed of its own."""
        self.source = Source(job=self.scene.job, index=number - 1)
        for name in ("seed", "aspect", "width", "height"):
            self.said.pop(name, None)

    def anew(self) -> None:
        """Draw something else: with another seed, and from no picture."""
        self.said.pop("seed", None)
        self.source = None

    def rewrite(self) -> Rewrite:
        """Return what it has come to."""
        prompt = self.scene.prompt
        text = " ".join(self.text.split())
        old = prompt.terms[0] if prompt.terms else Term("")
        terms = (replace(old, text=text, holes=_holes(old, text)), *prompt.terms[1:]) if text else prompt.terms[1:]
        said = MappingProxyType(dict(self.said))
        return Rewrite(
            prompt=replace(prompt, terms=terms, said=said, source=""), source=self.source, notes=tuple(self.notes)
        )


def rewrite(scene: Scene, sentence: str) -> Rewrite:
    """Return what a sentence makes of a scene.

    Args:
        scene: of the turn before.
        sentence: what the user says; parameters as they are typed (`--ar 2:1`) may be in it.

    Raises:
        PromptRefused: a parameter in it cannot be read.
    """
    turn = _Turn(scene)
    sentence = _with_parameters(turn, " ".join(sentence.split()))
    pieces = list(filter(None, map(_bare, _SPLIT.split(sentence))))
    if not pieces and turn.said == dict(scene.prompt.said):
        turn.said.pop("seed", None)
        turn.notes.append("nothing was asked for, so it is drawn again")
    for piece in pieces:
        if not _apply(turn, piece):
            turn.text = phrases.appended(turn.text, piece)
            turn.notes.append(f"not understood, so its words are added to the prompt: {piece}")
    return turn.rewrite()


def _apply(turn: _Turn, piece: str) -> bool:
    """Do what a piece of a sentence says, or what each half of it says. Return whether a rule takes it."""
    if any((found := form.fullmatch(piece)) and act(turn, found) for form, act in _ACTS):
        return True
    halves = re.split(r",?\s+and\s+|,\s*", piece)
    tried = copy(turn)
    tried.said, tried.notes = dict(turn.said), list(turn.notes)
    if len(halves) < 2 or not all(half and _apply(tried, _bare(half)) for half in halves):
        return False
    vars(turn).update(vars(tried))
    return True


def _with_parameters(turn: _Turn, sentence: str) -> str:
    """Take parameters off a sentence, and return the rest of it."""
    at = re.search(r"(?:^|\s)--\w", sentence)
    if at is None:
        return sentence
    read = parse_one(sentence[at.start() :].strip())
    turn.said |= read.said
    if {"aspect", "width", "height"} & read.said.keys():
        turn.drop_source()
    return sentence[: at.start()].strip()


def _bare(piece: str) -> str:
    """Return a piece without the words that say nothing."""
    before = ""
    while piece != before:
        before, piece = piece, _POLITE.sub("", piece).strip(" ,")
    return piece


def _holes(old: Term, text: str) -> tuple[Hole, ...]:
    """Return where the places for words of lists are in a changed text."""
    found, at = [], 0
    for hole in old.holes:
        name = old.text[hole.start : hole.end]
        start = text.find(name, at)
        if start >= 0:
            at = start + len(name)
            found.append(Hole(start, at, hole.name))
    return tuple(found)


def _rule(*forms: str) -> Callable[[Act], Act]:
    def keep(act: Act) -> Act:
        _ACTS.extend((re.compile(form, re.I), act) for form in forms)
        return act

    return keep


# ---- which picture -------------------------------------------------------------------------------------------------


@_rule(
    r"(?:again|another(?: one)?|once more|more|try again|something else|other ones|new ones|one more time|re-?roll)",
    r"(?:draw|do|make|show)(?: me)? (?:it again|another(?: one)?|more|some more|other ones)",
)
def _again(turn: _Turn, found: re.Match[str]) -> bool:
    turn.said.pop("seed", None)
    return True


@_rule(r"(?:undo|go back|back|take (?:that|it) back|revert|the one before|previous)")
def _undo(turn: _Turn, found: re.Match[str]) -> bool:
    earlier = turn.scene.earlier
    if earlier is None:
        turn.notes.append("there is nothing before this to go back to")
        return True
    turn.scene = replace(turn.scene, prompt=earlier.prompt)
    turn.text = earlier.prompt.terms[0].text if earlier.prompt.terms else ""
    turn.said, turn.source = dict(earlier.prompt.said), earlier.source
    return True


_WHICH: Final = (
    rf"(?:the )?(?:(?P<word>{'|'.join(ORDINALS)}|last)(?: (?:one|picture|image))?|"
    r"(?:number |no\.? ?|#|picture |image )?(?P<number>\d+))"
)


@_rule(
    rf"(?:make )?(?:more|something|some|others?|pictures?) (?:like|similar to|of) {_WHICH}",
    rf"(?:like|take|use|pick|choose|go with|keep|vary|continue with|i like|i prefer|i'?d take) {_WHICH}",
    _WHICH,
)
def _like(turn: _Turn, found: re.Match[str]) -> bool:
    count, word = turn.scene.pictures, (found["word"] or "").lower()
    if found["number"] is None and word not in ORDINALS and word != "last":
        return False
    number = count if word == "last" else ORDINALS.get(word) or int(found["number"])
    if not turn.scene.job or not 1 <= number <= count:
        there = f"{count} pictures" if count != 1 else "one picture"
        turn.notes.append(
            f"there is no picture {number} to go on from; the last turn has {there}, so it is drawn again"
        )
        turn.said.pop("seed", None)
        return True
    turn.go_on_from(number)
    return True


@_rule(
    r"(?:make )?(?:more|something|some|others?) (?:like|similar to|of) (?:this|that|it|these|those|them)(?: one)?",
    r"(?:vary|variations?)(?: (?:it|this|that|them))?",
)
def _like_this(turn: _Turn, found: re.Match[str]) -> bool:
    if turn.scene.job and turn.scene.pictures == 1:
        turn.go_on_from(1)
        return True
    turn.said.pop("seed", None)
    turn.notes.append('drawn again; to go on from one picture, say which: "more like the second"')
    return True


# ---- shape and number ------------------------------------------------------------------------------------------------


def _shape_of(turn: _Turn) -> float:
    said = turn.said.get("aspect")
    return 1.0 if said is None else float(said.value[0]) / float(said.value[1])


@_rule(rf"(?:(?:make|draw) {_IT} )?(?:a (?:bit|little) |much )?(?P<way>wider|broader|narrower|taller|higher)")
def _stretched(turn: _Turn, found: re.Match[str]) -> bool:
    now, wide = _shape_of(turn), found["way"].lower() in ("wider", "broader")
    rest = [
        shape for shape in SHAPES if (shape[0] / shape[1] > now * 1.01 if wide else shape[0] / shape[1] < now / 1.01)
    ]
    if not rest:
        turn.notes.append(f"it is as {'wide' if wide else 'tall'} as the rules make it; write --ar for more")
        return True
    turn.reshape(rest[0] if wide else rest[-1])
    return True


@_rule(
    rf"(?:(?:make|draw) {_IT} )?(?:in |a |as a )?(?P<name>{'|'.join(NAMED_SHAPES)})(?: format| shape| picture)?",
    rf"(?:(?:make|draw) {_IT} )?(?:in )?(?P<wide>\d{{1,2}}) ?[:x] ?(?P<high>\d{{1,2}})",
)
def _shaped(turn: _Turn, found: re.Match[str]) -> bool:
    groups = found.groupdict()
    if groups.get("name"):
        turn.reshape(NAMED_SHAPES[groups["name"].lower()])
        return True
    wide, high = int(groups["wide"]), int(groups["high"])
    if not wide or not high or not 1 / 14 <= wide / high <= 14:
        return False
    turn.reshape((wide, high))
    return True


@_rule(
    rf"(?:only |just |draw |make |show me )*(?P<count>\d+|{'|'.join(NUMBERS)})"
    r"(?: of (?:it|them)| pictures?| images?| ones?)?(?: only)?",
)
def _many(turn: _Turn, found: re.Match[str]) -> bool:
    word = found["count"].lower()
    count = NUMBERS.get(word) or (int(word) if word.isdigit() else 0)
    if not 1 <= count <= MAX_IMAGES or (found[0].isdigit() and turn.scene.job):
        return False  # a bare digit is one of the pictures
    turn.say("images", count)
    return True


# ---- what is in it --------------------------------------------------------------------------------------------------


@_rule(
    r"(?:draw|imagine|show|paint|start over(?: with)?|new prompt|begin again(?: with)?|something new)[:,]? "
    rf"(?:me )?(?!(?:{_IT})\b)(?P<what>.+)",
    r"(?:a )?new picture(?: of)?[:,]? (?P<what>.+)",
)
def _new(turn: _Turn, found: re.Match[str]) -> bool:
    turn.text = found["what"]
    turn.anew()
    return True


@_rule(
    r"(?:make |set |change )?(?:the )?background (?:is |to |be |should be )?(?P<word>[\w-]+)",
    r"(?:with |on |add )?(?:an? )?(?P<word>[\w-]+) background",
)
def _background(turn: _Turn, found: re.Match[str]) -> bool:
    if found["word"].lower() not in COLOURS:
        return False
    turn.text = phrases.on_background(turn.text, found["word"].lower())
    return True


@_rule(
    rf"(?:replace|swap|change|exchange) (?:the )?(?P<old>(?!(?:{_IT})\b).+?) (?:with|by|for|into|to) (?P<new>.+)",
    r"(?P<new>.+?) (?:instead of|rather than|in place of) (?:the )?(?P<old>.+)",
    rf"turn (?:the )?(?P<old>(?!(?:{_IT})\b).+?) into (?P<new>.+)",
)
def _replaced(turn: _Turn, found: re.Match[str]) -> bool:
    old, new = found["old"], found["new"]
    if re.fullmatch(r"(?:its )?colou?r", old, re.I) and new.lower() in COLOURS:
        turn.text = phrases.described(turn.text, new.lower()) or turn.text
        return True
    changed = phrases.replaced(turn.text, old, new)
    if changed is None:
        turn.notes.append(f"the prompt has no {old!r}, so it is only added: {new}")
        changed = phrases.joined(turn.text, new)
    turn.text = changed
    return True


@_rule(
    r"(?:without|remove|delete|drop|leave out|leave away|take out|take away|get rid of|lose|no more|no)"
    r" (?:the |any |its |his |her |all )?(?P<what>.+)",
    r"take (?:the )?(?P<what>.+) (?:off|out|away)",
)
def _without(turn: _Turn, found: re.Match[str]) -> bool:
    what = found["what"]
    changed = phrases.left_out(turn.text, what)
    if changed is not None:
        turn.text = changed
        return True
    if re.search(rf"\b{re.escape(what)}\b", turn.text, re.I):
        turn.notes.append(f"{what!r} is what the picture shows, so it stays; say what to draw in its place")
        return True
    names = turn.names_to_leave_out()
    if what.lower() not in (name.lower() for name in names):
        turn.say("no", ", ".join([*names, what]))
    return True


@_rule(rf"(?:put|place|move|set) {_IT} (?P<what>(?:{'|'.join(PLACES)})\b.+)")
def _put(turn: _Turn, found: re.Match[str]) -> bool:
    turn.text = phrases.placed(turn.text, found["what"])
    return True


@_rule(
    r"(?:add|with|include|give (?:it|him|her|them)|put(?: on| in)?|let there be|there (?:should|must) be) (?P<what>.+?)"
    r"(?: (?:to|on|in|into|onto) (?:it|him|her|them|top|the picture|the image))?",
)
def _with(turn: _Turn, found: re.Match[str]) -> bool:
    what = found["what"]
    if names := turn.names_to_leave_out():
        bare = re.sub(r"^(?:an?|the|some)\s+", "", what, flags=re.I).lower()
        turn.said.pop("no")
        if kept := [name for name in names if name.lower() not in (bare, what.lower())]:
            turn.say("no", ", ".join(kept))
    turn.text = phrases.joined(turn.text, what)
    return True


# ---- how it looks ----------------------------------------------------------------------------------------------------


@_rule(rf"(?:(?:make|have|let) {_IT} )?(?:be )?(?P<what>(?!during)[a-z]{{2,}}ing(?: .+)?)")
def _doing(turn: _Turn, found: re.Match[str]) -> bool:
    """Take what the subject does: "wearing a hat"."""
    what = found["what"]
    if what.lower() in BARE or what.split()[0].lower() in {*_NO_DEEDS, *STYLES}:
        return False
    head, comma, rest = turn.text.partition(",")
    turn.text = f"{head.rstrip()} {what}{comma}{rest}"
    return True


@_rule(
    rf"(?:make|turn|change|draw|paint|colou?r) {_IT} (?:all |look |like |into |to |more |be )*(?P<word>.+)",
    rf"{_IT} (?:should|must|could) (?:be|look) (?P<word>.+)",
    r"(?:in|as) (?P<word>.+)",
    r"(?P<word>.+)",
)
def _looks(turn: _Turn, found: re.Match[str]) -> bool:
    """Take a colour, a size, a time, a style, or with "make it" any other word."""
    word = found["word"].strip()
    bare = re.sub(r"^(?:an?|the)\s+", "", word, flags=re.I)
    low = re.sub(r"^(?:a (?:bit|little)|much|very|more|far)\s+", "", bare, flags=re.I).lower()
    commanded = re.match(rf"(?:make|turn|change|draw|paint|colou?r|{_IT})\b", found[0], re.I) is not None
    size = BIGGER.get(low, low if low in SIZES else "")
    if low in COLOURS or size:
        turn.text = phrases.described(turn.text, size or low) or turn.text
    elif low in BARE:
        turn.text = phrases.placed(turn.text, BARE[low])
    elif re.sub(r"\s+style$", "", low) in STYLES:
        turn.text = phrases.in_style(turn.text, re.sub(r"\s+style$", "", low))
    elif low in COMPARED:
        turn.text = phrases.appended(turn.text, COMPARED[low])
    elif (place := f"in {word}" if found[0].lower().startswith("in ") else word).split()[0].lower() in PLACES:
        turn.text = phrases.placed(turn.text, place)
    elif commanded and re.match(r"an?\s", word, re.I):
        turn.text = phrases.renamed(turn.text, word)
    elif commanded and len(bare.split()) == 1:
        turn.text = phrases.described(turn.text, bare) or turn.text
    else:
        return False
    return True


@_rule(
    rf"(?:make|turn|paint|colou?r) (?:the |its |his |her )?(?P<noun>(?!(?:{_IT})\b)[\w-]+(?: [\w-]+)?) "
    r"(?P<word>[\w-]+)",
    r"(?P<word>[\w-]+) (?P<noun>[\w-]+)",
)
def _thing(turn: _Turn, found: re.Match[str]) -> bool:
    noun, word = found["noun"], found["word"].lower()
    word = BIGGER.get(word, word)
    told = re.match(r"(?:make|turn|paint|colou?r)\b", found[0], re.I) is not None
    if not told and word not in COLOURS and word not in SIZES:
        return False
    changed = phrases.described(turn.text, word, noun)
    if changed is None:
        turn.notes.append(f"the prompt has no {noun!r}, so it is added: {word} {noun}")
        changed = phrases.joined(turn.text, phrases.with_articles(f"a {word} {noun}"))
    turn.text = changed
    return True


@_rule(r"less (?P<what>.+)")
def _less(turn: _Turn, found: re.Match[str]) -> bool:
    return _without(turn, found)
