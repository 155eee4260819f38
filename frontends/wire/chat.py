"""Define the messages of conversations about pictures (feature "chat").

They are a part of `messages.py`, which has them all. Fields mean what those of the same name of
`studio/service/chat.py` mean. Times are UTC ms.
"""

# mypy: disable-error-code="misc"
# (msgspec inherits `frozen`; the checker wants it said again in every record)

from __future__ import annotations

import msgspec

from ...parameters.job_request import Source
from .record import Record

# ---- parts ---------------------------------------------------------------------------------------------------------


class Turn(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A turn of a conversation.

    Attributes:
        number: of the turn, from 1; 0: it was not run.
        behind: number of the turn that it goes on from; 0: of none.
        text: what the user said.
        prompt: what is drawn, a prompt of the language.
        by: rules, model or user: what wrote the prompt.
        notes: what was not understood, or why rules answered, one sentence each.
        source: the picture that is varied; nil: it is drawn anew.
        job: id of its job; empty: there is none yet.
    """

    number: int
    at_ms: int = 0
    behind: int = 0
    text: str = ""
    prompt: str = ""
    by: str = "rules"
    notes: tuple[str, ...] = ()
    source: Source | None = None
    job: str = ""


class Chat(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A conversation. `title`: the first that was said; `prompt`: of its last turn; `turns`: how many it has."""

    chat: int
    title: str = ""
    prompt: str = ""
    turns: int = 0
    made_ms: int = 0
    changed_ms: int = 0


# ---- from the client -----------------------------------------------------------------------------------------------


class ChatSay(Record, tag="chat.say"):
    """Take a turn: what is said rewrites the prompt of the turn before, and a job of it is run. Answer: ChatSaid.

    Attributes:
        key: the client's name for the turn and its job; the same key again is the same turn.
        text: what is said; of the first turn a prompt of the language.
        chat: number of the conversation; 0: a new one.
        turn: number of the turn that it goes on from; 0: the last.
        prompt: what the user wants drawn, in place of what would be written.
        job: of a new conversation, the job whose prompt it begins with.
        private: others see nothing of the job.
        rules: a language model is not asked.
        run: False: tell what would be drawn, and keep nothing.
        preview_every: solver steps between previews; 0: none.
    """

    key: str
    text: str = ""
    chat: int = 0
    turn: int = 0
    prompt: str | None = None
    job: str = ""
    private: bool = False
    rules: bool = False
    run: bool = True
    preview_every: int = 0


class ListChats(Record, tag="chat.list"):
    """Ask for conversations, the latest first. Answer: Chats. `before`: `next` of the page before."""

    before: int = 0
    limit: int = 50


class ShowChat(Record, tag="chat.show"):
    """Ask for the turns of a conversation behind number `after`. Answer: ChatTurns."""

    chat: int
    after: int = 0
    limit: int = 50


class DeleteChat(Record, tag="chat.delete"):
    """Delete a conversation; its jobs and pictures stay. Answer: Done."""

    chat: int


# ---- from the server -----------------------------------------------------------------------------------------------


class ChatSaid(Record, tag="chat.said"):
    """The turn is on disk, and its job is accepted. `existing`: it was there already, under this key."""

    chat: int
    turn: Turn
    existing: bool = False


class Chats(Record, tag="chats"):
    """A page of conversations. `next` is for `ListChats.before`; 0: there are no more."""

    chats: tuple[Chat, ...]
    next: int = 0


class ChatTurns(Record, tag="chat.turns"):
    """A conversation and turns of it. `more`: there are turns behind the last of these."""

    chat: Chat
    turns: tuple[Turn, ...]
    more: bool = False


ChatRequest = ChatSay | ListChats | ShowChat | DeleteChat
ChatReply = ChatSaid | Chats | ChatTurns
