"""Answer the requests about what an account likes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import msgspec

from ...bounds import MAX_PAGE
from ...studio.service.taste import TasteService
from ...studio.taste.types import StyleWeight
from ..wire import messages as m

R = TypeVar("R", bound=msgspec.Struct)


class Taste:
    """The requests `taste.*`, each a method that returns the answer. Used on the event loop's thread.

    Args:
        service: carries them out.

    Attributes:
        acts: the method of each type of request, which takes the account and the request.
    """

    def __init__(self, service: TasteService) -> None:
        self._service = service
        self.acts: Final[dict[type[m.Record], Callable[[str, Any], Awaitable[m.Record]]]] = {
            m.TasteNext: self.next,
            m.TasteRank: self.rank,
            m.TastePick: self.pick,
            m.TasteLike: self.like,
            m.ListTasteEvents: self.events,
            m.TasteSwitch: self.switch,
            m.TasteUndo: self.undo,
            m.ListTasteProfiles: self.profiles,
            m.NewTasteProfile: self.new,
            m.ChangeTasteProfile: self.change,
            m.DeleteTasteProfile: self.delete,
            m.ListTasteCodes: self.codes,
            m.TasteRevoke: self.revoke,
            m.GetTasteReport: self.report,
        }

    async def next(self, account: str, request: m.TasteNext) -> m.TastePair:
        """Return two pictures to choose between."""
        return view(await self._service.next_pair(account, request.profile), m.TastePair)

    async def rank(self, account: str, request: m.TasteRank) -> m.TasteTaught:
        """Take the answer to a pair."""
        return view(await self._service.rank(account, request.pair, request.choice), m.TasteTaught)

    async def pick(self, account: str, request: m.TastePick) -> m.TasteTaught:
        """Take the picked pictures of a job."""
        taught = await self._service.pick(account, request.job, request.picked, request.profile)
        return view(taught, m.TasteTaught)

    async def like(self, account: str, request: m.TasteLike) -> m.TasteTaught:
        """Take a like, or take one back."""
        return view(await self._service.like(account, request.job, request.index, request.on), m.TasteTaught)

    async def events(self, account: str, request: m.ListTasteEvents) -> m.TasteEvents:
        """Return a page of the log."""
        found = await self._service.events(account, request.profile, request.before, min(MAX_PAGE, request.limit + 1))
        events = tuple(view(event, m.TasteEvent) for event in found[: request.limit])
        more = len(found) > request.limit or len(found) == MAX_PAGE  # the largest page leaves it open
        return m.TasteEvents(events=events, next=events[-1].event if more else 0)

    async def switch(self, account: str, request: m.TasteSwitch) -> m.TasteEvent:
        """Switch an event off, or on."""
        return view(await self._service.switch(account, request.event, request.on), m.TasteEvent)

    async def undo(self, account: str, request: m.TasteUndo) -> m.TasteEvent:
        """Switch the last event off."""
        return view(await self._service.undo(account, request.profile), m.TasteEvent)

    async def profiles(self, account: str, request: m.ListTasteProfiles) -> m.TasteProfiles:
        """Return all profiles, or the one that is asked for."""
        if request.profile:
            found = [await self._service.profile(account, request.profile)]
        else:
            found = list(await self._service.profiles(account))
        return m.TasteProfiles(profiles=tuple(view(one, m.TasteProfile) for one in found))

    async def new(self, account: str, request: m.NewTasteProfile) -> m.TasteProfile:
        """Make a profile."""
        styles = tuple(StyleWeight(style.number, style.weight) for style in request.styles)
        made = await self._service.new_profile(
            account, request.name, request.kind, pictures=request.pictures, styles=styles, public=request.public
        )
        return view(made, m.TasteProfile)

    async def change(self, account: str, request: m.ChangeTasteProfile) -> m.TasteProfile:
        """Change a profile."""
        changed = await self._service.change_profile(
            account,
            request.profile,
            name=request.name,
            public=request.public,
            add=request.add,
            remove=request.remove,
        )
        return view(changed, m.TasteProfile)

    async def delete(self, account: str, request: m.DeleteTasteProfile) -> m.TasteDependants:
        """Delete a profile, or say what names it."""
        return view(await self._service.delete_profile(account, request.profile, request.codes), m.TasteDependants)

    async def codes(self, account: str, request: m.ListTasteCodes) -> m.TasteCodes:
        """Return codes."""
        found = await self._service.codes(account, request.profile)
        return m.TasteCodes(codes=tuple(view(code, m.TasteCode) for code in found))

    async def revoke(self, account: str, request: m.TasteRevoke) -> m.Done:
        """Revoke a code."""
        await self._service.revoke(account, request.code)
        return m.Done()

    async def report(self, account: str, request: m.GetTasteReport) -> m.TasteReport:
        """Return how well a profile works."""
        return view(await self._service.report(account, request.profile), m.TasteReport)


def view(record: Any, kind: type[R]) -> R:
    """Return the wire's form of a record, whose fields of the same name mean the same."""
    return msgspec.convert(record, kind, from_attributes=True)
