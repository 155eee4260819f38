"""Keep rows of the files that accounts have named for later use, as programs list them.

Each is a picture that the account has brought, too: a row of `references`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from . import Table

VERSION = 1


class FileRow(msgspec.Struct, frozen=True, kw_only=True):
    """A file of an account.

    Attributes:
        account: whose it is.
        digest: SHA-256 (hex) of the file, which is its id.
        name: that its user gave it.
        purpose: what it is for, as its user says.
        made_ms: when it was brought (UTC ms).
    """

    account: str
    digest: str
    name: str
    purpose: str
    made_ms: int


TABLES = (Table("file", FileRow, ("account", "digest")),)
STEPS: Mapping[int, Callable[[Any], None]] = {}
