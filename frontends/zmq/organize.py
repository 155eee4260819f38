"""Answer the requests about many jobs at once, folders and presets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from ...studio.service.organized import NamesQuery
from ...studio.service.organizing import OrganizeService
from ..wire import messages as m
from . import views
from .taste import view


class Organize:
    """The requests `organize.*`, each a method that returns the answer. Used on the event loop's thread.

    Args:
        service: carries them out.

    Attributes:
        acts: the method of each type of request, which takes the account and the request.
    """

    def __init__(self, service: OrganizeService) -> None:
        self._service = service
        self.acts: Final[dict[type[m.Record], Callable[[str, Any], Awaitable[m.Record]]]] = {
            m.ListNames: self.names,
            m.ShowJobs: self.show,
            m.GetMarks: self.marks,
            m.ChangeJobs: self.change,
            m.ListFolders: self.folders,
            m.NewFolder: self.new_folder,
            m.RenameFolder: self.rename_folder,
            m.DeleteFolder: self.delete_folder,
            m.ListPresets: self.presets,
            m.PutPreset: self.put_preset,
            m.DeletePreset: self.delete_preset,
        }

    async def names(self, account: str, request: m.ListNames) -> m.NameList:
        """Return a page of names."""
        query = msgspec.convert(request, NamesQuery, from_attributes=True)
        return view(await self._service.names(account, query), m.NameList)

    async def show(self, account: str, request: m.ShowJobs) -> m.JobList:
        """Return many jobs."""
        jobs, looked = await self._service.show(account, request.jobs)
        return m.JobList(jobs=tuple(map(views.job_info, jobs)), next=looked if looked < len(request.jobs) else 0)

    async def marks(self, account: str, request: m.GetMarks) -> m.Marks:
        """Return what the account thinks of jobs."""
        return view(await self._service.marks(account, request.jobs), m.Marks)

    async def change(self, account: str, request: m.ChangeJobs) -> m.JobsChanged:
        """Change many jobs."""
        return view(await self._service.change(account, request.act, request.jobs, request.folder), m.JobsChanged)

    async def folders(self, account: str, request: m.ListFolders) -> m.Folders:
        """Return the folders."""
        return m.Folders(folders=tuple(view(one, m.Folder) for one in await self._service.folders.listed(account)))

    async def new_folder(self, account: str, request: m.NewFolder) -> m.Folder:
        """Make a folder."""
        return view(await self._service.folders.new(account, request.name), m.Folder)

    async def rename_folder(self, account: str, request: m.RenameFolder) -> m.Folder:
        """Rename a folder."""
        return view(await self._service.folders.rename(account, request.folder, request.name), m.Folder)

    async def delete_folder(self, account: str, request: m.DeleteFolder) -> m.Done:
        """Delete a folder."""
        return m.Done(changed=await self._service.folders.delete(account, request.folder))

    async def presets(self, account: str, request: m.ListPresets) -> m.Presets:
        """Return the presets."""
        return m.Presets(presets=tuple(view(one, m.Preset) for one in await self._service.presets.listed(account)))

    async def put_preset(self, account: str, request: m.PutPreset) -> m.Preset:
        """Keep a preset."""
        return view(
            await self._service.presets.put(account, request.name, request.parameters, request.values), m.Preset
        )

    async def delete_preset(self, account: str, request: m.DeletePreset) -> m.Done:
        """Forget a preset."""
        return m.Done(changed=await self._service.presets.delete(account, request.name))
