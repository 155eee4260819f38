"""Keep the profiles of accounts: make, find, change and delete them. Used on the loop's thread."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from ...errors import complaint
from ...values import shown, text_of
from ..errors import TasteRefused
from ..store.domains.taste import TasteProfileRow
from ..store.writes import Put
from ..taste.contents import MOST_OF_ONE, packed, pictures_in, some, styles_in, styles_of
from ..taste.names import Form, checked_name, new_id, read, unknown
from ..taste.types import (
    GLOBAL,
    MOODBOARD,
    NEW_KINDS,
    PLAIN,
    PROFILE,
    TUNER,
    LeftOut,
    TasteCode,
    TasteProfile,
)
from .context import ServiceContext
from .references import ServiceReferences
from .taste_code_rows import code_rows, shown_code
from .taste_features import TasteFeatures
from .taste_logs import TasteLogs
from .waits import Waits

MOST: Final = 200  # profiles of an account
PAGE: Final = 1_000
LEARNED: Final = (GLOBAL, PROFILE)  # kinds that events teach


class TasteProfiles:
    """The profiles of all accounts.

    Args:
        context: of the service.
        waits: for the store.
        logs: of the accounts.
        features: find the style vectors of a moodboard's pictures.
        references: say which pictures an account may use.
    """

    def __init__(
        self,
        context: ServiceContext,
        waits: Waits,
        logs: TasteLogs,
        features: TasteFeatures,
        references: ServiceReferences,
    ) -> None:
        self._context, self._waits, self._logs = context, waits, logs
        self._features, self._references = features, references

    # ---- find --------------------------------------------------------------------------------------------------------

    async def all(self, account: str) -> list[TasteProfileRow]:
        """Return an account's profiles, the global one first, then in the order in which they were made."""
        rows = await self._waits.read(
            lambda: self._context.store.rows(TasteProfileRow, account=account, deleted=False, limit=PAGE)
        )
        return sorted(rows, key=lambda row: (row.kind != GLOBAL, row.made_ms, row.profile))

    async def own(self, account: str, name: str = "") -> TasteProfileRow | None:
        """Return an account's own profile by its name or id, or with "" its global one; None: it has none."""
        rows = await self.all(account)
        if not name:
            return rows[0] if rows and rows[0].kind == GLOBAL else None
        return next((row for row in rows if name in (row.profile, row.name)), None)

    async def want_own(self, account: str, name: str = "") -> TasteProfileRow:
        """Return what `own` does. Raise TasteRefused if there is none."""
        row = await self.own(account, name)
        if row is None:
            raise unknown(name) if name else nothing_yet()
        return row

    async def want_learned(self, account: str, name: str) -> TasteProfileRow | None:
        """Return the own profile that an event is to teach; None: the global one, which has no event yet. Raise
        TasteRefused for one that events do not teach, or that does not exist."""
        row = await (self.want_own(account, name) if name else self.own(account))
        if row is not None and row.kind not in LEARNED:
            got, allowed = f"{name!r}, a {row.kind}", "a profile that is learned from choices"
            raise TasteRefused(complaint("profile", got, allowed, "leave it out, or make one: salon profile new"))
        return row

    async def foreign(self, name: str, account: str) -> TasteProfileRow | None:
        """Return another's public profile by its id, or by @ and a user, whose name or account stands there.

        None: there is none. The asking account may name its own global profile so, too.
        """
        named = read(name)
        if named.form is Form.ID:
            row = await self._waits.read(lambda: self._context.store.row(TasteProfileRow, named.text))
            return row if row is not None and row.public and not row.deleted else None
        if named.form is Form.USER:
            rows = self._context.accounts.rows
            accounts = [named.text] if named.text in rows else [a for a, row in rows.items() if row.name == named.text]
            if len(accounts) == 1:
                found = await self.own(accounts[0])
                return found if found is not None and (found.public or found.account == account) else None
        return None

    def new_global(self, account: str) -> TasteProfileRow:
        """Return an account's global profile as it is with its first event, to be stored with that."""
        now = self._context.now_ms()
        return TasteProfileRow(
            profile=new_id(GLOBAL), account=account, name="", kind=GLOBAL, made_ms=now, changed_ms=now
        )

    # ---- show --------------------------------------------------------------------------------------------------------

    async def shown(self, row: TasteProfileRow, left_out: Sequence[LeftOut] = ()) -> TasteProfile:
        """Return a profile as its owner sees it."""
        events = needed = 0
        changed = row.changed_ms
        if row.kind in LEARNED:
            log = await self._logs.of(row.account)
            events, needed = log.count(row.profile, self._features.model), self._context.options.taste_unlock
            changed = max(changed, log.changed_ms(row.profile))
        codes = await self.codes(row.profile)
        plain = [code.code for code in codes if code.shows == PLAIN]
        return TasteProfile(
            profile=row.profile, account=row.account, name=row.name, kind=row.kind, public=row.public,
            made_ms=row.made_ms, changed_ms=changed, events=events, needed=needed, pictures=pictures_in(row),
            styles=styles_in(row), code=plain[0] if plain else "", left_out=tuple(left_out),
        )  # fmt: skip

    async def codes(self, profile: str) -> list[TasteCode]:
        """Return the codes of a profile, newest first."""
        rows = await self._waits.read(lambda: code_rows(self._context, profile=profile))
        return list(map(shown_code, rows))

    # ---- make, change ------------------------------------------------------------------------------------------------

    async def new(
        self,
        account: str,
        name: str,
        kind: str,
        pictures: Iterable[str] = (),
        styles: Iterable[Any] = (),
        *,
        public: bool = False,
    ) -> TasteProfile:
        """Make a profile; see `TasteService.new_profile`. Called with the account's lock held."""
        if kind not in NEW_KINDS:
            raise TasteRefused(complaint("kind", shown(kind)[:40], ", ".join(NEW_KINDS), "choose one of these"))
        name, rows = checked_name(name), await self.all(account)
        if len(rows) >= MOST:
            raise TasteRefused(complaint("profiles", f"{MOST} and one more", f"{MOST} of an account", "delete one"))
        self._want_free(rows, name)
        pictures, styles = tuple(dict.fromkeys(pictures)), tuple(styles)
        for what, given, of in (("pictures", pictures, MOODBOARD), ("styles", styles, TUNER)):
            if given and kind != of:
                got = f"{what} of a {kind}"
                raise TasteRefused(complaint(what, got, f"those of a {of}", f"leave them out, or make a {of}"))
        kept, left_out = await self._pictures(account, pictures) if kind == MOODBOARD else ((), ())
        made = styles_of(styles) if kind == TUNER else ()
        now = self._context.now_ms()
        row = TasteProfileRow(
            profile=new_id(kind), account=account, name=name, kind=kind, public=public, made_ms=now, changed_ms=now,
            pictures=packed(kept),
            styles=packed(made),
        )  # fmt: skip
        await self._waits.stored([Put(row)])
        return await self.shown(row, left_out)

    async def change(
        self,
        account: str,
        id: str,
        name: str | None = None,
        public: bool | None = None,
        add: Iterable[Any] = (),
        remove: Iterable[Any] = (),
    ) -> TasteProfile:
        """Change a profile; see `TasteService.change_profile`. Called with the account's lock held."""
        row = await self.want_own(account, id)
        changes: dict[str, Any] = {}
        left_out: Sequence[LeftOut] = ()
        if name is not None and name != row.name:
            if row.kind == GLOBAL:
                raise TasteRefused(complaint("name", shown(name), "none for the global profile", "leave it out"))
            self._want_free(await self.all(account), checked_name(name))
            changes["name"] = name
        if public is not None:
            changes["public"] = bool(public)
        add, remove = tuple(add), tuple(remove)
        if (add or remove) and row.kind in LEARNED:
            got, allowed = f"something for {row.name or 'the global profile'}", "a moodboard or a tuner"
            raise TasteRefused(complaint("add", got, allowed, "rank pictures: salon rank"))
        if row.kind == MOODBOARD and (add or remove):
            before = pictures_in(row)
            self._want_there(remove, before, "pictures")
            kept = [digest for digest in before if digest not in remove]
            fresh = [each for each in add if each not in kept]
            more, left_out = await self._pictures(account, fresh, len(kept)) if fresh else ((), ())
            changes["pictures"] = packed(some(dict.fromkeys([*kept, *more]), "pictures"))
        if row.kind == TUNER and (add or remove):
            styles = {each.number: each for each in styles_in(row)}
            numbers = [each.number for each in styles_of(remove)] if remove else []
            self._want_there(numbers, styles, "styles")
            styles |= {each.number: each for each in styles_of(add)} if add else {}
            left = [each for number, each in styles.items() if number not in numbers]
            changes["styles"] = packed(some(left, "styles"))
        if changes:
            row = msgspec.structs.replace(row, changed_ms=self._context.now_ms(), **changes)
            await self._waits.stored([Put(row)])
        return await self.shown(row, left_out)

    def in_use(self) -> set[str]:
        """Return the digests of all moodboards' pictures, which are kept for other models. Called on a thread."""
        found: set[str] = set()
        after: tuple[str, ...] = ()
        store = self._context.store
        while rows := store.rows(TasteProfileRow, after=after, kind=MOODBOARD, deleted=False, limit=PAGE):
            after = (rows[-1].profile,)
            found |= {digest for row in rows for digest in pictures_in(row)}
        return found

    async def _pictures(
        self, account: str, digests: Iterable[str], beside: int = 0
    ) -> tuple[tuple[str, ...], tuple[LeftOut, ...]]:
        """Return (those of a moodboard's pictures that it takes, the others and why). TasteRefused: none is left, or
        there are too many."""
        wanted = list(digests)
        if len(wanted) + beside > MOST_OF_ONE:
            got = f"{len(wanted) + beside}"
            raise TasteRefused(complaint("pictures", got, f"up to {MOST_OF_ONE}", "leave some out"))
        may = self._references.may_use
        texts = [text_of(digest) or "" for digest in wanted]
        allowed = await self._waits.read(lambda: [digest for digest in texts if digest and may(account, digest)])
        vectors = await self._features.vectors(allowed)
        left_out = tuple(
            LeftOut(str(digest)[:64], "it is not here: bring it first" if digest not in allowed else "it is no picture")
            for digest in texts
            if digest not in vectors
        )
        kept = tuple(digest for digest in texts if digest in vectors)
        if not kept and not beside:
            got = "; ".join(f"{each.digest[:12]}: {each.reason}" for each in left_out[:3]) or "none"
            raise TasteRefused(complaint("pictures", got, "at least one that can be read", "bring other pictures"))
        return kept, left_out

    @staticmethod
    def _want_free(rows: Iterable[TasteProfileRow], name: str) -> None:
        if any(row.name == name for row in rows):
            raise TasteRefused(complaint("name", f"{name!r} again", "a name of its own", "choose another name"))

    @staticmethod
    def _want_there(gone: Iterable[Any], there: Iterable[Any], what: str) -> None:
        known = set(there)
        if missing := [each for each in gone if each not in known]:
            got = f"{shown(missing[0])[:80]}, which is not in it"
            raise TasteRefused(complaint(what, got, "those that are", "see `salon profile show`"))


def nothing_yet() -> TasteRefused:
    """Return the error for an account without any event."""
    return TasteRefused(complaint("profile", "none of your own", "one with events", "rank pictures: salon rank"))
