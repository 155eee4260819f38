"""Keep folders of jobs, on disk. A job may be in several. Used on the service's thread."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from ...bounds import MAX_BULK, MAX_FOLDERS, MAX_LABEL
from ...errors import complaint
from ...values import shown
from ..store.domains.organize import FolderRow, InFolderRow
from ..store.writes import Put, Remove
from .errors import WrongValue
from .organized import Folder

if TYPE_CHECKING:
    from .context import ServiceContext
    from .waits import Waits

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class FolderKeeper:
    """The folders of all accounts. Jobs are put into them and taken out by `OrganizeService.change`.

    Args:
        context: of the service.
        waits: for the store.
    """

    def __init__(self, context: ServiceContext, waits: Waits) -> None:
        self._context, self._waits = context, waits
        self._lock = asyncio.Lock()  # held while folders are compared and then changed

    async def listed(self, account: str) -> tuple[Folder, ...]:
        """Return the folders of an account, by name."""
        store = self._context.store
        rows, sizes = await self._waits.read(lambda: (self._rows(account), store.folder_sizes(account)))
        return tuple(_folder_of(row, sizes.get(row.folder, 0)) for row in sorted(rows, key=lambda row: row.name))

    async def new(self, account: str, name: str) -> Folder:
        """Make a folder, or return the one of that name. It is on disk when this returns. WrongValue: no name for one,
        or there are too many."""
        name = _label(name)

        def make(rows: Sequence[FolderRow]) -> FolderRow:
            if len(rows) >= MAX_FOLDERS:
                got = f"{len(rows) + 1} folders"
                raise WrongValue(complaint("folder", got, f"up to {MAX_FOLDERS}", "delete one first"))
            return FolderRow(account=account, folder=secrets.token_hex(6), name=name, made_ms=self._context.now_ms())

        return await self._put(account, name, make)

    async def rename(self, account: str, folder: str, name: str) -> Folder:
        """Give a folder, by id or name, another name. WrongValue: there is no such folder, or another has the name."""
        name = _label(name)
        row = await self.want(account, folder)

        def renamed(rows: Sequence[FolderRow]) -> FolderRow:
            if all(each.folder != row.folder for each in rows):
                raise _unknown(folder)  # it was deleted just now
            return msgspec.structs.replace(row, name=name)

        return await self._put(account, name, renamed, of=row.folder)

    async def delete(self, account: str, folder: str) -> bool:
        """Delete a folder, by id or name; the jobs stay. Return whether there was one."""
        rows = await self._waits.read(lambda: self._rows(account))
        found = _named(rows, folder)
        if found is None:
            return False
        store = self._context.store

        async def work() -> None:
            async with self._lock:
                while inside := await self._waits.read(
                    lambda: store.rows(InFolderRow, account=account, folder=found.folder, limit=MAX_BULK)
                ):
                    await self._waits.stored([Remove(InFolderRow, (account, row.folder, row.job)) for row in inside])
                await self._waits.stored([Remove(FolderRow, (account, found.folder))])

        await self._waits.outlast(self._waits.begin(work()))
        return True

    async def _put(
        self,
        account: str,
        name: str,
        make: Callable[[Sequence[FolderRow]], FolderRow],
        of: str = "",
    ) -> Folder:
        async def work() -> FolderRow:
            async with self._lock:
                rows = await self._waits.read(lambda: self._rows(account))
                same = next((row for row in rows if row.name == name), None)
                if same is not None:
                    if of not in ("", same.folder):
                        got = f"{name!r}, which another folder has"
                        raise WrongValue(complaint("folder", got, "a name of its own", "choose another name"))
                    return same
                row = make(rows)
                await self._waits.stored([Put(row)])
                return row

        row = await self._waits.outlast(self._waits.begin(work()))
        sizes = await self._waits.read(lambda: self._context.store.folder_sizes(account))
        return _folder_of(row, sizes.get(row.folder, 0))

    async def want(self, account: str, folder: str) -> FolderRow:
        """Return a folder of an account by its id or name. WrongValue: there is none."""
        found = _named(await self._waits.read(lambda: self._rows(account)), folder)
        if found is None:
            raise _unknown(folder)
        return found

    def _rows(self, account: str) -> tuple[FolderRow, ...]:
        return self._context.store.rows(FolderRow, account=account, limit=MAX_FOLDERS)


def _named(rows: Sequence[FolderRow], folder: str) -> FolderRow | None:
    """Return the folder of this id or, if there is none, of this name."""
    return next((row for row in rows if row.folder == folder), None) or next(
        (row for row in rows if row.name == folder), None
    )


def _unknown(folder: str) -> WrongValue:
    return WrongValue(complaint("folder", shown(folder)[:80], "one of yours", "see `salon folder list`"))


def _label(name: str) -> str:
    """Return the name of a folder without space around it. WrongValue: it is none."""
    name = name.strip()
    if not 1 <= len(name) <= MAX_LABEL or _CONTROL.search(name):
        allowed = f"1 to {MAX_LABEL} characters on one line"
        raise WrongValue(complaint("folder", shown(name)[:80], allowed, "choose another name"))
    return name


def _folder_of(row: FolderRow, jobs: int) -> Folder:
    return Folder(folder=row.folder, name=row.name, made_ms=row.made_ms, jobs=jobs)
