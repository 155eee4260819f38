"""Find the pictures that requests refer to: those that accounts have brought, and those of jobs.

What accounts bring is kept on disk, and dropped when nothing needs it.

Used on the loop's thread, except `load` and `sweep`, which read and write files and are called on threads for that.
"""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...bounds import MAX_REFERENCE_BYTES
from ...engine.errors import SpecError
from ...engine.reference_rule import ReferenceRule
from ...engine.spec import GenerationSpec
from ...engine.start import PictureForm, PictureUse, forms_of, path_bytes
from ...errors import complaint
from ..errors import BlobMissing
from ..references import OMNI, aspect_of, digest_of, pictures_of, read_picture, want_small, with_sizes
from ..resources import digests_of, needed, not_here
from ..store.blobs import Blobs
from ..store.domains.references import ReferenceRow
from ..store.domains.taste import TasteCodeRow
from ..store.writes import Put, Remove, Write
from ..stripping import stripped
from ..taste.codes import want_usable
from .context import ServiceContext
from .errors import WrongValue
from .loras import BRING as BRING_LORA
from .loras import ServiceLoras
from .moderation import Moderator, upload_request
from .thumbnails import QUALITY
from .uploads import Uploads
from .waits import Waits

LOG = logging.getLogger("salon.service")
UInt8 = NDArray[np.uint8]

DAY_MS: Final = 86_400_000
KEEP_MS: Final = 30 * DAY_MS  # how long a picture is kept after its last use
KEPT_BYTES: Final = 256 * 2**20  # bytes of an account's pictures; beyond, the least recently used are dropped
PAGE: Final = 200
SMALL: Final = 256  # pixels of the longer side of a picture that is shown small
UNPACKED: Final = 2  # files that are brought and unpacked at a time; a small one may have 64 million pixels, or 800 MB
BRING: Final = "bring the picture again (salon imagine does, given its file, and so does client.add_reference)"


class ServiceReferences:
    """The pictures that accounts have brought.

    Args:
        context: an open context.
        waits: waits for reads and writes.
        moderator: asks policies about what is brought.

    Attributes:
        loras: the LoRAs that requests refer to.
        unpacking: held while a file that is brought is unpacked, to see whether it is a picture.
    """

    def __init__(self, context: ServiceContext, waits: Waits, moderator: Moderator) -> None:
        self.context = context
        self.waits = waits
        self._moderator = moderator
        self.loras = ServiceLoras(context, waits, moderator)
        self._blobs: Blobs = context.references
        self._uploads = Uploads()
        self.unpacking = asyncio.Semaphore(UNPACKED)

    async def upload(self, account: str, digest: str, size: int, offset: int, data: bytes) -> int:
        """Take a part of a file. Return how many bytes of it are there, from its beginning.

        The last part is answered when the file is on disk.

        Raises:
            WrongValue: there are more bytes than announced, or their digest is another.
            ReferenceRefused: the file is no picture.
            PolicyBlocked, PolicyDown: see `Moderator.want_allowed`.
            TooMany: there are too many files at a time.
            StoreError, TooSlow: it could not be stored.
        """
        if size > MAX_REFERENCE_BYTES:
            got, allowed = f"{size:,} bytes", f"up to {MAX_REFERENCE_BYTES:,}"
            raise WrongValue(complaint("upload", got, allowed, "save the picture smaller"))
        if offset == 0 and await self.waits.read(lambda: self._row(account, digest)) is not None:
            return size
        found = self._uploads.add(account, digest, size, offset, data)
        if isinstance(found, int):
            return found
        await self.waits.outlast(self.waits.begin(self.add(account, digest, found)))
        return size

    async def add(self, account: str, digest: str, data: bytes) -> None:
        """Store a picture's file. Raises as `upload`."""

        def check() -> None:
            want_small(data, "upload")
            if (real := digest_of(data)) != digest:
                got = f"a file with sha256 {real[:12]}..."
                raise WrongValue(complaint("upload", got, f"{digest[:12]}..., as was said", "bring it again"))
            read_picture(data, "upload")

        async with self.unpacking:
            await asyncio.get_running_loop().run_in_executor(None, check)
        await self.bring(account, {digest: data})

    async def bring(self, account: str, files: Mapping[str, bytes]) -> None:
        """Store files by their digests, all of them pictures (`read_picture`), or none. What they say besides their
        pixels is not stored, and policies do not get it.

        Raises:
            PolicyBlocked, PolicyDown: a policy does not allow one of them.
            StoreError, TooSlow: they could not be stored.
        """
        loop = asyncio.get_running_loop()
        async with self.unpacking:
            plain = await loop.run_in_executor(None, lambda: {digest: stripped(data) for digest, data in files.items()})
        await self._moderator.want_allowed(account, [upload_request(account, data) for data in plain.values()])

        def put() -> None:
            for digest, data in plain.items():
                self._blobs.put(data, digest)

        await loop.run_in_executor(None, put)
        now = self.context.now_ms()
        rows = [
            ReferenceRow(account=account, digest=digest, size=len(data), added_ms=now, used_ms=now)
            for digest, data in plain.items()
        ]
        writes: list[Write] = [*map(Put, rows), *await self.waits.read(lambda: self._beyond(account, rows))]
        await self.waits.stored(writes)

    async def has(self, account: str, digest: str) -> bool:
        """Return whether an account has brought a picture that is still here."""
        return await self.waits.read(lambda: self._row(account, digest)) is not None

    async def needed(self, account: str, spec: GenerationSpec) -> dict[PictureForm, UInt8]:
        """Return the pictures that a request of an account refers to, in the forms that it needs.

        Raises:
            TasteRefused: a taste code that does not exist, was revoked, or is of another model.
            SpecError: one that the account has not brought and that no job shows it, one that is gone, or a mask of
                another size than its picture.
            ReferenceRefused: one is no picture.
        """
        if not digests_of(spec):
            return {}

        def look() -> tuple[dict[PictureForm, UInt8], list[Write]]:
            writes, now = list[Write](), self.context.now_ms()
            for form in forms_of(spec):
                if form.use is PictureUse.TASTE:
                    row_of_code = self.context.store.row(TasteCodeRow, form.digest)
                    want_usable(form.digest, row_of_code, self.context.studio.loop.model.identity.digest)
                    continue
                if form.use is PictureUse.LORA:
                    if (more := self.loras.usable(account, form.digest)) is None:
                        raise not_here(form, remedy=BRING_LORA)
                    writes += more
                    continue
                if not self.may_use(account, form.digest):
                    raise not_here(form, remedy=BRING)
                row = self._row(account, form.digest)
                if row is not None and now - row.used_ms > DAY_MS:
                    writes.append(Put(msgspec.structs.replace(row, used_ms=now)))
            return self.load(spec), writes

        found, writes = await self.waits.read(look)
        if writes:
            await self.waits.write(writes)
        return found

    async def sized(
        self, account: str, given: dict[str, Any], rule: ReferenceRule | None, *, proportions: bool
    ) -> dict[str, Any]:
        """Return parameters with the proportions of the picture that they start from, unless they say some themselves,
        and with the sizes of those that the model looks at.

        A picture that the account may not use counts as none: `needed` refuses it.

        Args:
            rule: of the model.
            proportions: whether those of a picture that the model looks at are taken, too.

        Raises:
            ReferenceRefused: a file is no picture.
        """
        if given.get("image") is None and not given.get(OMNI):
            return given

        def file(digest: str) -> bytes | None:
            return self.stored(digest) if self.may_use(account, digest) else None

        def look() -> dict[str, Any]:
            said = given if proportions else {name: value for name, value in given.items() if name != OMNI}
            aspect = aspect_of(said, file, rule)
            return with_sizes(given if aspect is None else {**given, "aspect": aspect}, file)

        return await self.waits.read(look)

    def file(self, account: str, digest: str) -> bytes:
        """Return the file of a picture that an account may use. Raise SpecError if there is no such picture."""
        data = self.stored(digest) if self.may_use(account, digest) else None
        if data is None:
            raise SpecError(complaint("picture", f"picture {digest}, which is not here", "one that is", BRING))
        return data

    async def small(self, account: str, digest: str) -> bytes:
        """Return a small WebP file of a picture that an account may use. Raise SpecError if there is none."""

        def make() -> bytes:
            buffer, picture = io.BytesIO(), read_picture(data).image
            picture.thumbnail((SMALL, SMALL))
            picture.save(buffer, "WEBP", quality=QUALITY)
            return buffer.getvalue()

        data = await self.waits.read(lambda: self.file(account, digest))
        async with self.unpacking:
            return await asyncio.get_running_loop().run_in_executor(None, make)

    def load(self, spec: GenerationSpec) -> dict[PictureForm, UInt8]:
        """Return the pictures that a spec refers to, of any account, in the forms that it needs. A taste code that was
        revoked meanwhile serves on for what was accepted before.

        Raise SpecError if one is gone, and otherwise as `needed`.
        """
        studio = self.context.studio
        for form in forms_of(spec):
            if form.use is PictureUse.TASTE and (row := self.context.store.row(TasteCodeRow, form.digest)) is not None:
                studio.references.put(form, np.frombuffer(row.vector, np.uint8))
            if form.use is PictureUse.LORA and (path := self.loras.find(form.digest)) is not None:
                studio.references.put(form, path_bytes(path))
        found = pictures_of(spec, self.stored, studio.references, studio.loop.model)
        return needed(spec, found, studio.loop.model, remedy=BRING)

    def stored(self, digest: str) -> bytes | None:
        """Return the file of a picture of any account or job; None: it is not here. The caller knows who may see it."""
        for blobs in (self._blobs, self.context.blobs):
            try:
                return blobs.get(digest)
            except BlobMissing:
                continue
        return None

    def size(self, account: str, digest: str) -> int | None:
        """Return the bytes of a picture that an account has brought; None: it has not, or it is gone."""
        row = self._row(account, digest)
        return None if row is None else row.size

    def forgotten(self, account: str, digest: str) -> Write:
        """Return what makes an account have a picture no more."""
        return Remove(ReferenceRow, (account, digest))

    def may_use(self, account: str, digest: str) -> bool:
        """Return whether an account has brought a picture, or may see a job that has it."""
        return self._row(account, digest) is not None or self.context.store.shows(account, digest)

    def sweep(self, in_use: Collection[str]) -> int:
        """Drop pictures that were unused for long, except digests `in_use`.

        Delete files of no account, and return their number.

        Raises:
            StoreError: a step failed; the next sweep goes on.
        """
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

    def _row(self, account: str, digest: str) -> ReferenceRow | None:
        row = self.context.store.row(ReferenceRow, account, digest)
        return row if row is not None and self._blobs.has(digest) else None

    def _beyond(self, account: str, new: Sequence[ReferenceRow]) -> list[Write]:
        """Return the writes that make space for new pictures of an account, the least recently used first."""
        digests = {row.digest for row in new}
        rows = [row for row in self._all(account) if row.digest not in digests]
        left, writes = sum(row.size for row in [*rows, *new]) - KEPT_BYTES, list[Write]()
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
