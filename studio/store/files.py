"""Translate errors of the system into errors of the store."""

from __future__ import annotations

from ...errors import complaint
from ...system import explain, is_full
from ..errors import StoreError, StoreFull, StoreLost


def translate_os(error: OSError, where: str) -> StoreError:
    """Return StoreFull or StoreLost for an error of the system. `where` names the file or folder."""
    kind = StoreFull if is_full(error) else StoreLost
    return kind(complaint(f"store {where}", *explain(error)))
