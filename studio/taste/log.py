"""Follow an account's log of taste: which events there are, which of them count, and what state it is in."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from ..store.domains.taste import TasteEventRow
from .types import GRID, LIKE, SKIP, EventPicture, TasteEvent

SWITCH: Final = "switch"  # kind of an entry that switches an event on or off
ON, OFF = "on", "off"
NONE: Final[Mapping[int, float]] = MappingProxyType({})


class _Packed(msgspec.Struct, array_like=True):
    job: str
    index: int
    digest: str
    picked: bool


_decoder: Final = msgspec.msgpack.Decoder(list[_Packed])


def pack(pictures: Sequence[EventPicture]) -> bytes:
    """Return an event's pictures as the store keeps them."""
    return msgspec.msgpack.encode([(one.job, one.index, one.digest, one.picked) for one in pictures])


def unpack(row: TasteEventRow) -> tuple[EventPicture, ...]:
    """Return the pictures of an event."""
    return tuple(
        EventPicture(job=one.job, index=one.index, digest=one.digest, picked=one.picked)
        for one in _decoder.decode(row.pictures)
    )


def digests(row: TasteEventRow) -> list[tuple[str, bool]]:
    """Return (digest, whether it was picked) of the pictures of an event."""
    return [(one.digest, one.picked) for one in _decoder.decode(row.pictures)]


class AccountLog:
    """The log of an account. Entries are added in the order of their numbers.

    Attributes:
        last: number of the last entry; 0: there is none.
    """

    def __init__(self) -> None:
        self.last = 0
        self._events: dict[int, TasteEventRow] = {}  # in their order
        self._off: set[int] = set()
        self._of: defaultdict[str, list[int]] = defaultdict(list)  # profile -> its events
        self._state: dict[str, int] = {}  # profile -> number of its last entry
        self._changed: dict[str, int] = {}  # profile -> when that was made
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)  # profile -> model, "" for any -> events
        self._likes: dict[tuple[str, int], int] = {}  # picture -> the event that likes it
        self._grids: dict[tuple[str, str], int] = {}  # (profile, job) -> the latest event of its grid

    def add(self, row: TasteEventRow) -> None:
        """Take an entry that is on disk."""
        assert row.event > self.last, (row.event, self.last)
        self.last = self._state[row.profile] = row.event
        self._changed[row.profile] = row.at_ms
        if row.kind == SWITCH:
            on, was = row.choice == ON, row.target not in self._off
            (self._off.discard if on else self._off.add)(row.target)
            self._count(self._events[row.target], on - was)
            return
        self._events[row.event] = row
        self._of[row.profile].append(row.event)
        self._count(row, 1)
        if row.kind == LIKE:
            picture = unpack(row)[0]
            self._likes[picture.job, picture.index] = row.event
        elif row.kind == GRID:
            self._grids[row.profile, unpack(row)[0].job] = row.event

    @property
    def profiles(self) -> tuple[str, ...]:
        """The ids of all profiles that have entries, deleted ones too."""
        return tuple(self._state)

    def event(self, number: int) -> TasteEventRow | None:
        """Return an event by its number; None: there is none."""
        return self._events.get(number)

    def is_on(self, number: int) -> bool:
        """Return whether an event counts."""
        return number not in self._off

    def like_of(self, job: str, index: int) -> TasteEventRow | None:
        """Return the event that likes a picture; None: none ever did."""
        return self._events.get(self._likes.get((job, index), 0))

    def grid_of(self, profile: str, job: str) -> TasteEventRow | None:
        """Return the latest event of a job's grid in a profile; None: there is none."""
        return self._events.get(self._grids.get((profile, job), 0))

    def marked(self, kinds: Sequence[str]) -> dict[str, set[int]]:
        """Return the pictures of which events of these kinds tell that are on, as jobs and indices; of a grid and of a
        pair that was not skipped those that were picked and those that were not."""
        found: dict[str, set[int]] = {}
        for row in self._events.values():
            if row.kind in kinds and row.event not in self._off and row.choice != SKIP:
                for picture in unpack(row):
                    found.setdefault(picture.job, set()).add(picture.index)
        return found

    def count(self, profile: str, model: str) -> int:
        """Return how many events teach a profile of a model: pairs and grids of any, but likes of its own pictures."""
        counts = self._counts[profile]
        return counts[""] + counts[model]

    def state(self, profile: str) -> int:
        """Return the number of a profile's last entry, which changes whenever anything of it does; 0: it has none."""
        return self._state.get(profile, 0)

    def changed_ms(self, profile: str) -> int:
        """Return when a profile's last entry was made, UTC ms; 0: it has none."""
        return self._changed.get(profile, 0)

    def teaching(self, profile: str, model: str) -> Iterator[TasteEventRow]:
        """Yield the events that teach a profile of a model, in their order."""
        for number in self._of[profile]:
            row = self._events[number]
            if row.teaches and number not in self._off and (row.kind != LIKE or row.model == model):
                yield row

    def page(
        self, profile: str = "", before: int = 0, limit: int = 50, pulls: Mapping[int, float] = NONE
    ) -> list[TasteEvent]:
        """Return events newest first, those that are off too.

        Args:
            profile: its id; "": of all.
            before: number of the last event of the page before; 0: the first page.
            limit: how many, at most.
            pulls: how far events move their profiles, by number.
        """
        numbers = self._of[profile] if profile else list(self._events)
        end = bisect_left(numbers, before) if before else len(numbers)
        page = numbers[max(0, end - limit) : end][::-1]
        return [self.shown(self._events[number], pulls.get(number, 0.0)) for number in page]

    def last_on(self, profile: str = "") -> TasteEventRow | None:
        """Return the latest event that is on, of a profile or ("") of all; None: there is none."""
        numbers = self._of[profile] if profile else list(self._events)
        return next((self._events[number] for number in reversed(numbers) if number not in self._off), None)

    def shown(self, row: TasteEventRow, pull: float = 0.0) -> TasteEvent:
        """Return an event as its account sees it."""
        return TasteEvent(
            event=row.event, kind=row.kind, at_ms=row.at_ms, profile=row.profile, pictures=unpack(row),
            choice=row.choice, on=self.is_on(row.event), teaches=row.teaches, pull=pull,
        )  # fmt: skip

    def _count(self, row: TasteEventRow, more: int) -> None:
        if row.teaches:
            self._counts[row.profile][row.model if row.kind == LIKE else ""] += more
