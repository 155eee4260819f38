"""Events become comparisons."""

from __future__ import annotations

import numpy as np
import pytest

from salon.studio.store.domains.taste import TasteEventRow
from salon.studio.taste.lessons import GRID_WEIGHT, LIKE_WEIGHT, lessons_of
from salon.studio.taste.log import pack
from salon.studio.taste.types import EventPicture

PLACES = {name: np.eye(4)[i] for i, name in enumerate("abcd")}
MEAN = np.full(4, 0.25)


def row(kind: str, pictures: str, event: int = 1) -> TasteEventRow:
    """An event; capital letters are picked."""
    shown = [EventPicture(job="j", index=i, digest=one.lower(), picked=one.isupper()) for i, one in enumerate(pictures)]
    return TasteEventRow(account="x", event=event, kind=kind, profile="p", day=0, at_ms=0, pictures=pack(shown))


def test_a_pair_is_one_comparison() -> None:
    (found,) = lessons_of([row("pair", "aB")], PLACES, MEAN).comparisons
    assert (found.better == PLACES["b"]).all()
    assert (found.worse == PLACES["a"]).all()
    assert found.weight == 1.0


def test_of_a_grid_every_picked_one_counts_against_all_others_together_as_much() -> None:
    found = lessons_of([row("grid", "AbcD", 7)], PLACES, MEAN)
    assert found.events == [7] * 4
    assert sum(one.weight for one in found.comparisons) == pytest.approx(2 * GRID_WEIGHT)
    assert {one.better.argmax() for one in found.comparisons} == {0, 3}
    assert {one.worse.argmax() for one in found.comparisons} == {1, 2}


def test_a_like_counts_against_the_mean_of_all_styles() -> None:
    (found,) = lessons_of([row("like", "C")], PLACES, MEAN).comparisons
    assert (found.worse == MEAN).all()
    assert found.weight == LIKE_WEIGHT < 1


def test_events_of_pictures_that_are_gone_are_named_and_say_nothing() -> None:
    found = lessons_of([row("pair", "aX", 1), row("pair", "Ab", 2)], PLACES, MEAN)
    assert (found.missing, found.events) == ([1], [2])


def test_contradictory_choices_both_count() -> None:
    found = lessons_of([row("pair", "aB", 1), row("pair", "Ab", 2)], PLACES, MEAN)
    assert (found.comparisons[0].better == found.comparisons[1].worse).all()
