"""Define what is said about getting in over HTTP: links for browsers, tokens for programs (feature `entry`)."""

# mypy: disable-error-code="misc"
# (msgspec inherits `frozen`; the checker wants it said again in every record)

from __future__ import annotations

from typing import TypeAlias

import msgspec

from .record import Record

# ---- parts ---------------------------------------------------------------------------------------------------------


class EntryInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A link, a session of a browser, or a token of a program, that lets in as an account.

    Attributes:
        id: 12 hex digits, which tell nothing of its secret.
        kind: link, session or token.
        ends_ms: 0: it does not end by itself.
    """

    id: str
    kind: str
    name: str = ""
    made_ms: int = 0
    used_ms: int = 0
    ends_ms: int = 0


# ---- from the client -----------------------------------------------------------------------------------------------


class NewLink(Record, tag="entry.link"):
    """Make a link that lets a browser in, once, within 15 minutes. Answer: EntryMade.

    Operators may name another `account`, or give with `new` the name of an account to open, without a key.
    """

    account: str = ""
    new: str = ""


class NewToken(Record, tag="entry.token"):
    """Make a token that lets programs in over HTTP until it is ended. Answer: EntryMade. `name`: for people."""

    name: str = ""


class ListEntries(Record, tag="entry.list"):
    """Ask what lets in as the own account. Answer: Entries."""


class EndEntry(Record, tag="entry.end"):
    """End a link, session or token, which then lets in no more. Answer: Done. `id` is that of its EntryInfo."""

    id: str


EntryRequest: TypeAlias = NewLink | NewToken | ListEntries | EndEntry


# ---- from the server -----------------------------------------------------------------------------------------------


class EntryMade(Record, tag="entry.made"):
    """What was made. `secret` is told this once. `url`: of a link, what to open; of a token, where programs ask. On a
    server without keys, where everybody gets in, `secret` is empty and `entry` is none."""

    url: str
    secret: str = ""
    entry: EntryInfo | None = None


class Entries(Record, tag="entries"):
    """What lets in as an account, the newest first."""

    entries: tuple[EntryInfo, ...]


EntryReply: TypeAlias = EntryMade | Entries
