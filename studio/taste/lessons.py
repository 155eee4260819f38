"""Turn the events of a log into the comparisons that are learned from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...engine.taste.preference import Comparison
from ..store.domains.taste import TasteEventRow
from .log import digests
from .types import LIKE, PAIR

Float64 = NDArray[np.float64]

GRID_WEIGHT: Final = 0.5  # of all that one picked picture of a grid says of the others; a pair has 1
LIKE_WEIGHT: Final = 0.3  # of a like, which compares with the mean of all styles


@dataclass
class Lessons:
    """Comparisons, each with the number of its event.

    Attributes:
        comparisons, events: of the same length.
        missing: events that a picture's coordinates lack for, by number.
    """

    comparisons: list[Comparison] = field(default_factory=list)
    events: list[int] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)


def lessons_of(rows: Iterable[TasteEventRow], coordinates: Mapping[str, Float64], mean: Float64) -> Lessons:
    """Return what events that teach say. A pair is a comparison of weight 1, also where an earlier one contradicts it.

    Args:
        rows: the events, in their order.
        coordinates: digest of a picture -> float64 [K].
        mean: float64 [K], the coordinates of the mean of all styles.
    """
    found = Lessons()
    for row in rows:
        pictures = digests(row)
        places = [(coordinates.get(digest), picked) for digest, picked in pictures]
        if any(place is None for place, _ in places):
            found.missing.append(row.event)
            continue
        better = [place for place, picked in places if picked and place is not None]
        worse = [place for place, picked in places if not picked and place is not None]
        if row.kind == LIKE:
            better, worse, weight = better, [mean], LIKE_WEIGHT
        else:
            weight = 1.0 if row.kind == PAIR else GRID_WEIGHT / max(1, len(worse))
        for liked in better:
            for other in worse:
                found.comparisons.append(Comparison(liked, other, weight))
                found.events.append(row.event)
    return found
