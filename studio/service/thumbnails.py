"""Keep small WebP files of pictures beside them. They are made once, when their picture is stored or else when one is
first asked for, and go with it."""

from __future__ import annotations

import io
import secrets
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ...errors import complaint
from ...system import make_folder
from ..store.blobs import is_digest
from .errors import WrongValue

if TYPE_CHECKING:
    from ..store.blobs import Blobs

SIDES: Final = (256, 512)  # pixels of the longer side
QUALITY: Final = 82
HALF: Final = ".part"  # behind the name of a file that is not whole
HALF_S: Final = 3600.0  # after which such a file is what a crash has left


class Thumbnails:
    """Small files in FOLDER/ab/cdef... by the digest of their pictures. Safe to use from any thread.

    Args:
        folder: is made when there is something to keep.
        blobs: has the pictures.
    """

    def __init__(self, folder: Path, blobs: Blobs) -> None:
        self._folder, self._blobs = folder, blobs
        self._lock = threading.Lock()
        self._making: Counter[str] = Counter()
        self._gone: set[str] = set()  # digests of pictures that were deleted while theirs was made

    def kept(self, digest: str, side: int) -> bytes | None:
        """Return the WebP file of a picture, `side` pixels at its longer side; None: it is not made yet.

        Raises:
            WrongValue: it is no side of `SIDES`.
        """
        if side not in SIDES:
            raise WrongValue(complaint("side", str(side), " or ".join(map(str, SIDES)), "choose one"))
        try:
            return self._path(digest, side).read_bytes()
        except OSError:
            return None

    def make(self, digest: str, side: int) -> bytes:
        """Return the WebP file of a picture, which is made and kept; a picture that is smaller keeps its size.

        Raises:
            BlobMissing: there is no such picture.
        """
        with self._lock:
            self._making[digest] += 1
        try:
            made = _made_of(self._blobs.get(digest))
            for each, data in made.items():
                with suppress(OSError):  # a full disk: then it is made again
                    self._keep(self._path(digest, each), data)
            return made[side]
        finally:
            with self._lock:
                if digest in self._gone:
                    self._unlink(digest)
                self._making[digest] -= 1
                if not self._making[digest]:
                    del self._making[digest]
                    self._gone.discard(digest)

    def make_once(self, digest: str) -> None:
        """Make and keep those of a picture that has none yet. BlobMissing: there is no such picture."""
        if not all(self._path(digest, side).exists() for side in SIDES):
            self.make(digest, SIDES[0])

    def remove(self, digest: str) -> None:
        """Remove those of a picture that is deleted."""
        with self._lock:
            if digest in self._making:
                self._gone.add(digest)
            self._unlink(digest)

    def sweep(self) -> int:
        """Remove those whose pictures are gone, and what a crash left half-written. Return their number."""
        count, before = 0, time.time() - HALF_S
        for path in list(self._folder.glob("*/*")) if self._folder.is_dir() else []:
            digest = path.parent.name + path.name.partition(".")[0]
            with suppress(OSError):
                left = path.suffix == HALF and path.stat().st_mtime < before
                if left or not is_digest(digest) or not self._blobs.has(digest):
                    path.unlink()
                    count += 1
        return count

    def _path(self, digest: str, side: int) -> Path:
        assert is_digest(digest), "else it must never become part of a path"
        return self._folder / digest[:2] / f"{digest[2:]}.{side}.webp"

    def _keep(self, path: Path, data: bytes) -> None:
        """Write a file that is there whole or not at all; it need not outlast a crash of the machine."""
        half = path.with_name(f"{path.name}.{secrets.token_hex(4)}{HALF}")
        make_folder(path.parent, 0o700)
        try:
            half.write_bytes(data)
            half.replace(path)
        except OSError:
            half.unlink(missing_ok=True)
            raise

    def _unlink(self, digest: str) -> None:
        for side in SIDES:
            with suppress(OSError):
                self._path(digest, side).unlink(missing_ok=True)


def _made_of(png: bytes) -> dict[int, bytes]:
    """Return side -> WebP of a picture of ours."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as opened:
        image = opened.convert("RGB")
    made = {}
    for side in sorted(SIDES, reverse=True):
        image.thumbnail((side, side), Image.Resampling.LANCZOS)  # the smaller one from the larger
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", quality=QUALITY, method=3)
        made[side] = buffer.getvalue()
    return made
