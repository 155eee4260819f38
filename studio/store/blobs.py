"""Keep pictures by the sha256 of their bytes: the protocol `Blobs`, and one kind that keeps them in memory."""

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
    """An open picture. Any thread may read it. It stays readable while it is open, also when it is deleted."""

    @property
    def size(self) -> int:
        """Size in bytes."""

    def read(self, offset: int = 0, size: int | None = None) -> bytes:
        """Return at most `size` bytes from `offset` on; less only at the end."""

    def close(self) -> None:
        """Close the picture. A second call changes nothing."""

    def __enter__(self) -> Blob: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Blobs(Protocol):
    """A place for pictures. Any thread may call any method.

    Methods that read raise BlobMissing for a digest that does not exist. All methods raise StoreLost if the place
    cannot be reached.
    """

    def put(self, data: bytes, digest: str | None = None) -> str:
        """Keep a picture durably, and return its digest.

        A sound picture that exists already is not written again, but counts as put now; a damaged one is mended.

        Args:
            data: its bytes.
            digest: that it is kept by; None: its own.

        Raises:
            StoreFull: there is no space. Nothing is left behind.
        """

    def get(self, digest: str) -> bytes:
        """Return all bytes of a picture."""

    def read(self, digest: str, offset: int, size: int) -> bytes:
        """Return a part of a picture; shorter than asked only at its end."""

    def open(self, digest: str) -> Blob:
        """Open a picture, to read it in parts."""

    def has(self, digest: str) -> bool:
        """Return whether a picture exists."""

    def verify(self, digest: str) -> None:
        """Read a picture and compare it with its digest. Raise StoreBroken if it is damaged."""

    def delete(self, digest: str, min_age_s: float = 0.0) -> int:
        """Delete a picture, if it exists and its last put is `min_age_s` ago.

        Return the bytes that this freed, else 0.
        """

    def digests(self) -> Iterator[str]:
        """Yield the digests of all pictures."""

    def total_bytes(self) -> int:
        """Return the sum of the sizes."""


def digest_of(data: bytes) -> str:
    """Return the sha256 of bytes as 64 lowercase hex digits."""
    return hashlib.sha256(data).hexdigest()


def is_digest(text: str) -> bool:
    """Return whether a text has the form of a digest. Other texts must never become part of a path."""
    return _DIGEST.fullmatch(text) is not None


def missing(digest: str) -> BlobMissing:
    """Return the error for a digest that does not exist."""
    return BlobMissing(complaint("picture", f"{digest[:80]!r}, which is not there", "stored ones", "make it again"))


def check_digest(digest: str, found: str, where: str) -> None:
    """Raise StoreBroken unless bytes have the digest."""
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
        """Do nothing, since there is nothing to close."""

    def __enter__(self) -> MemoryBlob:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class MemoryBlobs:
    """A `Blobs` that ends with the process, for embedding."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[bytes, float]] = {}

    def put(self, data: bytes, digest: str | None = None) -> str:
        digest = digest_of(data) if digest is None else digest
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
