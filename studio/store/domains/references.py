"""Keep rows of the pictures that accounts have brought, for requests to refer to.

Their files lie beside those of jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from . import Table

VERSION = 1


class ReferenceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A picture of an account.

    Attributes:
        account: the account that brought it; another account that knows the digest brings the picture itself.
        digest: SHA-256 (hex) of the file, as it came.
        size: bytes of the file, as it is kept: without what it said besides its pixels.
        added_ms: when it was brought (UTC ms).
        used_ms: when a request last referred to it (UTC ms; it may lag by a day).
    """

    account: str
    digest: str
    size: int
    added_ms: int
    used_ms: int


TABLES = (Table("reference", ReferenceRow, ("account", "digest"), indices=(("digest",),)),)
STEPS: Mapping[int, Callable[[Any], None]] = {}
