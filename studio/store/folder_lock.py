"""One server for one folder: a lock of the operating system, which ends with the process that holds it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from ...errors import complaint
from ...system import calling
from ..errors import StoreInUse
from .files import translate_os


class FolderLock:
    """Holds folder/lock until it is closed.

    Raises:
        StoreInUse: somebody has it; names the process.
        StoreLost: the file cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / "lock"
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise translate_os(error, str(path)) from error
        try:
            with calling("flock", path):
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
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

    def close(self) -> None:
        """Let go. The file stays: to remove it would race with who opens it next."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
