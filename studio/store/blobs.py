"""Pictures by the sha256 of their bytes: what `Blobs` are, and those in memory."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Protocol

from ...errors import complaint
from ..errors import BlobMissing, StoreBroken

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Blob(Protocol):
    """An open picture. Reads may come from any thread; it stays readable while it is open, also when it is deleted."""

    @property
    def size(self) -> int:
        """Bytes."""

    def read(self, offset: int = 0, size: int | None = None) -> bytes:
        """Bytes from `offset` on, at most `size`; less only at the end."""

    def close(self) -> None:
        """Let go. May be repeated."""

    def __enter__(self) -> Blob: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Blobs(Protocol):
    """A place for pictures. Every method may be called in any thread.

    Whatever reads raises BlobMissing for a digest that is not there; everything raises StoreLost if the place cannot be
    reached.
    """

    def put(self, data: bytes) -> str:
        """Keep this, durably, and say its digest. One that is there already, sound, is not written again, but counts as
        put now; one that was damaged is mended. StoreFull: there is no space; nothing is left behind."""

    def get(self, digest: str) -> bytes:
        """All of it."""

    def read(self, digest: str, offset: int, size: int) -> bytes:
        """A part of it; shorter only at its end."""

    def open(self, digest: str) -> Blob:
        """To read it in parts."""

    def has(self, digest: str) -> bool:
        """Whether it is there."""

    def verify(self, digest: str) -> None:
        """Read it and compare. StoreBroken if it is damaged."""

    def delete(self, digest: str, min_age_s: float = 0.0) -> int:
        """Remove it, if it is there and its last put is that long ago: the bytes that this gave back, else 0."""

    def digests(self) -> Iterator[str]:
        """Everything that is there."""

    def total_bytes(self) -> int:
        """Sum of the sizes."""


def digest_of(data: bytes) -> str:
    """sha256, 64 lowercase hex digits."""
    return hashlib.sha256(data).hexdigest()


def is_digest(text: str) -> bool:
    """Whether it could be one: what is not must never become part of a path."""
    return _DIGEST.fullmatch(text) is not None


def missing(digest: str) -> BlobMissing:
    """The error of a digest that is not there."""
    return BlobMissing(complaint("picture", f"{digest[:80]!r}, which is not there", "stored ones", "make it again"))


def check_digest(digest: str, found: str, where: str) -> None:
    """StoreBroken unless they are the same."""
    if digest != found:
        got = f"bytes of digest {found}"
        raise StoreBroken(complaint(where, got, f"those of {digest}", "restore it from a copy, or delete the job"))


class MemoryBlob:
    """See `Blob`."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        return len(self._data)

    def read(self, offset: int = 0, size: int | None = None) -> bytes:
        return self._data[offset:] if size is None else self._data[offset : offset + size]

    def close(self) -> None:
        """Nothing to let go."""

    def __enter__(self) -> MemoryBlob:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class MemoryBlobs:
    """Blobs that end with the process, for embedding. See `Blobs`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[bytes, float]] = {}

    def put(self, data: bytes) -> str:
        digest = digest_of(data)
        with self._lock:
            self._kept[digest] = bytes(data), self._clock()
        return digest

    def get(self, digest: str) -> bytes:
        with self._lock:
            if digest not in self._kept:
                raise missing(digest)
            return self._kept[digest][0]

    def read(self, digest: str, offset: int, size: int) -> bytes:
        return self.get(digest)[offset : offset + size]

    def open(self, digest: str) -> MemoryBlob:
        return MemoryBlob(self.get(digest))

    def has(self, digest: str) -> bool:
        return digest in self._kept

    def verify(self, digest: str) -> None:
        check_digest(digest, digest_of(self.get(digest)), "picture in memory")

    def delete(self, digest: str, min_age_s: float = 0.0) -> int:
        with self._lock:
            data, put = self._kept.get(digest, (b"", 0.0))
            if digest not in self._kept or self._clock() - put < min_age_s:
                return 0
            del self._kept[digest]
            return len(data)

    def digests(self) -> Iterator[str]:
        with self._lock:
            found = list(self._kept)
        return iter(found)

    def total_bytes(self) -> int:
        with self._lock:
            return sum(len(data) for data, _ in self._kept.values())
