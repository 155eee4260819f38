"""Define the base of all messages."""

# mypy: disable-error-code="misc"
# (msgspec inherits `frozen`; the checker wants it said again in every record)

from __future__ import annotations

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """Base of all messages."""
