"""Define the requests about many jobs at once, once for both clients: names, changes of many, folders, presets, zips.

Every method may raise `Unsupported` (the server knows nothing of it) besides what all requests raise; see `errors.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from ...bounds import MAX_BULK, MAX_PAGE
from ..wire import messages as m
from .errors import NotFound
from .flavours import Flavour, operation, stream
from .given import ARGUMENTS
from .jobs import JobCommands
from .making import MakingCommands
from .older import unsupported
from .prompts import kept
from .steps import Item, R, Steps, Stream, Work, asked, call, fetch

if TYPE_CHECKING:
    from ...zips import ZipFileWriter, ZipPieces

AT_ONCE: Final = 50  # jobs whose records a download asks for at a time
J = TypeVar("J")


class OrganizeCommands(Flavour, Generic[J]):
    """What is done with many jobs, which are named by their ids or by jobs of this client; also with one alone."""

    _commands: MakingCommands[J]

    @operation
    def names(self, /, search: str = "", **wanted: Any) -> Steps[m.NameList]:
        """Return a page of the names of jobs that fit, newest first: their ids, and how many pictures each has.

        Args:
            search: words of the prompt or their beginnings, a seed, a job's id, a taste code; all of them are found.
            wanted: `whose` ("own", "public" or "all"), `owner`, `kinds`, `lanes`, `states`, `model`, `from_ms`,
                `until_ms`, `liked`, `rated`, `hidden`, `private`, `folder`, `oldest`, `after` and `limit`; see
                docs/organize.md.

        Raises:
            TypeError: another argument.
        """
        return (yield from self._call(m.ListNames(search=search, **wanted), m.NameList))

    @stream
    def all_names(self, /, search: str = "", **wanted: Any) -> Stream[tuple[str, int]]:
        """Yield (id, number of pictures) of all jobs that fit, page by page. Arguments as of `names`."""
        after = ARGUMENTS.read("int", "after", wanted.pop("after", 0))
        while True:
            page = yield from self._call(m.ListNames(search=search, after=after, **wanted), m.NameList)
            for job, pictures in zip(page.jobs, page.pictures, strict=True):
                yield Item((job, pictures))
            if not page.next:
                return
            after = page.next

    @operation
    def show(self, jobs: Iterable[JobCommands | str]) -> Steps[tuple[m.JobInfo, ...]]:
        """Return what is known of many jobs, in their order, without those that the account may not see."""
        return (yield from self._show(_ids_of(jobs)))

    @operation
    def marks(self, jobs: Iterable[JobCommands | str]) -> Steps[m.Marks]:
        """Return what the account thinks of up to 200 jobs: what it likes and hides, and in which folders they are."""
        return (yield from self._call(m.GetMarks(jobs=_ids_of(jobs)), m.Marks))

    @operation
    def publish(self, jobs: Iterable[JobCommands | str]) -> Steps[m.JobsChanged]:
        """Let everybody see jobs of one's own. Return how many are public only now, and for which it was refused."""
        return (yield from self._change("publish", jobs))

    @operation
    def unpublish(self, jobs: Iterable[JobCommands | str]) -> Steps[m.JobsChanged]:
        """Let no other account see jobs of one's own. Returns as `publish`."""
        return (yield from self._change("unpublish", jobs))

    @operation
    def hide(self, jobs: Iterable[JobCommands | str]) -> Steps[m.JobsChanged]:
        """Leave jobs out of one's own lists; everybody else sees what they saw. Returns as `publish`."""
        return (yield from self._change("hide", jobs))

    @operation
    def unhide(self, jobs: Iterable[JobCommands | str]) -> Steps[m.JobsChanged]:
        """Take jobs back into one's own lists. Returns as `publish`."""
        return (yield from self._change("unhide", jobs))

    @operation
    def delete(self, jobs: Iterable[JobCommands | str]) -> Steps[m.JobsChanged]:
        """Remove ended jobs' pictures and prompts from the server. Returns as `publish`."""
        return (yield from self._change("delete", jobs))

    @operation
    def folders(self) -> Steps[tuple[m.Folder, ...]]:
        """Return the account's folders, by name."""
        return (yield from self._call(m.ListFolders(), m.Folders)).folders

    @operation
    def new_folder(self, name: str) -> Steps[m.Folder]:
        """Make a folder, or return the one of that name."""
        return (yield from self._call(m.NewFolder(name=name), m.Folder))

    @operation
    def rename_folder(self, folder: str, name: str) -> Steps[m.Folder]:
        """Give a folder, by its id or name, another name. Invalid: there is no such folder, or another has the name."""
        return (yield from self._call(m.RenameFolder(folder=folder, name=name), m.Folder))

    @operation
    def delete_folder(self, folder: str) -> Steps[bool]:
        """Delete a folder, by its id or name; its jobs stay. Return whether there was one."""
        return (yield from self._call(m.DeleteFolder(folder=folder), m.Done)).changed

    @operation
    def add(self, folder: str, jobs: Iterable[JobCommands | str]) -> Steps[m.JobsChanged]:
        """Put jobs into a folder, by its id or name. A job may be in several. Returns as `publish`."""
        return (yield from self._change("add", jobs, folder))

    @operation
    def remove(self, folder: str, jobs: Iterable[JobCommands | str]) -> Steps[m.JobsChanged]:
        """Take jobs out of a folder. Returns as `publish`."""
        return (yield from self._change("remove", jobs, folder))

    @operation
    def presets(self) -> Steps[tuple[m.Preset, ...]]:
        """Return the account's presets, by name."""
        return (yield from self._call(m.ListPresets(), m.Presets)).presets

    @operation
    def put_preset(self, /, name: str, parameters: str = "", **values: Any) -> Steps[m.Preset]:
        """Keep parameters, as they are typed, under a name: `imagine("a cat", preset=name)`.

        Args:
            name: letters, digits, _ and -; what it stood for before is forgotten.
            parameters: like `--ar 3:2 --s 250`.
            values: further ones by name, as `imagine` takes them, like `aspect=(3, 2)`.
        """
        request = asked(m.PutPreset(name=name, parameters=parameters, values=kept(values)))
        if values and "values" not in (yield from self._commands._welcome()).features:
            raise unsupported("values")
        return (yield from self._call(request, m.Preset))

    @operation
    def delete_preset(self, name: str) -> Steps[bool]:
        """Forget a preset. Return whether there was one."""
        return (yield from self._call(m.DeletePreset(name=name), m.Done)).changed

    @operation
    def download(
        self, path: str | os.PathLike[str], jobs: Iterable[JobCommands | str], *, force: bool = False
    ) -> Steps[dict[str, int]]:
        """Write the pictures of jobs into a zip file, which appears when it is whole. It has one picture in memory at a
        time. Its last file, `manifest.jsonl`, lists them all, and says which are gone.

        Args:
            path: of the file.
            jobs: in whose order the pictures stand; the grids are left out.
            force: whether a file of that name is replaced.

        Returns:
            Numbers: "pictures" in it, "missing" (jobs or pictures that are not there any more) and "bytes".

        Raises:
            OutputError: the file exists (without `force`), or cannot be written; then nothing is left of it.
        """
        ids = tuple(dict.fromkeys(_ids_of(jobs)))
        from ...zips import ZipFileWriter, ZipPieces  # not for other requests

        target = ZipFileWriter(path, force=force)
        yield Work(target.open)
        try:
            pieces = ZipPieces()
            for start in range(0, len(ids), AT_ONCE):
                part = ids[start : start + AT_ONCE]
                yield from self._pack(part, pieces, target)
            yield Work(lambda: target.write(pieces.end()))
            yield Work(target.publish)
        finally:
            target.discard()
        return {"pictures": pieces.pictures, "missing": pieces.missing, "bytes": target.size}

    def _pack(self, ids: tuple[str, ...], pieces: ZipPieces, target: ZipFileWriter) -> Steps[None]:
        """Fetch the pictures of jobs and write them."""
        infos = {info.job: info for info in (yield from self._show(ids))}
        for job in ids:
            info = infos.get(job)
            shown = [one for one in info.pictures if one.index >= 0] if info is not None else []
            if info is None or not shown:
                state = "it was deleted, or is another's private one" if info is None else f"it is {info.state}"
                pieces.leave_out(job, state)
                continue
            for picture in shown:
                try:
                    (data,) = yield from fetch(self._core, job, [picture.index], self._timeout_s)
                except NotFound as error:
                    pieces.leave_out(job, str(error), picture.index)
                    continue
                yield Work(partial(_add, pieces, target, info, picture, data))

    def _show(self, ids: tuple[str, ...]) -> Steps[tuple[m.JobInfo, ...]]:
        found: list[m.JobInfo] = []
        left = ids
        while left:
            part = left[:MAX_PAGE]
            page = yield from self._call(m.ShowJobs(jobs=part), m.JobList)
            found += page.jobs
            left = left[page.next or len(part) :]
        return tuple(found)

    def _change(self, act: str, jobs: Iterable[JobCommands | str], folder: str = "") -> Steps[m.JobsChanged]:
        ids = tuple(dict.fromkeys(_ids_of(jobs)))
        changed, refused = 0, list[m.NotChanged]()
        for start in range(0, len(ids), MAX_BULK):
            request = m.ChangeJobs(act=act, jobs=ids[start : start + MAX_BULK], folder=folder)
            done = yield from self._call(request, m.JobsChanged)
            changed += done.changed
            refused += done.refused
        return m.JobsChanged(changed=changed, refused=tuple(refused))

    def _call(self, request: m.Record, kind: type[R]) -> Steps[R]:
        request = asked(request)  # what is wrong is refused without a server
        if "organize" not in (yield from self._commands._welcome()).features:
            raise unsupported("organize")
        return (yield from call(self._core, request, kind, self._timeout_s))


def _add(pieces: ZipPieces, target: ZipFileWriter, info: m.JobInfo, picture: m.Picture, data: bytes) -> None:
    target.write(pieces.add(info, picture, data))


def _ids_of(jobs: Iterable[JobCommands | str]) -> tuple[str, ...]:
    return tuple(job.id if isinstance(job, JobCommands) else job for job in jobs)
