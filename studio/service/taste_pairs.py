"""Give accounts pairs of pictures to choose between. Used on the loop's thread."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...engine.taste.preference import Preference
from ...engine.taste.selection import choose_pair
from ...errors import complaint
from ..errors import TasteRefused
from ..store.domains.taste import TasteEventRow, TastePairRow, TasteProfileRow
from ..store.writes import Put
from ..taste.log import digests as digests_of
from ..taste.pool import PoolPicture
from ..taste.types import GLOBAL, PAIR, PairPicture
from .context import ServiceContext
from .taste_codes import TasteCodes
from .taste_features import TasteFeatures
from .taste_logs import TasteLogs
from .taste_pool import READY_S, TastePool
from .waits import Waits

Float64 = NDArray[np.float64]

OUTSTANDING: Final = 2  # pairs that an account may have unanswered in a profile: one is shown, one is ready
TRIES: Final = 30  # choices by what teaches most, before any pair does that was not shown
SEEN: Final = 4  # times that a picture counts as seen for a pair that was chosen again
PAGE: Final = 5_000
KEPT: Final = 64  # accounts whose pairs are in memory; of others they are read anew
GONE: Final = -1  # in place of the number of an answer: a picture of the pair was deleted before there was one

_pictures: Final = msgspec.msgpack.Decoder(tuple[PairPicture, PairPicture])


def pictures_of(row: TastePairRow) -> tuple[PairPicture, PairPicture]:
    """Return left and right."""
    return _pictures.decode(row.pictures)


def key_of(profile: TasteProfileRow | None) -> str:
    """Return what rows of pairs call a profile: its id, but the global one is "", since it may not be there yet."""
    return "" if profile is None or profile.kind == GLOBAL else profile.profile


def id_of(profile: TasteProfileRow | None) -> str:
    """Return the id of a profile; "": it is not there yet."""
    return "" if profile is None else profile.profile


class AccountPairs:
    """The pairs that an account was given: none is given twice, in whichever profile."""

    def __init__(self, rows: Sequence[TastePairRow]) -> None:
        self.rows = {row.pair: row for row in rows}  # those without an answer in the order in which they were shown
        self.seen: dict[str, int] = {}  # digest -> how often it was in a pair
        self.used: set[frozenset[str]] = set()
        self._again: set[str] = set()  # open again since their answers were undone, and not given again yet
        for row in rows:
            self._count(row)

    def add(self, row: TastePairRow) -> None:
        """Take note of a pair, or of its answer."""
        if row.pair not in self.rows:
            self._count(row)
        self.rows[row.pair] = row

    def open(self, profile: str) -> list[TastePairRow]:
        """Return the pairs of a profile (`key_of`) without an answer, the one that was shown longest ago first."""
        return [row for row in self.rows.values() if not row.event and row.profile == profile]

    def first(self, waiting: Sequence[TastePairRow]) -> TastePairRow | None:
        """Return which of the open pairs of a profile is to be given before a new one is made: one whose answer was
        undone, or the one that was shown longest ago if there are enough. None: a new one may be made."""
        for row in waiting:
            if row.pair in self._again:
                return row
        return waiting[0] if len(waiting) >= OUTSTANDING else None

    def shown(self, row: TastePairRow) -> None:
        """Take note that a pair is shown now."""
        self._again.discard(row.pair)
        self.rows[row.pair] = self.rows.pop(row.pair)

    def of_event(self, event: TasteEventRow) -> TastePairRow | None:
        """Return the pair that an event answered; None: it is of no pair. No pair is given twice: its pictures tell."""
        digests = {digest for digest, _ in digests_of(event)} if event.kind == PAIR else set()
        rows = (row for row in self.rows.values() if {one.digest for one in pictures_of(row)} == digests)
        return next(rows, None)

    def before(self, profile: str) -> TastePairRow | None:
        """Return the pair of a profile after which a new one will be shown: the open one, or else the one that was
        given last. None: there is none."""
        given = [row for row in self.rows.values() if row.profile == profile]
        return next((row for row in reversed(given) if not row.event), given[-1] if given else None)

    def reopen(self, row: TastePairRow) -> None:
        """Take note that a pair has no answer any more, and is to be given next."""
        self._again.add(row.pair)
        self.add(row)

    @property
    def answered(self) -> int:
        """How many pairs have an answer."""
        return sum(1 for row in self.rows.values() if row.event > 0)

    def _count(self, row: TastePairRow) -> None:
        digests = [picture.digest for picture in pictures_of(row)]
        self.used.add(frozenset(digests))
        for digest in digests:
            self.seen[digest] = self.seen.get(digest, 0) + 1


class TastePairs:
    """The pairs of all accounts.

    Args:
        context: of the service.
        waits: for the store.
        logs, features, codes: of the accounts.
        pool: the pictures that pairs are made of.
    """

    def __init__(
        self,
        context: ServiceContext,
        waits: Waits,
        logs: TasteLogs,
        features: TasteFeatures,
        codes: TasteCodes,
        pool: TastePool,
    ) -> None:
        self._context, self._waits, self._logs = context, waits, logs
        self._features, self._codes, self.pool = features, codes, pool
        self._kept: dict[str, AccountPairs] = {}

    async def of(self, account: str) -> AccountPairs:
        """Return the pairs of an account. Called with the account's lock held."""
        if account not in self._kept:
            store = self._context.store

            def load() -> list[TastePairRow]:
                rows: list[TastePairRow] = []
                while page := store.rows(
                    TastePairRow, after=(account, rows[-1].pair) if rows else (), limit=PAGE, account=account
                ):
                    rows += page
                return sorted(rows, key=lambda row: row.made_ms)

            self._kept[account] = AccountPairs(await self._waits.read(load))
            for other in list(self._kept)[: max(0, len(self._kept) - KEPT)]:
                if not self._logs.lock(other).locked():
                    del self._kept[other]
        return self._kept[account]

    async def next(self, account: str, profile: TasteProfileRow | None) -> TastePairRow:
        """Return the next pair for an own profile; None: the global one, which has no event yet.

        Raises:
            TasteRefused, TooSlow: as `TastePool.ready`; or the account has seen every pair that there is.
        """
        key = key_of(profile)
        async with self._logs.lock(account):
            pairs = await self.of(account)
            if (row := pairs.first(await self._waiting(pairs, key))) is not None:
                pairs.shown(row)
                return row
            answered = pairs.answered
        end = asyncio.get_running_loop().time() + READY_S
        while True:
            pictures = await self.pool.ready(answered)
            preference = await self._codes.nearly(id_of(profile), await self._logs.of(account))
            make = partial(self._make, account, key, pictures, preference)
            if (row := await self._logs.within(account, make)) is not None:
                return row
            if not await self.pool.more(len(pictures), end):
                got, allowed = "every pair seen that there is so far", "new ones"
                raise TasteRefused(complaint("pairs", got, allowed, "ask again in some minutes: more are being drawn"))

    async def _waiting(self, pairs: AccountPairs, key: str) -> list[TastePairRow]:
        """Return the pairs of a profile without an answer, without those of which a picture was deleted meanwhile."""
        rows, store = pairs.open(key), self._context.store
        jobs = {picture.job for row in rows for picture in pictures_of(row)}
        there = await self._waits.read(lambda: store.pictures_of(sorted(jobs))) if jobs else {}
        gone = [row for row in rows if any(picture.job not in there for picture in pictures_of(row))]
        if gone:
            ended = [msgspec.structs.replace(row, event=GONE) for row in gone]
            await self._waits.stored([Put(row) for row in ended])
            for row in ended:
                pairs.add(row)
        return [row for row in rows if row not in gone]

    async def _make(
        self, account: str, key: str, pictures: list[PoolPicture], preference: Preference
    ) -> TastePairRow | None:
        """Return a new pair of pictures; None: the account has been given every one."""
        pairs = await self.of(account)
        if (first := pairs.first(pairs.open(key))) is not None:  # another request was quicker
            pairs.shown(first)
            return first
        known = [each for each in pictures if self._features.known(each.picture.digest) is not None]
        places = [self._features.known(each.picture.digest) for each in known]
        seed = len(pairs.rows)
        chosen = await asyncio.to_thread(
            _chosen, known, [place for place in places if place is not None], preference, pairs, seed
        )
        if chosen is None:
            return None
        if (before := pairs.before(key)) is not None:
            chosen = apart(chosen, pictures_of(before))
        row = TastePairRow(
            account=account, pair=secrets.token_hex(12), profile=key, made_ms=self._context.now_ms(),
            pictures=msgspec.msgpack.encode(chosen),
        )  # fmt: skip
        await self._waits.stored([Put(row)])
        pairs.add(row)
        return row


def apart(
    pair: tuple[PairPicture, PairPicture], before: tuple[PairPicture, PairPicture]
) -> tuple[PairPicture, PairPicture]:
    """Return a pair with its sides changed if a picture of the pair before it would stay where it is: both halves of a
    screen change, and one sees that the next pair is there."""
    stays = any(now.digest == then.digest for now, then in zip(pair, before, strict=True))
    return (pair[1], pair[0]) if stays else pair


def _chosen(
    pictures: Sequence[PoolPicture], places: Sequence[Float64], preference: Preference, pairs: AccountPairs, seed: int
) -> tuple[PairPicture, PairPicture] | None:
    """Return left and right of the pair that teaches most among those that the account has not been given; None: it has
    been given all."""
    if len(pictures) < 2:
        return None
    coordinates, groups = np.stack(places), np.array([each.group for each in pictures])
    digests = [each.picture.digest for each in pictures]
    shown = np.array([pairs.seen.get(digest, 0) for digest in digests], np.int64)
    for turn in range(TRIES):
        found = choose_pair(preference, coordinates, groups, shown, seed + turn * 1_000_003)
        if found is None:
            return None
        left, right = found
        if digests[left] != digests[right] and frozenset((digests[left], digests[right])) not in pairs.used:
            return pictures[left].picture, pictures[right].picture
        shown[left] += SEEN
        shown[right] += SEEN
    draw = np.random.Generator(np.random.Philox(seed))
    for left in draw.permutation(len(pictures)):
        for right in draw.permutation(np.flatnonzero(groups == groups[left])):
            pair = frozenset((digests[left], digests[right]))
            if len(pair) == 2 and pair not in pairs.used:
                return pictures[left].picture, pictures[right].picture
    return None
