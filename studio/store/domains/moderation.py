"""What the operator's policies have blocked. No prompt and no picture is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from . import Table

VERSION = 1


class BlockRow(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that blocked. Rows are added and never changed.

    Attributes:
        number: its number, from 1.
        at_ms: when.
        account: whose request or picture it was.
        stage: one of `studio/moderation/types.py: STAGES`.
        rule: name of the rule.
        message: the sentence that the user got.
        job: whose pictures were blocked; empty in the other stages.
    """

    number: int
    at_ms: int
    account: str
    stage: str
    rule: str
    message: str
    job: str = ""


TABLES = (Table("policy_block", BlockRow, ("number",), indices=(("account",),)),)
STEPS: Mapping[int, Callable[[Any], None]] = {}
