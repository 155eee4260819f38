"""Take what accounts say of pictures into their logs: answers to pairs, picks from grids, likes; and switch them.

Used on the loop's thread. Every method returns when its entry is on disk.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from ...bounds import GRID as WHOLE
from ...errors import complaint
from ...values import shown, whole_of
from ..errors import TasteRefused
from ..store.domains.taste import TasteEventRow, TasteProfileRow
from ..store.writes import Put, Write
from ..taste.log import OFF, ON, SWITCH, AccountLog, pack
from ..taste.types import CHOICES, GRID, LEFT, LIKE, PAIR, SKIP, EventPicture, TasteEvent, Taught
from .context import ServiceContext
from .recipe import RecipeError
from .recipe_files import read_picture_file
from .taste_codes import TasteCodes
from .taste_features import TasteFeatures
from .taste_logs import TasteLogs
from .taste_pairs import GONE, TastePairs, pictures_of
from .taste_profiles import TasteProfiles, nothing_yet
from .waits import Waits

if TYPE_CHECKING:
    from .lookups import Lookups


class TasteTeaching:
    """What accounts say of pictures.

    Args:
        lookups: find jobs as far as an account may see them.
        logs, profiles, features, codes, pairs: of the accounts.
    """

    def __init__(
        self,
        lookups: Lookups,
        logs: TasteLogs,
        profiles: TasteProfiles,
        features: TasteFeatures,
        codes: TasteCodes,
        pairs: TastePairs,
    ) -> None:
        self._lookups, self._logs, self._profiles = lookups, logs, profiles
        self._features, self._codes, self._pairs = features, codes, pairs
        self._context: ServiceContext = lookups.context
        self._waits: Waits = lookups.waits

    async def rank(self, account: str, pair: str, choice: str) -> Taught:
        """Answer a pair; see `TasteService.rank`."""
        if choice not in CHOICES:
            raise TasteRefused(complaint("choice", shown(choice)[:40], ", ".join(CHOICES), "choose one of these"))
        return await self._logs.within(account, lambda: self._rank(account, pair, choice))

    async def _rank(self, account: str, pair: str, choice: str) -> Taught:
        pairs, log = await self._pairs.of(account), await self._logs.of(account)
        row = pairs.rows.get(pair)
        if row is None:
            got, allowed = shown(pair)[:80], "one that you were given"
            raise TasteRefused(complaint("pair", got, allowed, "ask for the next one"))
        if row.event == GONE:
            got, allowed = "one of which a picture was deleted", "one with both"
            raise TasteRefused(complaint("pair", got, allowed, "ask for the next one"))
        if row.event:
            event = log.event(row.event)
            assert event is not None, "an answer without its event"
            if event.choice != choice:
                got, remedy = f"{choice} after {event.choice}", "undo that one, and answer anew"
                raise TasteRefused(complaint("pair", got, "one answer", remedy))
            return await self._taught(log, event)
        profile, besides = await self._profile(account, row.profile)
        pictures = tuple(
            EventPicture(job=one.job, index=one.index, digest=one.digest, picked=picked)
            for one, picked in zip(pictures_of(row), (choice == LEFT, choice not in (LEFT, SKIP)), strict=True)
        )
        entry = self._logs.entry(
            account, log, PAIR, profile.profile, choice=choice, teaches=choice != SKIP, model=self._features.model,
            pictures=pack(pictures),
        )  # fmt: skip
        answered = msgspec.structs.replace(row, event=entry.event)
        await self._logs.add(account, [entry], [Put(answered), *besides])
        pairs.add(answered)
        return await self._taught(log, entry)

    async def pick(self, account: str, job: str, picked: Iterable[int], profile: str = "") -> Taught:
        """Pick pictures of a grid; see `TasteService.pick`."""
        found = await self._pictures(account, job)
        wanted, there = [whole_of(index) for index in picked], [index for index, _ in found]
        if wrong := [index for index in wanted if index not in there]:
            allowed = f"0 to {max(there)}" if there else "none (it has no pictures)"
            raise TasteRefused(complaint("picked", shown(wrong[0])[:40], allowed, "name pictures of the job"))
        if not 0 < len(set(wanted)) < len(there):
            got, allowed = f"{len(set(wanted))} of {len(there)} pictures", "some and not all"
            remedy = "like it in its place: salon like" if len(there) < 2 else "leave those out that you like less"
            raise TasteRefused(complaint("picked", got, allowed, remedy))
        model = await self._model(found[0][1])
        row = await self._profiles.want_learned(account, profile)
        pictures = tuple(
            EventPicture(job=job, index=index, digest=digest, picked=index in wanted) for index, digest in found
        )
        taught = await self._logs.within(account, lambda: self._pick(account, job, row, pack(pictures), model))
        for _, digest in found:
            self._features.ask_if_unknown(digest)
        return taught

    async def _pick(self, account: str, job: str, row: TasteProfileRow | None, pictures: bytes, model: str) -> Taught:
        log = await self._logs.of(account)
        profile, besides = (row, list[Write]()) if row is not None else await self._profile(account, "")
        before, rows = log.grid_of(profile.profile, job), list[TasteEventRow]()
        if before is not None and log.is_on(before.event):
            if before.pictures == pictures:
                return await self._taught(log, before)
            rows.append(self._switch(account, log, before, on=False))  # a grid counts once
        entry = self._logs.entry(account, log, GRID, profile.profile, model=model, pictures=pictures)
        rows.append(msgspec.structs.replace(entry, event=log.last + len(rows) + 1))
        await self._logs.add(account, rows, besides)
        return await self._taught(log, rows[-1])

    async def like(self, account: str, job: str, index: int, *, on: bool = True) -> Taught:
        """Like a picture, or no longer; see `TasteService.like`."""
        found = dict(await self._pictures(account, job))
        if index not in found:
            allowed = f"0 to {max(found)}" if found else "none (it has no pictures)"
            raise TasteRefused(complaint("picture", shown(index)[:40], allowed, "name a picture of the job"))
        owner = (await self._lookups.found(job, account))[0].account
        model = await self._model(found[index])
        picture = EventPicture(job=job, index=index, digest=found[index], picked=True)
        teaches = owner != account
        taught = await self._logs.within(account, lambda: self._like(account, picture, model, on=on, teaches=teaches))
        if taught.teaches:
            self._features.ask_if_unknown(picture.digest)
        return taught

    async def _like(self, account: str, picture: EventPicture, model: str, *, on: bool, teaches: bool) -> Taught:
        log = await self._logs.of(account)
        before = log.like_of(picture.job, picture.index)
        if before is not None:
            if log.is_on(before.event) != on:
                await self._logs.add(account, [self._switch(account, log, before, on=on)])
            return await self._taught(log, before)
        if not on:
            got = f"picture {picture.index} of job {picture.job}, which you do not like"
            raise TasteRefused(complaint("like", got, "one that you do", "see `salon profile events`"))
        profile, besides = await self._profile(account, "")
        entry = self._logs.entry(
            account, log, LIKE, profile.profile, teaches=teaches, model=model, pictures=pack((picture,))
        )
        await self._logs.add(account, [entry], besides)
        return await self._taught(log, entry)

    # ---- switch ------------------------------------------------------------------------------------------------------

    async def switch(self, account: str, event: int, *, on: bool) -> TasteEvent:
        """Have an event count, or not; see `TasteService.switch`."""

        async def work() -> TasteEvent:
            log = await self._logs.of(account)
            row = log.event(event)
            if row is None:
                got, allowed = shown(event)[:40], "the number of an event of yours"
                raise TasteRefused(complaint("event", got, allowed, "see `salon profile events`"))
            if log.is_on(event) != on:
                rows, besides = [self._switch(account, log, row, on=on)], list[Write]()
                pairs = await self._pairs.of(account)
                pair = pairs.of_event(row) if on else None
                if pair is not None and pair.event not in (row.event, GONE):  # undone, and maybe answered anew
                    if (other := log.event(pair.event)) is not None and log.is_on(other.event):
                        off = self._switch(account, log, other, on=False)  # a pair counts once
                        rows.append(msgspec.structs.replace(off, event=log.last + 2))
                    pair = msgspec.structs.replace(pair, event=row.event)
                    besides.append(Put(pair))
                await self._logs.add(account, rows, besides)
                if pair is not None:
                    pairs.add(pair)
            return log.shown(row)

        return await self._logs.within(account, work)

    async def undo(self, account: str, profile: str = "") -> TasteEvent:
        """Switch the last event off that is on, and open its pair again; see `TasteService.undo`."""
        of = (await self._profiles.want_own(account, profile)).profile if profile else ""

        async def work() -> TasteEvent:
            log = await self._logs.of(account)
            row = log.last_on(of)
            if row is None:
                raise nothing_yet()
            pairs = await self._pairs.of(account)
            pair = pairs.of_event(row)
            again = None
            if pair is not None and pair.event == row.event:
                again = msgspec.structs.replace(pair, event=0)
            switch = self._switch(account, log, row, on=False)
            await self._logs.add(account, [switch], [] if again is None else [Put(again)])
            if again is not None:
                pairs.reopen(again)
            return log.shown(row)

        return await self._logs.within(account, work)

    def _switch(self, account: str, log: AccountLog, row: TasteEventRow, *, on: bool) -> TasteEventRow:
        return self._logs.entry(
            account, log, SWITCH, row.profile, choice=ON if on else OFF, target=row.event, teaches=False
        )

    # ---- inside ------------------------------------------------------------------------------------------------------

    async def _profile(self, account: str, key: str) -> tuple[TasteProfileRow, list[Write]]:
        """Return the profile of a pair (`taste_pairs.key_of`), and the writes that make it if it is not there yet."""
        if key:
            return await self._profiles.want_own(account, key), []
        row = await self._profiles.own(account)
        if row is not None:
            return row, []
        row = self._profiles.new_global(account)
        return row, [Put(row)]

    async def _taught(self, log: AccountLog, row: TasteEventRow) -> Taught:
        return Taught(
            event=row.event,
            profile=row.profile,
            teaches=row.teaches,
            events=log.count(row.profile, self._features.model),
            needed=self._context.options.taste_unlock,
            code=self._codes.latest(row.profile),
        )

    async def _pictures(self, account: str, job: str) -> list[tuple[int, str]]:
        """Return (index, digest) of the pictures of a job that has ended well. UnknownJob, TasteRefused."""
        row, pictures = await self._lookups.found(job, account)
        if row.state != "done" or not pictures:
            got = f"job {job!r}, which is {row.state}" + ("" if row.state != "done" else " and has no pictures")
            raise TasteRefused(complaint("job", got, "one with pictures", "wait for its pictures, or name another"))
        return [(one.index, one.digest) for one in pictures if one.index != WHOLE]

    async def _model(self, digest: str) -> str:
        """Return the digest of the model that drew a picture, as its file says; where it says nothing, of this one."""

        def look() -> str:
            data = self._lookups.jobs.references.stored(digest)
            try:
                return "" if data is None else read_picture_file(io.BytesIO(data))[1].model.digest
            except RecipeError:
                return ""

        return await self._waits.read(look) or self._features.model
