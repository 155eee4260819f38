"""Check and pack what moodboards and tuners are made of: pictures by digest, styles by number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from ...bounds import MAX_STYLE_NUMBER, REFERENCE_WEIGHT
from ...errors import complaint
from ...values import number_of, shown, whole_of
from ..errors import TasteRefused
from ..store.domains.taste import TasteProfileRow
from .types import StyleWeight

MOST_OF_ONE: Final = 100  # pictures of a moodboard, or styles of a tuner

_styles: Final = msgspec.msgpack.Decoder(tuple[StyleWeight, ...])
_pictures: Final = msgspec.msgpack.Decoder(tuple[str, ...])


def pictures_in(row: TasteProfileRow) -> tuple[str, ...]:
    """Return the digests of a moodboard's pictures."""
    return _pictures.decode(row.pictures) if row.pictures else ()


def styles_in(row: TasteProfileRow) -> tuple[StyleWeight, ...]:
    """Return the styles of a tuner."""
    return _styles.decode(row.styles) if row.styles else ()


def packed(contents: Sequence[str] | Sequence[StyleWeight]) -> bytes:
    """Return pictures or styles as the store keeps them."""
    return msgspec.msgpack.encode(tuple(contents)) if contents else b""


def some(found: Iterable[Any], what: str) -> list[Any]:
    """Return what a moodboard or a tuner is to have. TasteRefused: nothing, or too much."""
    left = list(found)
    if not 1 <= len(left) <= MOST_OF_ONE:
        remedy = "delete the profile in its place" if not left else "leave some out"
        raise TasteRefused(complaint(what, f"{len(left)}", f"1 to {MOST_OF_ONE}", remedy))
    return left


def styles_of(given: Iterable[Any]) -> tuple[StyleWeight, ...]:
    """Return styles that came as numbers, pairs or `StyleWeight`s. TasteRefused: one is out of range, or again."""
    found: dict[int, StyleWeight] = {}
    low, high = REFERENCE_WEIGHT
    for each in given:
        number, weight = each, 1.0
        if isinstance(each, StyleWeight):
            number, weight = each.number, each.weight
        elif isinstance(each, tuple | list) and len(each) == 2:
            number, weight = each
        whole, share = whole_of(number), number_of(weight)
        if whole is None or not 0 <= whole <= MAX_STYLE_NUMBER:
            allowed = f"a style number from 0 to {MAX_STYLE_NUMBER}"
            raise TasteRefused(complaint("style", shown(number)[:40], allowed, "choose another"))
        if share is None or not low <= share <= high:
            raise TasteRefused(complaint("weight of a style", shown(weight)[:40], f"{low:g} to {high:g}", "correct it"))
        if whole in found:
            raise TasteRefused(complaint("style", f"{whole} twice", "each once", "add up the weights"))
        found[whole] = StyleWeight(whole, share)
    return tuple(some(found.values(), "styles"))
