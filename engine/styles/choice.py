"""Turn the styles of a request into the adapters of its spec."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from ...bounds import CODE, MAX_REFERENCES, MAX_STYLE, REFERENCE_WEIGHT, STYLE_VERSIONS
from ...errors import complaint
from ...values import flag_of, number_of, shown, text_of, whole_of
from ..errors import SpecError
from ..spec import AdapterUse
from . import names

STYLE_WEIGHT: Final = 100.0  # the value of `--sw` when the user gives none
PROFILE_STRENGTH: Final = 100.0  # that of `--s` with a profile
# (`--sw`, adapter weight), linear between. The adapter was trained with weight 1; 2.5 is the strongest at which the
# shipped model still draws most of the things that it is asked for.
POINTS: Final = ((0.0, 0.0), (100.0, 1.0), (float(MAX_STYLE), 2.5))
# (`--s` with a profile, adapter weight), likewise. A profile acts on everything that a user draws, so things have to
# stay what they are: by the kept judge .7 loses 6 of 100, and 1.3 loses 13 (`models/mini/recipe/taste_pictures.py`).
PROFILE_POINTS: Final = ((0.0, 0.0), (100.0, 0.7), (float(MAX_STYLE), 2.5))
FIELDS: Final = ("stylize", "raw", "style_references", "style_weight", "style_version", "profile")


class StyleInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of a model's styles by which requests are checked without the model.

    Attributes:
        tokens: number of tokens of each style's adapter.
        token_width: columns of those tokens.
        words: the checkpoint's names of its styles.
        default: the default style in words; empty: there is none.
        stylize: (`--s`, adapter weight) of the default style in rising order; the weight is linear between them.
        side: styles are those of pictures alone, as an IP-Adapter's image encoder sees them: squares of so many pixels
            along a side. 0: the model has a style space, and pictures keep their proportions.
        whole: of a picture that is no square the encoder sees all, out of proportion, and not the middle.
    """

    tokens: int
    token_width: int = 0
    words: tuple[str, ...]
    default: str = ""
    stylize: tuple[tuple[float, float], ...] = ()
    side: int = 0
    whole: bool = False

    @property
    def numbered(self) -> bool:
        """Whether there is a style space, whose points numbers and taste codes name."""
        return not self.side

    @property
    def has_default(self) -> bool:
        """Whether the model has a default style."""
        return bool(self.stylize)


class Reference(msgspec.Struct, frozen=True):
    """A style that a request refers to.

    Attributes:
        source: a style number, the SHA-256 (hex) of a picture's file, or a taste code.
        weight: its share beside other references.
    """

    source: int | str
    weight: float = 1.0

    @property
    def name(self) -> str:
        """Name of the style's adapter."""
        return name_of(self.source)


def style_uses(
    info: StyleInfo | None,
    *,
    stylize: Any = None,
    raw: Any = False,
    style_references: Any = (),
    style_weight: Any = None,
    style_version: Any = None,
    profile: Any = None,
) -> tuple[AdapterUse, ...]:
    """Return the adapters of a request's styles. Those of weight 0 are left out, which is no effect at all.

    Args:
        info: facts of the model's styles; None: the model has none.
        stylize: 0 to 1,000, strength of the default style; None: the default style stays out. With a profile its
            strength, and None is 100.
        raw: whether the default style stays out; with a profile it stays out in any case.
        style_references: style numbers, SHA-256s of pictures, taste codes, pairs of one of these and a weight, or
            `Reference`s.
        style_weight: 0 to 1,000, strength of all references together, shared out by their weights; None: 100.
        style_version: the version of style references; there is one, 1.
        profile: taste codes, or pairs of a code and a weight: they take the default style's place. None: none.

    Raises:
        SpecError: a value is out of range, a reference comes more than once, or the model lacks the styles.
    """
    strength = _number("stylize", stylize, 0.0, MAX_STYLE)
    weight = _number("style_weight", style_weight, 0.0, MAX_STYLE)
    plain = flag_of(raw)
    if plain is None:
        raise SpecError(complaint("raw", shown(raw), "True or False", "choose one"))
    if plain and strength:
        raise SpecError(complaint("stylize", f"{strength:g} with raw", "0 with raw, or no raw", "drop one"))
    references = references_of(style_references)
    if weight is not None and not references:
        raise SpecError(complaint("style_weight", f"{weight:g} without a style reference", "one with it", "drop it"))
    if style_version is not None:
        if whole_of(style_version) not in STYLE_VERSIONS:
            allowed = " or ".join(map(str, STYLE_VERSIONS))
            raise SpecError(complaint("style_version", shown(style_version), allowed, "there is one version: drop it"))
        if not references:
            raise SpecError(complaint("style_version", "it without a style reference", "one with it", "drop it"))
    codes = _codes(profile)
    if info is None or (strength and not info.has_default and not codes):
        asked = "profile" if codes else "stylize" if strength else "style_references" if references else ""
        if asked:
            what = "style" if info is None else "default style"
            way = ", or load an IP-Adapter with the model, if it takes one (--ip-adapter)"
            remedy = f"leave it out{way if info is None and asked == 'style_references' else ''}"
            raise SpecError(complaint(asked, "a style", f"none (the model has no {what})", remedy))
        return ()
    if not info.numbered:
        for one in (*codes, *references):
            if names.picture_of(one.name) is None:
                got, allowed = str(one.source), "a picture (the model has no style space, but an IP-Adapter)"
                raise SpecError(complaint("style reference", got, allowed, "name a picture's file"))
    uses = []
    for code in codes:
        share = code.weight / sum(each.weight for each in codes)
        uses.append(
            (code.name, share * interpolate(PROFILE_POINTS, PROFILE_STRENGTH if strength is None else strength))
        )
    if strength and not plain and not codes:
        uses.append((names.DEFAULT, interpolate(info.stylize, strength)))
    total = sum(reference.weight for reference in references)
    for reference in references:
        share = reference.weight / total if total else 0.0
        uses.append((reference.name, share * interpolate(POINTS, STYLE_WEIGHT if weight is None else weight)))
    return joined_uses(AdapterUse(name, strong, names.NONE) for name, strong in uses if strong)


def joined_uses(adapters: Iterable[AdapterUse]) -> tuple[AdapterUse, ...]:
    """Return adapters with each named once, for a picture may be a style reference and an image prompt, and a code a
    profile and a style reference. Weights add up."""
    found: dict[tuple[str, str | None], AdapterUse] = {}
    for use in adapters:
        key = use.adapter, use.unconditional
        before = found.get(key)
        found[key] = use if before is None else AdapterUse(use.adapter, before.weight + use.weight, use.unconditional)
    return tuple(found.values())


def references_of(given: Any, what: str = "style reference") -> tuple[Reference, ...]:
    """Return references in any of their forms as `Reference`s; a message calls each `what`.

    Raises:
        SpecError: a value is no reference, there are too many, or one comes more than once.
    """
    many = given if isinstance(given, Sequence) and not isinstance(given, str) else (given,)
    found = tuple(_reference(each, what) for each in many)
    if len(found) > MAX_REFERENCES:
        got, remedy = f"{len(found)}", "leave some out"
        raise SpecError(complaint(f"{what}s", got, f"up to {MAX_REFERENCES}", remedy))
    sources = [reference.source for reference in found]
    if len(set(sources)) != len(sources):
        twice = next(source for source in sources if sources.count(source) > 1)
        raise SpecError(complaint(f"{what}s", f"{twice} twice", "each once", "add up the weights"))
    return found


def name_of(source: int | str) -> str:
    """Return the name of the adapter of a style number, a picture's digest or a taste code. Raise SpecError for one out
    of range."""
    if isinstance(source, int):
        return names.of_number(source)
    return names.of_taste(source) if re.fullmatch(CODE, source) else names.of_picture(source)


def interpolate(points: Iterable[tuple[float, float]], at: float) -> float:
    """Return the weight at a strength: linear between points of rising strength, level beyond them."""
    points = tuple(points)
    if at <= points[0][0]:
        return float(points[0][1])
    for (low, from_), (high, to) in zip(points[:-1], points[1:], strict=True):
        if at <= high:
            return float(from_ + (to - from_) * (at - low) / (high - low))
    return float(points[-1][1])


def _codes(given: Any) -> tuple[Reference, ...]:
    """Return the codes of a profile, each with its weight. SpecError: as `references_of`, or one is no code."""
    found = () if given is None else references_of(given, "profile")
    for each in found:
        if not (isinstance(each.source, str) and re.fullmatch(CODE, each.source)):
            allowed = f"a taste code, {names.CODE_FORM}"
            raise SpecError(complaint("profile", shown(each.source)[:80], allowed, "ask for its code first"))
    return found


def _reference(value: Any, what: str) -> Reference:
    source, weight = value, 1.0
    if isinstance(value, Reference):
        source, weight = value.source, value.weight
    elif isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) != 2:
            raise SpecError(complaint(what, shown(value), "a reference and its weight", "correct it"))
        source, weight = value
    number, text = whole_of(source), text_of(source)
    if number is None and text is None:
        allowed = "a style number, the SHA-256 of a picture's file or a taste code"
        raise SpecError(complaint(what, shown(source), allowed, "correct it"))
    share = _number(f"weight of a {what}", weight, *REFERENCE_WEIGHT)
    assert share is not None
    reference = Reference(text or "" if number is None else number, share)
    name_of(reference.source)  # raises for a number or digest out of range
    return reference


def _number(name: str, value: Any, low: float, high: float) -> float | None:
    if value is None:
        return None
    number = number_of(value)
    if number is None or not low <= number <= high:
        raise SpecError(complaint(name, shown(value), f"a number from {low:g} to {high:g}", f"choose another {name}"))
    return number
