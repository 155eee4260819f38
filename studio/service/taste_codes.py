"""Learn profiles from their logs, and make the codes that they go by. Used on the loop's thread; what is computed has
others.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...bounds import MAX_REFERENCES
from ...engine.taste.evidence import pulls
from ...engine.taste.preference import Preference, learn
from ...engine.taste.vectors import anti_vector, profile_vector, random_vector
from ...errors import complaint
from ..errors import TasteRefused
from ..store.domains.taste import TasteCodeRow, TasteProfileRow
from ..store.writes import Put
from ..taste.codes import code_of, want_usable
from ..taste.contents import pictures_in, styles_in
from ..taste.lessons import Lessons, lessons_of
from ..taste.log import AccountLog, digests
from ..taste.names import Form, read, unknown
from ..taste.types import ANTI, MOODBOARD, PLAIN, RANDOM
from .context import ServiceContext
from .taste_code_rows import code_rows
from .taste_features import TasteFeatures
from .taste_logs import TasteLogs
from .taste_profiles import LEARNED, TasteProfiles
from .waits import Waits

Float32 = NDArray[np.float32]
KEPT: Final = 64  # learned profiles in memory
MANY: Final = 1_000  # events of which all are learned anew for every pair


class Learned(NamedTuple):
    """What a profile's events say: the preference, the comparisons that it was learned from, and how far each event
    moves it, by the event's number."""

    preference: Preference
    lessons: Lessons
    pulls: dict[int, float]


class TasteCodes:
    """Profiles as they were learned, and their codes.

    Args:
        context: of the service.
        waits: for the store.
        logs, features, profiles: of the accounts.
    """

    def __init__(
        self,
        context: ServiceContext,
        waits: Waits,
        logs: TasteLogs,
        features: TasteFeatures,
        profiles: TasteProfiles,
    ) -> None:
        self._context, self._waits = context, waits
        self._logs, self._features, self._profiles = logs, features, profiles
        self._learned: OrderedDict[str, tuple[int, Learned]] = OrderedDict()
        self._minted: OrderedDict[tuple[str, str], tuple[tuple[int, int], TasteCodeRow]] = OrderedDict()

    # ---- learn -------------------------------------------------------------------------------------------------------

    async def learned(self, profile: str, log: AccountLog) -> Learned:
        """Return what the events of a profile say; "": of none. It reads the log alone, and each of its states once."""
        state = log.state(profile)
        kept = self._learned.get(profile)
        if kept is not None and kept[0] == state:
            self._learned.move_to_end(profile)
            return kept[1]
        space, model = self._features.space, self._features.model
        rows = list(log.teaching(profile, model)) if profile else []
        pictures = await asyncio.to_thread(lambda: [digest for row in rows for digest, _ in digests(row)])
        places = await self._features.coordinates(pictures)

        def work() -> Learned:
            lessons = lessons_of(rows, places, space.points[1].mean(axis=0))
            preference, found = learn(space, lessons.comparisons), dict[int, float]()
            lengths = pulls(lessons.comparisons, preference).tolist()
            for event, length in zip(lessons.events, lengths, strict=True):
                found[event] = found.get(event, 0.0) + length
            return Learned(preference, lessons, found)

        found = await asyncio.to_thread(work)
        if not found.lessons.missing:  # else what lacks may be there the next time
            _keep(self._learned, profile, (state, found))
        return found

    async def nearly(self, profile: str, log: AccountLog) -> Preference:
        """Return what is known of a user for choosing the next pair, where a few of very many events may be missing:
        of those beyond `MANY` one in a hundred."""
        kept, many = self._learned.get(profile), log.count(profile, self._features.model) - MANY
        if kept is not None and log.state(profile) - kept[0] <= many // 100:
            return kept[1].preference
        return (await self.learned(profile, log)).preference

    def pulls(self, log: AccountLog) -> dict[int, float]:
        """Return how far events move their profiles, by number, of those profiles whose present state was learned."""
        found: dict[int, float] = {}
        for profile in log.profiles:
            state, learned = self._learned.get(profile, (0, None))
            if learned is not None and state == log.state(profile):
                found |= learned.pulls
        return found

    # ---- codes -------------------------------------------------------------------------------------------------------

    async def mint(self, row: TasteProfileRow, shows: str = PLAIN) -> TasteCodeRow:
        """Return the code of a profile as it is now, which is made unless it is there already. It is on disk.

        Raises:
            TasteRefused: too few events teach the profile, or its owner has revoked this very code.
        """
        return await self._logs.within(row.account, lambda: self._mint(row, shows))

    def latest(self, profile: str) -> str:
        """Return the latest code of a profile that was asked for in this start; "": none was."""
        kept = self._minted.get((profile, PLAIN))
        return "" if kept is None else kept[1].code

    async def _mint(self, row: TasteProfileRow, shows: str) -> TasteCodeRow:
        log, model = await self._logs.of(row.account), self._context.studio.loop.model.identity
        learned, needed = row.kind in LEARNED, self._context.options.taste_unlock
        events = log.count(row.profile, model.digest) if learned else 0
        if learned and events < needed:
            raise TasteRefused(f"Not enough ratings ({events}/{needed})")
        last = log.state(row.profile) if learned else 0
        state = last, row.changed_ms
        kept = self._minted.get((row.profile, shows))
        if kept is not None and kept[0] == state:
            return kept[1]
        algorithm, store = self._features.space.algorithm, self._context.store
        found: TasteCodeRow | None = None
        if learned:  # a state of a log has one code, also where another machine's arithmetic would find another vector
            same = {"profile": row.profile, "shows": shows, "model": model.digest, "algorithm": algorithm}
            rows = await self._waits.read(lambda: code_rows(self._context, last_event=last, **same))
            found = rows[0] if rows else None
        if found is None:
            vector = (await self._vector(row, log, shows)).astype("<f4").tobytes()
            code = code_of(row.profile, algorithm, model.digest, events, last, vector)
            found = await self._waits.read(lambda: store.row(TasteCodeRow, code))
        if found is None:
            found = TasteCodeRow(
                code=code, profile=row.profile, account=row.account, name=row.name, kind=row.kind, shows=shows,
                made_ms=self._context.now_ms(), algorithm=algorithm, model=model.digest, model_name=str(model),
                events=events, last_event=last, vector=vector,
            )  # fmt: skip
            await self._waits.stored([Put(found)])
        want_usable(found.code, found, model.digest)
        _keep(self._minted, (row.profile, shows), (state, found))
        return found

    async def _vector(self, row: TasteProfileRow, log: AccountLog, shows: str) -> Float32:
        """Return the style vector float32 [W] of a profile, its opposite, or a control for it."""
        space = self._features.space
        if row.kind in LEARNED:
            preference = (await self.learned(row.profile, log)).preference
            if shows == RANDOM:
                return await asyncio.to_thread(random_vector, space, preference, int(row.profile[1:]))
            return await asyncio.to_thread(anti_vector if shows == ANTI else profile_vector, space, preference)
        assert shows == PLAIN, "what was not learned has no controls"
        if row.kind == MOODBOARD:
            vectors = await self._features.vectors(pictures_in(row))
            if not vectors:
                got, allowed = "pictures that are all gone", "some that are here"
                raise TasteRefused(complaint("moodboard", got, allowed, "add pictures to it: salon moodboard add"))
            return await asyncio.to_thread(space.mean_vector, np.stack(list(vectors.values())))
        styles = styles_in(row)

        def mixed() -> Float32:
            if len(styles) == 1:  # to the bit what `--sref` draws
                return space.number_vector(styles[0].number)
            return space.mean_vector(
                np.stack([space.number_vector(each.number) for each in styles]), [each.weight for each in styles]
            )

        return await asyncio.to_thread(mixed)

    async def resolve(self, account: str, given: Iterable[Any]) -> tuple[tuple[str, float], ...]:
        """Return the codes, with weights, that what stands after `--p` means now; see `TasteService.resolve`."""
        named = [each if isinstance(each, tuple | list) else (each, 1.0) for each in given] or [("", 1.0)]
        if len(named) > MAX_REFERENCES:
            raise TasteRefused(
                complaint("profile", f"{len(named)} of them", f"up to {MAX_REFERENCES}", "leave some out")
            )
        found: dict[str, float] = {}
        for name, weight in named:
            code = await self.code_named(account, str(name))
            found[code] = found.get(code, 0.0) + float(weight)
        return tuple(found.items())

    async def code_named(self, account: str, name: str) -> str:
        """Return the code that one name means; "": the account's global profile. Raises as `resolve`."""
        if not name:
            row = await self._profiles.own(account)
            if row is None:
                raise TasteRefused(f"Not enough ratings (0/{self._context.options.taste_unlock})")
            return (await self.mint(row)).code
        named = read(name)
        if named.form is Form.CODE:
            store, model = self._context.store, self._features.model
            code = await self._waits.read(lambda: store.row(TasteCodeRow, named.text))
            return want_usable(named.text, code, model).code
        row = await self._profiles.own(account, name) or await self._profiles.foreign(name, account)
        if row is None:
            raise unknown(name)
        return (await self.mint(row)).code

    async def revoke(self, rows: Sequence[TasteCodeRow]) -> None:
        """Make naming codes an error for everyone. Called `within` their account's lock."""
        fresh = [msgspec.structs.replace(row, revoked=True) for row in rows if not row.revoked]
        if fresh:
            gone = {row.code for row in fresh}
            await self._waits.stored([Put(row) for row in fresh])
            for key in [key for key, (_, row) in self._minted.items() if row.code in gone]:
                del self._minted[key]


def _keep(kept: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > KEPT:
        kept.popitem(last=False)
