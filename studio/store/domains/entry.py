"""Keep rows of what lets browsers and programs in over HTTP: links, sessions and tokens, by hashes of their secrets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from . import Table

VERSION = 1


class EntryRow(msgspec.Struct, frozen=True, kw_only=True):
    """Something that lets its bearer in as an account.

    Attributes:
        hash: SHA-256 (hex) of the secret, which is kept nowhere.
        kind: "link", "session" or "token".
        account: the account.
        name: what its owner calls it; may be empty.
        made_ms: when it was made (UTC ms).
        used_ms: when it was last used (UTC ms; it may lag by an hour); 0: never.
        ends_ms: when it ends (UTC ms); 0: it does not end by itself.
    """

    hash: str
    kind: str
    account: str
    name: str
    made_ms: int
    used_ms: int
    ends_ms: int


TABLES = (Table("entry", EntryRow, ("hash",), indices=(("account",),)),)
STEPS: Mapping[int, Callable[[Any], None]] = {}
