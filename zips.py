"""Write a zip of many pictures piece by piece, with no more than one picture of it in memory.

Pictures are stored as they are: PNG, JPEG and WebP files do not get smaller. The last file of a zip, `manifest.jsonl`,
has a line for each of the others, and one for each picture that is left out, with the reason.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import unicodedata
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, Protocol, cast

from .errors import OutputError, complaint
from .system import appear, calling, explain, flush_file, flush_folder
from .values import path_of, shown

MANIFEST: Final = "manifest.jsonl"
ENDS: Final = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
WORDS: Final = 40  # characters of a prompt in a file's name
EARLIEST_MS: Final = 315_532_800_000  # 1980, before which zips know no time
LATEST_MS: Final = 4_354_819_198_000  # 2107, after which neither


class PictureFacts(Protocol):
    """What has to be known of a picture; the records of studio and wire have it, and more."""

    @property
    def index(self) -> int: ...
    @property
    def digest(self) -> str: ...
    @property
    def media_type(self) -> str: ...


class JobFacts(Protocol):
    """What has to be known of a job; as `PictureFacts`."""

    @property
    def job(self) -> str: ...
    @property
    def prompt(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def made_ms(self) -> int: ...


class ZipPieces:
    """The pieces of a zip, one after another.

    Attributes:
        pictures: how many it has so far.
        missing: how many are left out so far.
    """

    def __init__(self) -> None:
        self.pictures = self.missing = 0
        self._out = _Pieces()
        self._zip = zipfile.ZipFile(cast("IO[bytes]", self._out), "w", zipfile.ZIP_STORED, allowZip64=True)
        self._lines: list[str] = []

    def add(self, job: JobFacts, picture: PictureFacts, data: bytes) -> bytes:
        """Add a picture's file. Return the zip's next bytes."""
        name = name_of(job, picture)
        self.pictures += 1
        self._note(file=name, job=job.job, picture=picture.index + 1, sha256=picture.digest, made_ms=job.made_ms,
                   prompt=job.prompt, seed=job.seed)  # fmt: skip
        self._put(name, data, job.made_ms)
        return self._out.take()

    def leave_out(self, job: str, reason: str, picture: int | None = None) -> None:
        """Take note of a picture (its index), or of all of a job, that the zip does not have."""
        self.missing += 1
        self._note(job=job, **({} if picture is None else {"picture": picture + 1}), missing=reason)

    def end(self) -> bytes:
        """Add the list of all. Return the zip's last bytes."""
        self._put(MANIFEST, "".join(self._lines).encode(), EARLIEST_MS)
        self._zip.close()
        return self._out.take()

    def _note(self, **fields: Any) -> None:
        self._lines.append(json.dumps(fields) + "\n")

    def _put(self, name: str, data: bytes, made_ms: int) -> None:
        moment = datetime.fromtimestamp(min(max(made_ms, EARLIEST_MS), LATEST_MS) / 1000, UTC)
        entry = zipfile.ZipInfo(name, moment.timetuple()[:6])
        entry.external_attr = 0o644 << 16
        self._zip.writestr(entry, data)


def name_of(job: JobFacts, picture: PictureFacts) -> str:
    """Return the name of a picture's file in a zip: DAY/WORDS-JOB-NUMBER.png. Days are of UTC."""
    day = datetime.fromtimestamp(min(max(job.made_ms, 0), LATEST_MS) / 1000, UTC).date()
    words = "-".join(re.findall(r"\w+", unicodedata.normalize("NFKC", job.prompt).lower()))[:WORDS].strip("-")
    stem = f"{words}-{job.job}" if words else job.job
    number = "grid" if picture.index < 0 else str(picture.index + 1)
    return f"{day}/{stem.replace(':', '_')}-{number}.{ENDS.get(picture.media_type, 'bin')}"


class _Pieces:
    """A file that can only be written to, and from which what was written is taken. As such `zipfile` knows it by its
    lack of `seek`."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        """Take bytes."""
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing: nothing waits here."""

    def take(self) -> bytes:
        """Return what was written since the last call."""
        data = b"".join(self._parts)
        self._parts.clear()
        return data


class ZipFileWriter:
    """A zip file that appears under its name when it is whole.

    Args:
        path: of the file.
        force: whether a file of that name is replaced.

    Attributes:
        size: bytes so far.

    Every method but `discard` raises OutputError, as a path that is no name of a file does.
    """

    def __init__(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        if (name := path_of(path)) is None:
            raise OutputError(complaint("zip", shown(path), "the name of a file", "correct it"))
        self._path, self._force, self.size = Path(name), force, 0
        self._temporary = self._path.parent / f".salon-{secrets.token_hex(8)}.tmp"
        self._file: BinaryIO | None = None

    def open(self) -> None:
        """Make the file, under another name beside it."""
        if os.path.lexists(self._path) and not self._force:
            raise _refusal(self._path, "a file that exists", "choose another name, or pass --force to overwrite it")
        with self._translated(), calling("open", self._path.parent):
            self._file = self._temporary.open("xb")

    def write(self, data: bytes) -> None:
        """Add bytes."""
        assert self._file is not None, "not open"
        with self._translated(), calling("write", self._path):
            self._file.write(data)
        self.size += len(data)

    def publish(self) -> None:
        """Give the file its name, once it is on disk."""
        assert self._file is not None, "not open"
        with self._translated():
            self._file.flush()
            flush_file(self._file.fileno(), self._path)
            self._file.close()
            if self._force:
                os.replace(self._temporary, self._path)
            else:
                appear(self._temporary, self._path)
            flush_folder(self._path.parent)

    def discard(self) -> None:
        """Remove what is not published. Nothing else is done."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            with contextlib.suppress(OSError):
                self._temporary.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            got, _, remedy = explain(error)
            raise _refusal(self._path, f"cannot be written ({got})", f"{remedy} (-o says where)") from error


def _refusal(path: Path, got: str, remedy: str) -> OutputError:
    return OutputError(f"output {str(path)!r}: {got}; {remedy}")
