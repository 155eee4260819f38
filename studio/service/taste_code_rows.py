"""Read the rows of codes, and show them."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..store.domains.taste import TasteCodeRow
from ..taste.types import TasteCode
from .context import ServiceContext

PAGE: Final = 1_000


def code_rows(context: ServiceContext, **equal: Any) -> list[TasteCodeRow]:
    """Return the rows of codes with these values, newest first. Called on a thread."""
    found: list[TasteCodeRow] = []
    while rows := context.store.rows(TasteCodeRow, after=(found[-1].code,) if found else (), limit=PAGE, **equal):
        found += rows
    return sorted(found, key=lambda row: (-row.made_ms, -row.last_event, row.code))


def shown_code(row: TasteCodeRow) -> TasteCode:
    """Return a code with all that it is labelled with."""
    names = set(TasteCode.__struct_fields__)
    return TasteCode(**{name: value for name, value in msgspec.structs.asdict(row).items() if name in names})
