"""Find the LoRAs that requests refer to: those in the operator's folder, by name, and those that accounts have brought.

A file that is brought is written to disk part by part, checked, and kept by its digest until nothing needs it. Files of
the operator's folder stay where they are. Used on the loop's thread, except what says so.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from ...bounds import DIGEST, LORA_NAME, MAX_LORA_BYTES
from ...engine.errors import CheckpointError, SpecError, UnreadableFile
from ...errors import complaint
from ...system import explain, flush_file, flush_folder, make_folder
from ..errors import ReferenceRefused
from ..loras import digest_of_file
from ..moderation.types import PolicyRequest
from ..store.domains.loras import LoraRow
from ..store.files import translate_os
from ..store.writes import Put, Remove, Write
from .context import ServiceContext
from .errors import TooMany, WrongValue
from .moderation import Moderator, lora_request
from .waits import Waits

LOG = logging.getLogger("salon.service")

SUFFIX: Final = ".safetensors"
PARTS: Final = "parts"  # folder of files that are not whole
PATIENCE_S: Final = 60.0  # the longest wait for the next part
OPEN: Final = 2  # files that an account may be bringing at a time
ALL: Final = 8  # that everybody together may be bringing
KEPT_BYTES: Final = 4 * 2**30  # of an account's files; beyond, the least recently used are dropped
KEEP_MS: Final = 30 * 86_400_000  # how long a file is kept after its last use
DAY_MS: Final = 86_400_000
PAGE: Final = 200
PIECE: Final = 1 << 20  # bytes that are read at once
BRING: Final = "bring the file again (salon imagine does, given its file, and so does client.add_lora)"


@dataclass
class _Part:
    """A file that is not whole: where it is, how many bytes it will have and has."""

    path: Path
    size: int
    at: float
    received: int = 0


class ServiceLoras:
    """The LoRAs of the operator and of accounts.

    Args:
        context: an open context.
        waits: waits for reads and writes.
        moderator: asks policies about what is brought.
    """

    def __init__(self, context: ServiceContext, waits: Waits, moderator: Moderator) -> None:
        self._context = context
        self._waits, self._moderator = waits, moderator
        self._folder = Path(context.options.data) / "loras"
        self._parts: dict[tuple[str, str], _Part] = {}
        self._whole: list[str] = []  # accounts of parts that are whole, and are being checked
        self._digests: dict[Path, tuple[int, int, str]] = {}  # of the operator's files: size, time in ns, digest
        with _faults(self._folder):
            for leftover in (self._folder / PARTS).glob("*"):
                leftover.unlink()

    # ---- the operator's folder -------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Return the names of the LoRAs in the operator's folder. On any thread."""
        try:
            return self._names()
        except OSError:
            LOG.exception("the folder of LoRAs cannot be read")
            return []

    def _names(self) -> list[str]:
        folder = self._context.options.loras
        if folder is None:
            return []
        found = [path.name.removesuffix(SUFFIX) for path in Path(folder).iterdir() if path.suffix == SUFFIX]
        return sorted(name for name in found if re.fullmatch(LORA_NAME, name))

    async def resolve(self, given: Any) -> tuple[tuple[str, float], ...]:
        """Return LoRAs of a request (`parameters.loras`) with digests in place of names.

        Raises:
            SpecError: the operator has none of a name.
            ReferenceRefused: the file of a name is no LoRA for the model.
        """
        pairs = [each if isinstance(each, tuple | list) else (each, 1.0) for each in given]
        found = []
        for source, weight in pairs:
            known = re.fullmatch(DIGEST, str(source)) is not None
            found.append((source if known else await self._waits.read(partial(self._named, source)), weight))
        return tuple(found)

    def _named(self, name: str) -> str:
        """Return the digest of a name. On a thread."""
        try:
            names = self._names()
        except OSError as error:
            got = f"{name!r}, and the server's folder of them cannot be read ({explain(error).got})"
            raise SpecError(complaint("LoRA", got[:300], "one that is there", "tell the operator")) from error
        if name not in names:
            none = f"none ({'it has no folder' if self._context.options.loras is None else 'its folder has none'})"
            shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "") if names else none
            raise SpecError(complaint("LoRA", repr(name)[:100], f"one of this server: {shown}", "bring its file"))
        assert self._context.options.loras is not None, "names without a folder"
        path = Path(self._context.options.loras) / f"{name}{SUFFIX}"
        try:
            digest = self._digest(path)
            self._context.studio.loras.rules.open(path)
        except CheckpointError as error:
            raise ReferenceRefused(str(error).replace(str(path), f"LoRA {name!r}")) from error
        self._context.studio.loras.put(digest, path)
        return digest

    def _digest(self, path: Path) -> str:
        """Return the digest of an operator's file, which is read again only where it was changed."""
        try:
            state = path.stat()
        except OSError as error:
            raise UnreadableFile(f"cannot be read ({error.strerror})", path=path) from error
        known = self._digests.get(path)
        if known is None or known[:2] != (state.st_size, state.st_mtime_ns):
            known = self._digests[path] = (state.st_size, state.st_mtime_ns, digest_of_file(path))
        return known[2]

    # ---- what accounts bring ---------------------------------------------------------------------------------------

    async def upload(self, account: str, digest: str, size: int, offset: int, data: bytes) -> int:
        """Take a part of a file. Return how many bytes of it are there, from its beginning.

        The last part is answered when the file is on disk.

        Raises:
            WrongValue: there are more bytes than announced, or their digest is another.
            ReferenceRefused: the file is no LoRA for the model.
            PolicyBlocked, PolicyTimeout, PolicyDown: see `Moderator.want_allowed`.
            TooMany: there are too many files at a time.
            StoreError, TooSlow: it could not be stored.
        """
        if offset == 0 and await self._waits.read(lambda: self.row(account, digest)) is not None:
            return size
        now, key = time.monotonic(), (account, digest)
        for old in [old for old, part in self._parts.items() if now - part.at > PATIENCE_S]:
            self._parts.pop(old).path.unlink(missing_ok=True)
        part = self._parts.get(key)
        if part is not None and part.size != size:
            self._parts.pop(key).path.unlink(missing_ok=True)
            part = None
        there = 0 if part is None else part.received
        if not data or offset != there:
            return there
        if there + len(data) > size:
            got = f"{there + len(data):,} bytes"
            raise WrongValue(complaint("upload", got, f"{size:,}, as was said", "say the size of the file"))
        if part is None:
            part = self._parts[key] = self._begin(account, size, now)
        part.received, part.at = there + len(data), now
        try:
            await asyncio.get_running_loop().run_in_executor(None, _write, part.path, there, data)
        except BaseException:
            self._drop(key)
            raise
        if part.received < size:
            return part.received
        self._parts.pop(key, None)
        self._whole.append(account)
        keeping = self._waits.begin(self._keep(account, digest, part.path))
        keeping.add_done_callback(lambda _: self._whole.remove(account))
        await self._waits.outlast(keeping)
        return size

    async def add(self, account: str, path: Path) -> str:
        """Keep a file of this machine for an account, and return its digest. It goes on to its end, also when the
        request gives up. CheckpointError: it cannot be read, or is no LoRA for the model; else raises as `upload`."""
        return await asyncio.shield(self._waits.begin(self._add(account, path)))

    async def _add(self, account: str, path: Path) -> str:
        part = self._new_part()

        def copy() -> str:
            _want_small(path)
            self._context.studio.loras.rules.open(path)
            offset = 0
            for data in _pieces(path):
                _write(part, offset, data)
                offset += len(data)
            return digest_of_file(part)

        try:
            digest = await asyncio.get_running_loop().run_in_executor(None, copy)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        await self._keep(account, digest, part)
        return digest

    async def _keep(self, account: str, digest: str, part: Path) -> None:
        """Check a whole file, ask policies about it, and put it in its place, with a row of the account."""
        where, rules = self.path_of(digest), self._context.studio.loras.rules

        def check() -> PolicyRequest:
            if (real := digest_of_file(part)) != digest:
                got = f"a file with sha256 {real[:12]}..."
                raise WrongValue(complaint("upload", got, f"{digest[:12]}..., as was said", "bring it again"))
            try:
                return lora_request(account, digest, rules.open(part)[0])
            except CheckpointError as error:
                raise ReferenceRefused(str(error).replace(str(part), f"LoRA {digest[:12]}")) from error

        def put() -> int:
            with _faults(where):
                with part.open("rb") as file:
                    flush_file(file.fileno(), part)
                os.replace(part, where)
                flush_folder(where.parent)
                return where.stat().st_size

        loop = asyncio.get_running_loop()
        try:
            request = await loop.run_in_executor(None, check)
            await self._moderator.want_allowed(account, [request])
            size = await loop.run_in_executor(None, put)
        except BaseException:
            part.unlink(missing_ok=True)  # it is in its place already if the end comes just then
            raise
        now = self._context.now_ms()
        row = LoraRow(account=account, digest=digest, size=size, added_ms=now, used_ms=now)
        await self._waits.stored([Put(row), *await self._waits.read(lambda: self._beyond(account, row))])

    def _begin(self, account: str, size: int, now: float) -> _Part:
        """Return a new part. Raise TooMany if that is beyond the bounds."""
        owners = [*(owner for owner, _ in self._parts), *self._whole]
        mine = owners.count(account)
        if mine >= OPEN or len(owners) >= ALL:
            got = f"{mine + 1} files at a time" if mine >= OPEN else "more than everybody together may be bringing"
            raise TooMany(complaint("upload", got, f"{OPEN} an account, {ALL} in all", "finish one first"))
        return _Part(self._new_part(), size, now)

    def _new_part(self) -> Path:
        """Return the path of a new part, in a folder that is made with the first one."""
        folder = self._folder / PARTS
        with _faults(folder):
            make_folder(folder, 0o700)
        return folder / secrets.token_hex(12)

    def _drop(self, key: tuple[str, str]) -> None:
        part = self._parts.pop(key, None)
        if part is not None:
            part.path.unlink(missing_ok=True)

    # ---- for requests ----------------------------------------------------------------------------------------------

    def path_of(self, digest: str) -> Path:
        """Return where a file that was brought lies."""
        return self._folder / f"{digest}{SUFFIX}"

    def row(self, account: str, digest: str) -> LoraRow | None:
        """Return the row of a file that an account has brought and that is here. On any thread."""
        row = self._context.store.row(LoraRow, account, digest)
        return row if row is not None and self.path_of(digest).is_file() else None

    def usable(self, account: str, digest: str) -> list[Write] | None:
        """Return what is to be written of a use by an account; None: it may not use the file. On any thread."""
        row = self.row(account, digest)
        if row is None:
            return [] if self._operators(digest) is not None else None
        self._context.studio.loras.put(digest, self.path_of(digest))
        now = self._context.now_ms()
        return [Put(msgspec.structs.replace(row, used_ms=now))] if now - row.used_ms > DAY_MS else []

    def find(self, digest: str) -> Path | None:
        """Return where the file of a digest lies, of anybody; None: it is not here. On any thread."""
        if self.path_of(digest).is_file():
            return self.path_of(digest)
        return self._operators(digest)

    def _operators(self, digest: str) -> Path | None:
        """Return the operator's file of a digest: of those that were named before, else by reading all of them."""
        folder = self._context.options.loras
        if folder is None:
            return None
        for name in self.names():
            path = Path(folder) / f"{name}{SUFFIX}"
            try:
                if self._digest(path) == digest:
                    self._context.studio.loras.put(digest, path)
                    return path
            except UnreadableFile:
                continue
        return None

    def sweep(self, in_use: Collection[str]) -> int:
        """Drop rows that were unused for long, and delete files of no account, except digests `in_use`. On a thread.

        Return the number of files.
        """
        store, before = self._context.store, self._context.now_ms() - KEEP_MS
        last: tuple[str, ...] = ()
        while rows := store.rows(LoraRow, after=last, limit=PAGE):
            last = rows[-1].account, rows[-1].digest
            old = [row for row in rows if row.used_ms < before and row.digest not in in_use]
            if old:
                store.write([Remove(LoraRow, (row.account, row.digest)) for row in old])
        number = 0
        for path in self._folder.glob(f"*{SUFFIX}"):
            digest = path.name.removesuffix(SUFFIX)
            fresh = time.time() - path.stat().st_mtime < 3600
            if digest not in in_use and not fresh and not store.rows(LoraRow, digest=digest, limit=1):
                path.unlink(missing_ok=True)
                number += 1
        return number

    def _beyond(self, account: str, new: LoraRow) -> list[Write]:
        """Return the writes that make space for a new file of an account, the least recently used first."""
        rows, after = list[LoraRow](), tuple[str, ...]()
        while page := self._context.store.rows(LoraRow, after=after, limit=PAGE, account=account):
            rows += [row for row in page if row.digest != new.digest]
            after = page[-1].account, page[-1].digest
        left, writes = sum(row.size for row in rows) + new.size - KEPT_BYTES, list[Write]()
        for row in sorted(rows, key=lambda row: row.used_ms):
            if left <= 0:
                break
            left -= row.size
            writes.append(Remove(LoraRow, (account, row.digest)))
        return writes


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    """Turn errors of the system into those of the store."""
    try:
        yield
    except OSError as error:
        raise translate_os(error, str(path)) from error


def _pieces(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file. UnreadableFile: the system does not read it, or it grows beyond `MAX_LORA_BYTES`."""
    left = MAX_LORA_BYTES
    try:
        with path.open("rb") as file:
            while data := file.read(PIECE):
                left -= len(data)
                if left < 0:
                    raise _too_large(path, f"more than {MAX_LORA_BYTES:,} bytes")
                yield data
    except OSError as error:
        told = explain(error)
        raise UnreadableFile(f"cannot be read ({told.got})", path=path, remedy=told.remedy) from error


def _want_small(path: Path) -> None:
    """Raise UnreadableFile if a LoRA that is brought is larger than one may be, before anything of it is read."""
    try:
        size = path.stat().st_size
    except OSError:
        return  # who reads it says so
    if size > MAX_LORA_BYTES:
        raise _too_large(path, f"{size:,} bytes")


def _too_large(path: Path, found: str) -> UnreadableFile:
    expected, remedy = f"up to {MAX_LORA_BYTES:,} bytes", "take one of lower rank"
    return UnreadableFile("too large a LoRA", path=path, expected=expected, found=found, remedy=remedy)


def _write(path: Path, offset: int, data: bytes) -> None:
    """Write a part of a file at its place. StoreError: the disk does not take it."""
    with _faults(path):
        mode = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        file = os.open(path, mode, 0o600)
        try:
            os.pwrite(file, data, offset)
        finally:
            os.close(file)
