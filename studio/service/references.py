"""Pictures that requests refer to, by digest: those that accounts have brought, which are kept on disk and dropped when
nobody needs them, and those of jobs.

On the loop's thread, but for `load` and `sweep`, which read and write files and are called on threads for that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...engine.spec import GenerationSpec
from ...engine.start import PictureForm, forms_of
from ...errors import complaint
from ..errors import BlobMissing
from ..references import aspect_of, digest_of, pictures_of, read_picture
from ..resources import digests_of, needed, not_here
from ..store.blobs import Blobs
from ..store.domains.references import ReferenceRow
from ..store.writes import Put, Remove, Write
from .context import ServiceContext
from .errors import WrongValue
from .uploads import Uploads
from .waits import Waits

LOG = logging.getLogger("salon.service")
UInt8 = NDArray[np.uint8]

DAY_MS: Final = 86_400_000
KEEP_MS: Final = 30 * DAY_MS  # from the last use
KEPT_BYTES: Final = 256 * 2**20  # of an account; beyond, the least recently used go
PAGE: Final = 200
BRING: Final = "bring the picture again (salon imagine does, given its file, and so does client.add_reference)"


class ServiceReferences:
    """The pictures that accounts have brought.

    Args:
        context: open.
        waits: for what takes long.
    """

    def __init__(self, context: ServiceContext, waits: Waits) -> None:
        self.context = context
        self.waits = waits
        self._blobs: Blobs = context.references
        self._uploads = Uploads()

    async def upload(self, account: str, digest: str, size: int, offset: int, data: bytes) -> int:
        """Take a part of a file; return how many bytes of it are there, from its beginning. The last part is answered
        when the file is on disk.

        Raises:
            WrongValue: more bytes than were said, or others than the digest says.
            ReferenceRefused: the file is no picture.
            TooMany: too many files at a time.
            StoreError, TooSlow: it could not be stored.
        """
        if offset == 0 and await self.waits.read(lambda: self._row(account, digest)) is not None:
            return size
        found = self._uploads.add(account, digest, size, offset, data)
        if isinstance(found, int):
            return found
        await self.waits.outlast(self.waits.begin(self.add(account, digest, found)))
        return size

    async def add(self, account: str, digest: str, data: bytes) -> None:
        """Store a picture's file. Raises as `upload`."""

        def put() -> None:
            if (real := digest_of(data)) != digest:
                got = f"a file with sha256 {real[:12]}..."
                raise WrongValue(complaint("upload", got, f"{digest[:12]}..., as was said", "bring it again"))
            read_picture(data, "upload")
            self._blobs.put(data)

        await asyncio.get_running_loop().run_in_executor(None, put)
        now = self.context.now_ms()
        row = ReferenceRow(account=account, digest=digest, size=len(data), added_ms=now, used_ms=now)
        writes: list[Write] = [Put(row), *await self.waits.read(lambda: self._beyond(account, row))]
        await self.waits.stored(writes)

    async def needed(self, account: str, spec: GenerationSpec) -> dict[PictureForm, UInt8]:
        """Return the pictures that a request of an account refers to, in the forms that it needs.

        Raises:
            SpecError: one that the account has not brought and that no job shows it, one that is gone, or a mask of
                another size than its picture.
            ReferenceRefused: one is no picture.
        """
        if not digests_of(spec):
            return {}

        def look() -> tuple[dict[PictureForm, UInt8], list[Write]]:
            writes, now = list[Write](), self.context.now_ms()
            for form in forms_of(spec):
                row = self._row(account, form.digest)
                if row is None and not self._shown(account, form.digest):
                    raise not_here(form, remedy=BRING)
                if row is not None and now - row.used_ms > DAY_MS:
                    writes.append(Put(msgspec.structs.replace(row, used_ms=now)))
            return self.load(spec), writes

        found, writes = await self.waits.read(look)
        if writes:
            await self.waits.write(writes)
        return found

    async def aspect(self, account: str, given: dict[str, Any]) -> tuple[int, int] | None:
        """Return the proportions of the picture that a request's parameters start from, where they say none themselves
        and the account may use it. ReferenceRefused: it is no picture."""
        if given.get("image") is None:
            return None

        def file(digest: str) -> bytes | None:
            mine = self._row(account, digest) is not None or self._shown(account, digest)
            return self._file(digest) if mine else None

        return await self.waits.read(lambda: aspect_of(given, file))

    def load(self, spec: GenerationSpec) -> dict[PictureForm, UInt8]:
        """Return the pictures that a spec refers to, in the forms that it needs, whosever they are. SpecError: one is
        gone; otherwise as `needed`."""
        studio = self.context.studio
        found = pictures_of(spec, self._file, studio.references, studio.loop.model)
        return needed(spec, found, studio.loop.model, remedy=BRING)

    def sweep(self, in_use: Collection[str]) -> int:
        """Drop what was not used for long, but for digests `in_use`, and files that nobody has; return how many files
        went. StoreError: it could not; the next one goes on."""
        store, before = self.context.store, self.context.now_ms() - KEEP_MS
        last: tuple[str, ...] = ()
        while rows := store.rows(ReferenceRow, after=last, limit=PAGE):
            last = rows[-1].account, rows[-1].digest
            old = [row for row in rows if row.used_ms < before and row.digest not in in_use]
            if old:
                store.write([Remove(ReferenceRow, (row.account, row.digest)) for row in old])
        number = 0
        for digest in list(self._blobs.digests()):
            if digest not in in_use and not store.rows(ReferenceRow, digest=digest, limit=1):
                number += bool(self._blobs.delete(digest, min_age_s=3600.0))
        return number

    def _file(self, digest: str) -> bytes | None:
        for blobs in (self._blobs, self.context.blobs):
            try:
                return blobs.get(digest)
            except BlobMissing:
                continue
        return None

    def _shown(self, account: str, digest: str) -> bool:
        """Whether the account may see a job with this picture: one of its own, or one that is not private."""
        return self.context.store.shows(account, digest)

    def _row(self, account: str, digest: str) -> ReferenceRow | None:
        row = self.context.store.row(ReferenceRow, account, digest)
        return row if row is not None and self._blobs.has(digest) else None

    def _beyond(self, account: str, new: ReferenceRow) -> list[Write]:
        """What an account has too much of beside a new picture, the least recently used first."""
        rows = [row for row in self._all(account) if row.digest != new.digest]
        left, writes = sum(row.size for row in rows) + new.size - KEPT_BYTES, list[Write]()
        for row in sorted(rows, key=lambda row: row.used_ms):
            if left <= 0:
                break
            left -= row.size
            writes.append(Remove(ReferenceRow, (account, row.digest)))
        return writes

    def _all(self, account: str) -> list[ReferenceRow]:
        found: list[ReferenceRow] = []
        after: tuple[str, ...] = ()
        while rows := self.context.store.rows(ReferenceRow, after=after, limit=PAGE, account=account):
            found += rows
            after = rows[-1].account, rows[-1].digest
        return found
