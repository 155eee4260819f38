"""Lock a folder for one server. The operating system's lock ends with the process that holds it."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from ...errors import complaint
from ...system import calling
from ..errors import StoreInUse
from .files import translate_os


class FolderLock:
    """A lock on folder/lock, held until it is closed.

    Raises:
        StoreInUse: another process holds it; the message names the process.
        StoreLost: the file cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._path = path = folder / "lock"
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise translate_os(error, str(path)) from error
        try:
            with calling("flock", path):
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._want_own_name(folder)
            with calling("write", path):
                os.ftruncate(self._file, 0)
                os.pwrite(self._file, str(os.getpid()).encode(), 0)
        except BlockingIOError as error:
            pid = os.pread(self._file, 20, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._file)
            got = f"in use by process {pid}"
            raise StoreInUse(
                complaint(f"folder {folder}", got, "one server", "stop that one, or choose another folder")
            ) from error
        except OSError as error:
            os.close(self._file)
            raise translate_os(error, str(path)) from error

    def _want_own_name(self, folder: Path) -> None:
        """Raise StoreInUse if the locked file was removed meanwhile.

        Another process may lock the next file of that name.
        """
        mine, there = os.fstat(self._file), None
        with suppress(FileNotFoundError):
            there = os.stat(self._path)
        if there is None or (mine.st_dev, mine.st_ino) != (there.st_dev, there.st_ino):
            os.close(self._file)
            got = "its lock removed just now"
            raise StoreInUse(complaint(f"folder {folder}", got, "one server", "start it again"))

    def remove(self) -> None:
        """Remove the file, while it is held. A process that has it open already finds out (`_want_own_name`)."""
        with suppress(OSError):
            self._path.unlink()

    def close(self) -> None:
        """Release the lock.

        The file stays, unless it is removed before: removing it now would race with the next process.
        """
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
