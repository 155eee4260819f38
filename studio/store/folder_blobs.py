"""Keep pictures in a folder: FOLDER/ab/cdef..., named by their sha256, each of them there whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

from ...system import calling, flush_file, flush_folder, make_folder
from .blobs import check_digest, digest_of, is_digest, missing
from .files import translate_os

TEMPORARY: Final = "tmp"
_PART: Final = 1 << 20


class FileBlob:
    """A `Blob` in a file, which stays readable while it is open, also when its name is removed."""

    def __init__(self, file: int, path: Path) -> None:
        self._file, self._path = file, path
        self._size = os.fstat(file).st_size

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int = 0, size: int | None = None) -> bytes:
        assert self._file >= 0, "closed"
        left = max(0, self._size - offset) if size is None else size
        parts = []
        try:
            while left > 0 and (part := os.pread(self._file, left, offset)):
                parts.append(part)
                left -= len(part)
                offset += len(part)
        except OSError as error:
            raise translate_os(error, str(self._path)) from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def __enter__(self) -> FileBlob:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class FolderBlobs:
    """A `Blobs` in a folder, which one process at a time uses.

    Opening it removes half-written files of an earlier process.

    Args:
        folder: the folder; it is made if it does not exist.
        clock: returns seconds since 1970, as the file system counts them; it tells how old a blob is.

    Raises:
        StoreFull, StoreLost: the folder cannot be made.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._clock = folder, clock
        self._lock = threading.Lock()  # so that no put comes between a look at a blob's age and its deletion
        self._total: int | None = None
        with self._faults(folder):
            make_folder(folder / TEMPORARY, 0o700)
            for leftover in (folder / TEMPORARY).iterdir():
                leftover.unlink()
            flush_folder(folder)

    def put(self, data: bytes, digest: str | None = None) -> str:
        digest = digest_of(data) if digest is None else digest
        path = self._path(digest)
        with self._faults(path):
            with self._lock:
                there = self._size(path) == len(data)
                if there:
                    os.utime(path, (self._clock(), self._clock()))
            if not (there and self._same(path, data)):
                self._write(path, data)
            flush_folder(path.parent)  # also if it exists: another thread may just have made it
        return digest

    def get(self, digest: str) -> bytes:
        with self.open(digest) as blob:
            return blob.read()

    def read(self, digest: str, offset: int, size: int) -> bytes:
        with self.open(digest) as blob:
            return blob.read(offset, size)

    def open(self, digest: str) -> FileBlob:
        path = self._path(digest)
        with self._faults(path):
            try:
                return FileBlob(os.open(path, os.O_RDONLY | os.O_CLOEXEC), path)
            except FileNotFoundError as error:
                raise missing(digest) from error

    def has(self, digest: str) -> bool:
        return is_digest(digest) and self._path(digest).is_file()

    def verify(self, digest: str) -> None:
        found, offset = hashlib.sha256(), 0
        with self.open(digest) as blob:
            while part := blob.read(offset, _PART):
                found.update(part)
                offset += len(part)
        check_digest(digest, found.hexdigest(), f"picture {self._path(digest)}")

    def delete(self, digest: str, min_age_s: float = 0.0) -> int:
        if not is_digest(digest):
            return 0
        path = self._path(digest)
        with self._faults(path), self._lock:
            try:
                state = path.stat()
                if min_age_s and self._clock() - state.st_mtime < min_age_s:
                    return 0
                path.unlink()
            except FileNotFoundError:
                return 0
            if self._total is not None:
                self._total -= state.st_size
            return state.st_size

    def digests(self) -> Iterator[str]:
        for shelf in self._shelves():
            with self._faults(shelf):
                names = sorted(os.listdir(shelf))
            yield from (shelf.name + name for name in names if is_digest(shelf.name + name))

    def total_bytes(self) -> int:
        """Return the sum of the sizes. The first call looks at every file; from then on the sum is kept up to date."""
        with self._lock:
            if self._total is None:
                self._total = sum(self._size(self._path(digest)) or 0 for digest in self.digests())
            return self._total

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _path(self, digest: str) -> Path:
        if not is_digest(digest):
            raise missing(digest)
        return self._folder / digest[:2] / digest[2:]

    def _shelves(self) -> list[Path]:
        with self._faults(self._folder):
            return sorted(path for path in self._folder.iterdir() if len(path.name) == 2)

    @staticmethod
    def _size(path: Path) -> int | None:
        try:
            return path.stat().st_size
        except FileNotFoundError:
            return None

    @staticmethod
    def _same(path: Path, data: bytes) -> bool:
        """Return whether a file of the right size has the right bytes, too. A file that cannot be read has not."""
        try:
            with open(path, "rb") as file:
                return all(file.read(_PART) == data[start : start + _PART] for start in range(0, len(data), _PART))
        except OSError:
            return False

    def _write(self, path: Path, data: bytes) -> None:
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            flush_folder(self._folder)
        half = self._folder / TEMPORARY / secrets.token_hex(16)
        try:
            file = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                left = memoryview(data)
                with calling("write", half):
                    while left:
                        left = left[os.write(file, left) :]
                os.utime(file, (self._clock(), self._clock()))
                flush_file(file, half)
            finally:
                os.close(file)
            with self._lock:
                more = len(data) - (self._size(path) or 0)
                half.replace(path)
                if self._total is not None:
                    self._total += more
        except BaseException:
            half.unlink(missing_ok=True)
            raise

    @staticmethod
    @contextlib.contextmanager
    def _faults(path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise translate_os(error, str(path)) from error
