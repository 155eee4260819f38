"""Files and folders: what the system complains about, and what is flushed."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from ...errors import complaint
from ..errors import StoreError, StoreFull, StoreLost

_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def translate_os(error: OSError, where: str) -> StoreError:
    """StoreFull or StoreLost; `where` names the file or folder."""
    got = error.strerror or str(error)
    if error.errno in _NO_SPACE:
        return StoreFull(complaint(f"store {where}", got, "space on disk", "make room, and try again"))
    allowed = "a folder that this user can write to"
    return StoreLost(complaint(f"store {where}", got, allowed, "look after it, and try again"))


def sync(path: Path) -> None:
    """Flush a file or a folder to disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
