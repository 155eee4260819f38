"""Carry out users' requests about their taste: what they like, the profiles that are learned of it, and their codes.

Used on the event loop's thread. An entry of a log is on disk before its request is answered, and profiles are learned
from the log alone, so that after a crash the same log gives the same code.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from ...bounds import MAX_PAGE
from ...errors import complaint
from ...values import shown, whole_of
from ..errors import TasteRefused
from ..store.domains.taste import TasteCodeRow
from ..store.writes import Put
from ..taste.types import (
    EVENTS,
    KEEP,
    LIKE,
    PROFILE,
    REVOKE,
    Dependants,
    Pair,
    TasteCode,
    TasteEvent,
    TasteProfile,
    TasteReport,
    Taught,
)
from .taste_bonus import TasteBonus
from .taste_code_rows import code_rows, shown_code
from .taste_codes import TasteCodes
from .taste_dependants import TasteDependants
from .taste_features import TasteFeatures
from .taste_logs import TasteLogs
from .taste_pairs import TastePairs, id_of, pictures_of
from .taste_pool import TastePool
from .taste_profiles import LEARNED, TasteProfiles
from .taste_reports import TasteReports
from .taste_teaching import TasteTeaching

if TYPE_CHECKING:
    from .service import Service


class TasteService:
    """The requests about taste.

    Args:
        service: has store, workers and jobs.

    Attributes:
        pool: the pictures to rank.
        bonus: for those who rank most.
    """

    def __init__(self, service: Service) -> None:
        self._service, self._context, self._waits = service, service.context, service.waits
        references = service.jobs.references
        self._logs = TasteLogs(self._context, self._waits)
        self._features = TasteFeatures(self._context, self._waits, references)
        self._profiles = TasteProfiles(self._context, self._waits, self._logs, self._features, references)
        self._codes = TasteCodes(self._context, self._waits, self._logs, self._features, self._profiles)
        self.pool = TastePool(self._context, self._waits, service.jobs, self._features, service.submit)
        self._pairs = TastePairs(self._context, self._waits, self._logs, self._features, self._codes, self.pool)
        self._teaching = TasteTeaching(service, self._logs, self._profiles, self._features, self._codes, self._pairs)
        self._reports = TasteReports(
            self._context, self._waits, self._logs, self._profiles, self._features, self._codes
        )
        self._dependants = TasteDependants(self._context, self._waits, service.prompts)
        self.bonus = TasteBonus(self._context, self._waits)

    # ---- teach -------------------------------------------------------------------------------------------------------

    async def next_pair(self, account: str, profile: str = "") -> Pair:
        """Return two pictures to choose between. Two pairs may be unanswered at a time; then they are given again.

        Args:
            account: who asks.
            profile: name or id of an own profile that the answer is to teach; "": the global one.

        Raises:
            TasteRefused: there is no such profile, events do not teach it, the model has no style space, or the account
                has seen every pair that there is so far.
            TooSlow: the first pictures are still being drawn; ask again.
            Draining: nothing is accepted any more.
        """
        self._service.want_open()
        row = await self._profiles.want_learned(account, profile)
        pair = await self._pairs.next(account, row)
        left, right = pictures_of(pair)
        log = await self._logs.of(account)
        return Pair(
            pair=pair.pair,
            left=left,
            right=right,
            profile=id_of(row),
            events=log.count(id_of(row), self._features.model),
            needed=self._context.options.taste_unlock,
        )

    async def rank(self, account: str, pair: str, choice: str) -> Taught:
        """Answer a pair. The same answer again changes nothing.

        Args:
            account: that was given the pair.
            pair: its id.
            choice: "left", "right" or "skip", which is kept and teaches nothing.

        Raises:
            TasteRefused: no such pair was given, it has another answer, or its profile was deleted.
        """
        return await self._teaching.rank(account, pair, choice)

    async def pick(self, account: str, job: str, picked: Iterable[int], profile: str = "") -> Taught:
        """Pick the pictures of a grid that one likes; the others are weak evidence of what one does not like. Of one
        grid the last picks count.

        Args:
            account: who picks.
            job: one's own, or one that is not private.
            picked: the pictures' indices, from 0; some, and not all.
            profile: as of `next_pair`.

        Raises:
            UnknownJob: there is no such job that the account may see.
            TasteRefused: the job has no such pictures, or the profile is none that events teach.
        """
        return await self._teaching.pick(account, job, tuple(picked), profile)

    async def like(self, account: str, job: str, index: int, on: bool = True) -> Taught:
        """Like a picture, or like it no longer. One of another account teaches, weakly, the global profile of the model
        that drew it; one's own is kept as a like, and never teaches.

        Args:
            account: who likes it.
            job, index: one's own job or one that is not private, and the picture's index from 0.
            on: False: no longer.

        Raises:
            UnknownJob: there is no such job that the account may see.
            TasteRefused: the job has no such picture, or it was not liked.
        """
        return await self._teaching.like(account, job, index, on=bool(on))

    async def marked(self, account: str, *, liked: bool) -> dict[str, set[int]]:
        """Return the pictures that an account likes, or (not `liked`) has judged in any way, as jobs and indices."""
        return (await self._logs.of(account)).marked((LIKE,) if liked else EVENTS)

    # ---- the log -----------------------------------------------------------------------------------------------------

    async def events(self, account: str, profile: str = "", before: int = 0, limit: int = 50) -> tuple[TasteEvent, ...]:
        """Return events newest first, also those that do not count.

        Args:
            profile: only those of this own profile, by name or id; "": all.
            before: number of the last event of the page before; 0: the first page.
            limit: how many, at most 200.

        Raises:
            TasteRefused: there is no such profile.
        """
        of = (await self._profiles.want_own(account, profile)).profile if profile else ""
        log = await self._logs.of(account)
        return tuple(log.page(of, max(0, before), min(max(1, limit), MAX_PAGE), self._codes.pulls(log)))

    async def switch(self, account: str, event: int, on: bool) -> TasteEvent:
        """Have an event of one's own count or not, and return it. Nothing is erased. TasteRefused: there is none."""
        return await self._teaching.switch(account, whole_of(event) or 0, on=bool(on))

    async def undo(self, account: str, profile: str = "") -> TasteEvent:
        """Switch off the last event that is on, of an own profile or ("") of all, and return it. If it answered a pair,
        `next_pair` gives that one next, to be answered anew. TasteRefused: there is none."""
        return await self._teaching.undo(account, profile)

    # ---- profiles ----------------------------------------------------------------------------------------------------

    async def profiles(self, account: str) -> tuple[TasteProfile, ...]:
        """Return an account's profiles, the global one first, if there is one."""
        return tuple([await self._profiles.shown(row) for row in await self._profiles.all(account)])

    async def profile(self, account: str, id: str = "") -> TasteProfile:
        """Return an own profile by its id or name; "": the global one. TasteRefused: there is none."""
        return await self._profiles.shown(await self._profiles.want_own(account, id))

    async def new_profile(
        self,
        account: str,
        name: str,
        kind: str = PROFILE,
        pictures: Iterable[str] = (),
        styles: Iterable[Any] = (),
        public: bool = False,
    ) -> TasteProfile:
        """Make a profile. Its `left_out` names the pictures that a moodboard did not take; the rest is kept.

        Args:
            account: whose.
            name: a letter or digit, then up to 63 letters, digits, _ and -; each once an account.
            kind: "profile", which choices teach, "moodboard" or "tuner".
            pictures: of a moodboard, up to 100 SHA-256s (hex) of pictures that the account has brought, or that a job
                has which it may see.
            styles: of a tuner, numbers of styles, or (number, weight).
            public: whether other accounts may name it.

        Raises:
            TasteRefused: the name is taken or no name, there are too many, or none of the pictures can be used.
        """
        given = tuple(pictures), tuple(styles)
        return await self._logs.within(
            account, lambda: self._profiles.new(account, name, kind, *given, public=bool(public))
        )

    async def change_profile(
        self,
        account: str,
        id: str,
        name: str | None = None,
        public: bool | None = None,
        add: Iterable[Any] = (),
        remove: Iterable[Any] = (),
    ) -> TasteProfile:
        """Change an own profile, and return it.

        Args:
            account: whose.
            id: its id or name; "": the global one.
            name, public: new ones; None: as before.
            add, remove: of a moodboard, SHA-256s (hex) of pictures; of a tuner, styles as of `new_profile`.

        Raises:
            TasteRefused: there is no such profile, or as `new_profile`; nothing is changed then.
        """
        given = tuple(add), tuple(remove)
        return await self._logs.within(account, lambda: self._profiles.change(account, id, name, public, *given))

    async def delete_profile(self, account: str, id: str, codes: str = "") -> Dependants:
        """Delete an own profile, or only say what names it. The log keeps its events, and they teach nothing any more.

        Args:
            account: whose.
            id: its id or name; "": the global one, of which the next event makes a new one.
            codes: "": say what names it, and change nothing; "keep": its codes go on; "revoke": they are an error for
                everyone.

        Raises:
            TasteRefused: there is no such profile, or `codes` is something else.
        """
        if codes not in ("", KEEP, REVOKE):
            raise TasteRefused(complaint("codes", shown(codes)[:40], f"{KEEP} or {REVOKE}", "choose one of these"))

        async def work() -> Dependants:
            row = await self._profiles.want_own(account, id)
            found = await self._dependants.of(account, row)
            if not codes:
                return found
            if codes == REVOKE:
                await self._codes.revoke(await self._rows(profile=row.profile))
            gone = msgspec.structs.replace(row, deleted=True, changed_ms=self._context.now_ms())
            await self._waits.stored([Put(gone)])
            after = tuple(map(shown_code, await self._rows(profile=row.profile)))
            return msgspec.structs.replace(found, deleted=True, codes=after)

        return await self._logs.within(account, work)

    async def codes(self, account: str, profile: str = "") -> tuple[TasteCode, ...]:
        """Return the codes of an own profile, or ("") of all, also of deleted ones, newest first. Where enough events
        teach a profile, its present state has one.

        Raises:
            TasteRefused: there is no such profile.
        """
        rows = [await self._profiles.want_own(account, profile)] if profile else await self._profiles.all(account)
        log = await self._logs.of(account)
        for row in rows:
            ready = log.count(row.profile, self._features.model) >= self._context.options.taste_unlock
            if row.kind not in LEARNED or ready:
                try:
                    await self._codes.mint(row)
                except TasteRefused:  # this very state was revoked, or a moodboard's pictures are gone
                    continue
        equal = {"profile": rows[0].profile} if profile else {"account": account}
        return tuple(map(shown_code, await self._rows(**equal)))

    async def revoke(self, account: str, code: str) -> TasteCode:
        """Make naming a code of one's own an error for everyone, and return it. What was accepted before is drawn all
        the same. TasteRefused: there is no such code."""
        store = self._context.store

        async def work() -> TasteCode:
            row = await self._waits.read(lambda: store.row(TasteCodeRow, str(code)))
            if row is None or row.account != account:
                got, allowed = shown(code)[:80], "one of your own"
                raise TasteRefused(complaint("taste code", got, allowed, "see `salon profile codes`"))
            await self._codes.revoke([row])
            return shown_code(msgspec.structs.replace(row, revoked=True))

        return await self._logs.within(account, work)

    async def report(self, account: str, name: str = "") -> TasteReport:
        """Return what is known of how well an own profile works.

        Args:
            name: name, id or a code of the profile; "": the global one.

        Raises:
            TasteRefused: there is no such profile.
        """
        return await self._reports.report(account, name)

    # ---- what prompts name -------------------------------------------------------------------------------------------

    async def resolve(self, account: str, given: Iterable[Any]) -> tuple[tuple[str, float], ...]:
        """Return (code, weight) of what stands after `--p`: a profile's code is that of its present state.

        Args:
            account: who draws.
            given: names, or pairs of a name and a weight; none: the account's global profile. A name is one's own for a
                profile, an id, a code, or @ and a user with a public global profile.

        Raises:
            TasteRefused: too few events teach a profile; a name is unknown, another's private one, or a code that was
                revoked or is of another model.
        """
        return await self._codes.resolve(account, given)

    def sweep(self) -> None:
        """Forget what old jobs that were deleted had, after cleaning up."""
        self.pool.forget()

    def in_use(self) -> set[str]:
        """Return the digests of pictures that moodboards need. Called on a thread."""
        return self._profiles.in_use()

    async def _rows(self, **equal: Any) -> list[TasteCodeRow]:
        return await self._waits.read(lambda: code_rows(self._context, **equal))
