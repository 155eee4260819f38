"""A disk of a few megabytes, to be filled: a file system in memory, mounted for a while."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

BALLAST: Final = "ballast"
_PART: Final = 4096


class Disk:
    """A mounted disk. `folder` is its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, left: int = 0) -> None:
        """Take all space but about `left` bytes."""
        with open(self.folder / BALLAST, "ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(_PART))
        if left:
            os.truncate(self.folder / BALLAST, max(0, (self.folder / BALLAST).stat().st_size - left))

    def free(self) -> None:
        """Free the space again."""
        (self.folder / BALLAST).unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, size: str = "8m") -> Iterator[Disk | None]:
    """Mount a disk of this size at a folder, which is made; None if this user may not mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "none", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=20, check=False)
    except OSError:
        yield None
        return
    if done.returncode != 0:
        yield None
        return
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], timeout=20, check=False)
