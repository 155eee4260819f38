"""Keep rows of the LoRAs that accounts have brought, for requests to refer to.

Their files lie in a folder of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from . import Table

VERSION = 1


class LoraRow(msgspec.Struct, frozen=True, kw_only=True):
    """A LoRA of an account.

    Attributes:
        account: the account that brought it.
        digest: SHA-256 (hex) of the file.
        size: bytes of the file.
        added_ms: when it was brought (UTC ms).
        used_ms: when a request last referred to it (UTC ms; it may lag by a day).
    """

    account: str
    digest: str
    size: int
    added_ms: int
    used_ms: int


TABLES = (Table("lora", LoraRow, ("account", "digest"), indices=(("digest",),)),)
STEPS: Mapping[int, Callable[[Any], None]] = {}
