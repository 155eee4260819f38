"""Keep conversations: what a user said, and what it made of a prompt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from . import Table

VERSION = 1


class ChatRow(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation.

    Attributes:
        account, chat: whose it is, and its number there, from 1.
        title: the first that was said.
        prompt: of the last turn.
        turns: how many it has.
        made_ms, changed_ms: UTC ms.
    """

    account: str
    chat: int
    title: str
    prompt: str
    turns: int
    made_ms: int
    changed_ms: int


class TurnRow(msgspec.Struct, frozen=True, kw_only=True):
    """A turn of a conversation.

    Attributes:
        account, chat, number: of which conversation, and its number there, from 1.
        key: the client's name for it, and for its job.
        behind: number of the turn that it goes on from; 0: of none.
        text: what the user said.
        prompt: what is drawn, as a prompt of the language.
        by: "rules", "model" or "user".
        note: what was not understood, or why the rules answered; lines.
        source: the picture that is varied, as the caller packs it; empty: none is.
        private: whether its job is.
        job: id of its job; empty: it was not accepted yet.
        seed: that its job has.
    """

    account: str
    chat: int
    number: int
    key: str
    at_ms: int
    behind: int
    text: str
    prompt: str
    by: str
    note: str
    source: str
    private: bool
    job: str = ""
    seed: int = 0


TABLES = (
    Table("chat", ChatRow, ("account", "chat")),
    Table("chat_turn", TurnRow, ("account", "chat", "number"), indices=(("account", "key"),)),
)
STEPS: Mapping[int, Callable[[Any], None]] = {}
