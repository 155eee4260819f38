"""Report how well a profile works, as far as numbers alone say it. Used on the loop's thread."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from ...engine.taste.evidence import evidence_of, liked
from ..errors import TasteRefused
from ..store.domains.taste import TasteCodeRow, TasteProfileRow
from ..taste.log import AccountLog
from ..taste.names import Form, read, unknown
from ..taste.types import ANTI, PLAIN, RANDOM, Liked, Share, TasteReport
from .context import ServiceContext
from .taste_codes import Learned, TasteCodes
from .taste_features import TasteFeatures
from .taste_logs import TasteLogs
from .taste_profiles import LEARNED, TasteProfiles
from .waits import Waits

PULLS: Final = 10  # events that are named


class TasteReports:
    """The reports of profiles.

    Args:
        context: of the service.
        waits: for the store.
        logs, profiles, features, codes: of the accounts.
    """

    def __init__(
        self,
        context: ServiceContext,
        waits: Waits,
        logs: TasteLogs,
        profiles: TasteProfiles,
        features: TasteFeatures,
        codes: TasteCodes,
    ) -> None:
        self._context, self._waits, self._logs = context, waits, logs
        self._profiles, self._features, self._codes = profiles, features, codes

    async def report(self, account: str, name: str) -> TasteReport:
        """Return the report of an own profile; see `TasteService.report`."""
        row = await self._named(account, name)
        log, space, model = await self._logs.of(account), self._features.space, self._context.studio.loop.model.identity
        found: dict[str, Any] = {"verdict": ""}
        shows = [PLAIN]
        if row.kind in LEARNED:
            learned = await self._codes.learned(row.profile, log)
            found = await asyncio.to_thread(self._evidence, log, learned)
            shows += [ANTI, RANDOM]
            if log.count(row.profile, model.digest) < self._context.options.taste_unlock:
                shows = []
        codes = {each: (await self._codes.mint(row, each)).code for each in shows}
        return TasteReport(
            profile=await self._profiles.shown(row),
            code=codes.get(PLAIN, ""),
            anti_code=codes.get(ANTI, ""),
            random_code=codes.get(RANDOM, ""),
            algorithm=space.algorithm,
            model=model.digest,
            model_name=str(model),
            made_ms=self._context.now_ms(),
            **found,
        )

    def _evidence(self, log: AccountLog, learned: Learned) -> dict[str, Any]:
        """Return what speaks for a profile, by the names of the report's fields. Called on a thread."""
        space, (preference, lessons, pull) = self._features.space, learned
        said = evidence_of(space, lessons.comparisons, preference)
        hardest = sorted(pull, key=lambda event: (-pull[event], event))[:PULLS]
        rows = [(row, pull[event]) for event in hardest if (row := log.event(event)) is not None]
        return {
            "verdict": said.verdict,
            "held_out": Share(said.predicted, said.low, said.high, said.choices),
            "consistency": said.consistency,
            "effect": said.effect,
            "calibration": said.calibration,
            "liked": tuple(Liked(*each) for each in liked(space, preference)),
            "pulls": tuple(log.shown(row, length) for row, length in rows),
            "missing": len(lessons.missing),
        }

    async def _named(self, account: str, name: str) -> TasteProfileRow:
        """Return the own profile of this name, id or code. TasteRefused: there is none."""
        if name and read(name).form is Form.CODE:
            store = self._context.store
            code = await self._waits.read(lambda: store.row(TasteCodeRow, name))
            if code is None or code.account != account:
                raise unknown(name)
            return await self._profiles.want_own(account, code.profile)
        if name.startswith("@"):
            raise TasteRefused(f"report: got {name[:80]!r}, allowed a profile of your own; see `salon profile list`")
        return await self._profiles.want_own(account, name)
