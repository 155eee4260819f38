"""Answer the requests of conversations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from ...studio.service.chat import ChatService, Say
from ..wire import messages as m


class Chat:
    """The requests `chat.*`, each a method that returns the answer. Used on the event loop's thread.

    Args:
        service: carries them out.

    Attributes:
        acts: the method of each type of request, which takes the account and the request.
    """

    def __init__(self, service: ChatService) -> None:
        self._service = service
        self.acts: Final[dict[type[m.Record], Callable[[str, Any], Awaitable[m.Record]]]] = {
            m.ChatSay: self.say,
            m.ListChats: self.page,
            m.ShowChat: self.show,
            m.DeleteChat: self.delete,
        }

    async def say(self, account: str, request: m.ChatSay) -> m.ChatSaid:
        """Take a turn."""
        said = await self._service.say(account, msgspec.convert(request, Say, from_attributes=True))
        return msgspec.convert(said, m.ChatSaid, from_attributes=True)

    async def page(self, account: str, request: m.ListChats) -> m.Chats:
        """Return a page of conversations."""
        chats, next = await self._service.page(account, request.before, request.limit)
        shown = tuple(msgspec.convert(chat, m.Chat, from_attributes=True) for chat in chats)
        return m.Chats(chats=shown, next=next)

    async def show(self, account: str, request: m.ShowChat) -> m.ChatTurns:
        """Return a conversation with turns of it."""
        chat, turns, more = await self._service.show(account, request.chat, request.after, request.limit)
        shown = tuple(msgspec.convert(turn, m.Turn, from_attributes=True) for turn in turns)
        return m.ChatTurns(chat=msgspec.convert(chat, m.Chat, from_attributes=True), turns=shown, more=more)

    async def delete(self, account: str, request: m.DeleteChat) -> m.Done:
        """Delete a conversation."""
        await self._service.delete(account, request.chat)
        return m.Done()
