"""Decide which weights stay on a device, and bring the others there while it computes: for models larger than it.

A model that does not fit keeps as much of itself on the device as does, and the rest in the host's memory. Ops ask for
a piece of that when they need it. There are two places for pieces on the device: while ops read one, the next piece is
copied to the other. Which piece is next is learned from the last time, since a model asks for the same ones in the
same order at every step.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final, Protocol

PLACES: Final = 2
PLACE_BYTES: Final = 128 * 2**20  # of a place; a larger weight comes in several pieces
ROOM_BYTES: Final = PLACES * PLACE_BYTES


class Residency:
    """Decides, in the order in which weights are loaded, which stay on the device.

    The first weights, those of the model that is stepped, come before all others. Where not all of them fit, those that
    stay lie evenly among them, so that copies of the others run beside what these compute.

    Args:
        budget: bytes that may stay.
        first, rest: bytes of the weights that are loaded first, and of the others, about.

    Attributes:
        kept, streamed: bytes of those that stay, and of the others.
    """

    def __init__(self, budget: int, first: int, rest: int) -> None:
        self.budget = budget
        self.kept = self.streamed = 0
        self._first, self._rest = max(1, first), max(1, rest)

    def keeps(self, num_bytes: int) -> bool:
        """Return whether the next weight, of so many bytes, stays on the device."""
        seen = self.kept + self.streamed + num_bytes
        early, late = min(seen, self._first), max(0, seen - self._first)
        left = max(0, self.budget - self._first)
        quota = min(self.budget, early * min(1.0, self.budget / self._first) + late * min(1.0, left / self._rest))
        if self.kept + num_bytes <= quota:
            self.kept += num_bytes
            return True
        self.streamed += num_bytes
        return False

    def stays(self, num_bytes: int) -> None:
        """Count a weight that has to stay, whatever there is room for."""
        self.kept += num_bytes


class Lane(Protocol):
    """Places on a device, and copies to them beside what it computes. The host waits for none of it."""

    def copy(self, place: int, piece: Any) -> None:
        """Begin to copy a piece to a place, once all that was launched before the last `leave` of it is done."""

    def enter(self, place: int) -> None:
        """Make what is launched from now on wait until the place has its piece."""

    def leave(self, place: int) -> None:
        """Say that all that reads the place has been launched."""


class Stream:
    """Brings pieces of weights to the places of a device, one ahead of the one in use. `Lane` does the copies.

    Attributes:
        hits, misses: how often a piece was on its way before it was asked for, and how often not.
    """

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self.hits = self.misses = 0
        self._pieces: dict[Hashable, Any] = {}
        self._held: list[Hashable | None] = [None] * PLACES
        self._after: dict[tuple[Hashable, Hashable], Hashable] = {}  # the last two that were taken -> what came next
        self._last: tuple[Hashable, Hashable] = (None, None)
        self._at: int | None = None

    def add(self, name: Hashable, piece: Any) -> None:
        """Make a piece known by a name."""
        self._pieces[name] = piece

    def take(self, name: Hashable) -> int:
        """Return the place where a piece is for all that is launched before the next call."""
        if self._at is not None:
            self._lane.leave(self._at)
        if name in self._held:
            place = self._held.index(name)
            self.hits += 1
        else:
            place = 0 if self._at is None else self._other(self._at)
            self._bring(name, place)
            self.misses += 1
        self._lane.enter(place)
        self._at = place
        before, last = self._last
        self._after[before, last] = name
        self._last = (last, name)
        following = self._after.get(self._last)
        if following is not None and following not in self._held:
            self._bring(following, self._other(place))
        return place

    def _bring(self, name: Hashable, place: int) -> None:
        self._lane.copy(place, self._pieces[name])
        self._held[place] = name

    @staticmethod
    def _other(place: int) -> int:
        return (place + 1) % PLACES
