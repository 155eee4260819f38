"""Undo a first start that fails: no folder, key or database stays that did not exist before."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

from ...studio.errors import StoreError
from ...studio.store.folder_lock import FolderLock

FILES: Final = ("salon.db", "salon.db-wal", "salon.db-shm", "server.key")
FOLDERS: Final = ("pictures/tmp", "pictures", "references/tmp", "references")


class FirstStart:
    """Removes, on an error, the files that were made since. A context manager.

    It touches nothing that existed before, no folder that has something in it, and nothing while another server has the
    data folder.

    Args:
        data: the server's folder.
        others: further files that the start may make, like the key of the user who starts it.
    """

    def __init__(self, data: Path, others: Sequence[Path] = ()) -> None:
        self._data = data
        self._lock = not (data / "lock").exists()
        self._files = [path for path in (*(data / name for name in FILES), *others) if not path.exists()]
        places = [*(data / name for name in FOLDERS), data, *data.parents]
        for other in others:
            places += other.parents
        self._folders = [path for path in dict.fromkeys(places) if not path.exists()]
        self._over = False

    def done(self) -> None:
        """Take note that the start has succeeded, so that everything stays."""
        self._over = True

    def __enter__(self) -> FirstStart:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or self._over:
            return
        lock = None
        if self._data.is_dir():
            try:
                lock = FolderLock(self._data)
            except StoreError:  # another server has the folder now, or we may not write to it
                return
        for path in self._files:
            with suppress(OSError):
                path.unlink()
        if lock is not None:
            if self._lock:
                lock.remove()
            lock.close()
        for path in sorted(self._folders, key=lambda path: -len(path.parts)):
            with suppress(OSError):  # for example, another program has put something into it
                path.rmdir()
