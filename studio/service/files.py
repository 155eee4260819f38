"""Keep files that programs bring for later, and name by their ids: pictures, which requests can refer to.

Used on the loop's thread, except `sweep`, which is called on one for reads.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from ...errors import complaint
from ..errors import QuotaExceeded
from ..references import digest_of, read_picture, want_small
from ..store.blobs import is_digest
from ..store.domains.files import FileRow
from ..store.writes import Put, Remove
from .errors import UnknownFile
from .references import ServiceReferences

MOST: Final = 1_000  # files of an account
MAX_NAME: Final = 255  # characters
PAGE: Final = 500


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of an account.

    Attributes:
        id: SHA-256 (hex) of the file; requests refer to it by this.
        name, purpose: as its user said.
        size: bytes.
        made_ms: when it was brought (UTC ms).
    """

    id: str
    name: str
    purpose: str
    size: int
    made_ms: int


class ServiceFiles:
    """The files of all accounts.

    Args:
        references: keeps them as pictures.
    """

    def __init__(self, references: ServiceReferences) -> None:
        self._references = references
        self._store, self._waits = references.context.store, references.waits
        self._counted = asyncio.Lock()  # held while files are counted and one is added

    async def add(self, account: str, data: bytes, name: str, purpose: str) -> StoredFile:
        """Keep a file, and return it once it is on disk. The same file again has the new name.

        Raises:
            ReferenceRefused: it is no picture, or too large.
            QuotaExceeded: the account has too many files.
            StoreError, TooSlow: it could not be stored.
        """

        def look() -> str:
            want_small(data, "file")
            read_picture(data, "file")
            return digest_of(data)

        async with self._references.unpacking:
            digest = await asyncio.to_thread(look)
        await self._want_room(account, digest)
        now = self._references.context.now_ms()
        row = FileRow(account=account, digest=digest, name=name[:MAX_NAME], purpose=purpose, made_ms=now)
        await self._waits.outlast(self._waits.begin(self._put(account, data, row)))
        return await self.find(account, digest)

    async def _put(self, account: str, data: bytes, row: FileRow) -> None:
        await self._references.bring(account, {row.digest: data})
        async with self._counted:  # others may have come meanwhile
            await self._want_room(account, row.digest)
            await self._waits.stored([Put(row)])

    async def _want_room(self, account: str, digest: str) -> None:
        """Raise QuotaExceeded if an account has as many files as it may have, none of them this one."""
        files = await self.list(account)
        if len(files) >= MOST and all(file.id != digest for file in files):
            raise QuotaExceeded(complaint("files", f"{len(files) + 1:,}", f"up to {MOST:,}", "delete some"))

    async def list(self, account: str) -> list[StoredFile]:
        """Return all files of an account, the newest first."""

        def look() -> list[StoredFile]:
            found = list[StoredFile]()
            after: tuple[str, ...] = ()
            while rows := self._store.rows(FileRow, after=after, limit=PAGE, account=account):
                after = rows[-1].account, rows[-1].digest
                sized = ((row, self._references.size(account, row.digest)) for row in rows)
                found += [_stored(row, size) for row, size in sized if size is not None]
            return sorted(found, key=lambda file: (file.made_ms, file.id), reverse=True)

        return await self._waits.read(look)

    async def find(self, account: str, id: str) -> StoredFile:
        """Return a file of an account. UnknownFile: it has none of this id."""

        def look() -> StoredFile | None:
            if not is_digest(id):
                return None
            row, size = self._store.row(FileRow, account, id), self._references.size(account, id)
            return None if row is None or size is None else _stored(row, size)

        found = await self._waits.read(look)
        if found is None:
            raise UnknownFile(complaint("file", f"{id[:80]!r}, which is not here", "one of your files", "list them"))
        return found

    async def content(self, account: str, id: str) -> bytes:
        """Return the bytes of a file. UnknownFile: the account has none of this id."""
        await self.find(account, id)
        return await self._waits.read(lambda: self._references.file(account, id))

    async def delete(self, account: str, id: str) -> None:
        """Delete a file: requests cannot refer to it any more. Jobs that do already go on.

        Raises:
            UnknownFile: the account has none of this id.
            StoreError, TooSlow: it could not be deleted.
        """
        await self.find(account, id)
        await self._waits.write([Remove(FileRow, (account, id)), self._references.forgotten(account, id)])

    def sweep(self) -> None:
        """Forget files whose pictures were dropped. StoreError: a step failed; the next sweep goes on."""
        after: tuple[str, ...] = ()
        while rows := self._store.rows(FileRow, after=after, limit=PAGE):
            after = rows[-1].account, rows[-1].digest
            gone = [row for row in rows if self._references.size(row.account, row.digest) is None]
            if gone:
                self._store.write([Remove(FileRow, (row.account, row.digest)) for row in gone])


def _stored(row: FileRow, size: int) -> StoredFile:
    return StoredFile(id=row.digest, name=row.name, purpose=row.purpose, size=size, made_ms=row.made_ms)
