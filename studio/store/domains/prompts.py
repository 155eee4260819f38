"""What accounts want said in all their prompts, and prompts that stood for several jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from . import Table

VERSION = 1


class SettingsRow(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of an account.

    Attributes:
        account: whose.
        parameters: values by name, in msgpack.
        suffix: parameters as they are typed.
    """

    account: str
    parameters: bytes
    suffix: str


class BatchRow(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt that stood for several jobs.

    Attributes:
        account, key: whose it is, and the client's name for it.
        request: hash of what was submitted, to tell another request under the same key.
        jobs: ids of its jobs, in their order, with spaces between.
        made_ms: UTC ms.
    """

    account: str
    key: str
    request: bytes
    jobs: str
    made_ms: int


TABLES = (
    Table("settings", SettingsRow, ("account",)),
    Table("batch", BatchRow, ("account", "key")),
)
STEPS: Mapping[int, Callable[[Any], None]] = {}
