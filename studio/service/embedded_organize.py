"""Ask a durable studio about many jobs at once: every method is one of `OrganizeService`, and waits for its answer."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ...bounds import LOCAL
from ...zips import ZipFileWriter, ZipPieces
from ..errors import BlobMissing
from .durable_job import ANSWER_S
from .given import checked_struct, checks_arguments
from .organized import Changed, Folder, Marks, NameList, NamesQuery, Preset

if TYPE_CHECKING:
    from .embedded import DurableStudio
    from .job_record import JobRecord
    from .organizing import OrganizeService


AT_ONCE: Final = 50  # jobs whose records a download asks for at a time


@checks_arguments()
class DurableOrganize:
    """The jobs of a studio's user, many at once. Arguments and errors are those of `OrganizeService`, for the account
    of the studio; `timeout_s` is the longest wait for the answer, in seconds.

    Args:
        studio: answers.
    """

    def __init__(self, studio: DurableStudio) -> None:
        self._studio = studio

    def names(self, search: str = "", *, timeout_s: float = ANSWER_S, **wanted: Any) -> NameList:
        """Return a page of the names of jobs that fit. `wanted`: fields of `NamesQuery`; TypeError: another name."""
        query = checked_struct(NamesQuery(search=search, **wanted))
        return self._studio._ask(self._organize.names(LOCAL, query), timeout_s)

    def show(self, jobs: Sequence[str], *, timeout_s: float = ANSWER_S) -> tuple[JobRecord, ...]:
        """Return the records of jobs, in their order, without those that are not there."""
        found, left = list[Any](), list(jobs)
        while left:
            records, looked = self._studio._ask(self._organize.show(LOCAL, left), timeout_s)
            found += records
            left = left[looked:]
        return tuple(found)

    def marks(self, jobs: Sequence[str], *, timeout_s: float = ANSWER_S) -> Marks:
        """Return which of their pictures are liked, whether jobs are hidden, and in which folders they are."""
        return self._studio._ask(self._organize.marks(LOCAL, jobs), timeout_s)

    def change(self, act: str, jobs: Sequence[str], folder: str = "", *, timeout_s: float = ANSWER_S) -> Changed:
        """Publish, hide, delete many jobs, or put them into a folder; see `OrganizeService.change`."""
        return self._studio._ask(self._organize.change(LOCAL, act, jobs, folder), timeout_s)

    def download(
        self, path: str | os.PathLike[str], jobs: Sequence[str], *, force: bool = False, timeout_s: float = ANSWER_S
    ) -> dict[str, int]:
        """Write the pictures of jobs into a zip file, which appears when it is whole. It has one picture in memory at a
        time. Its last file, `manifest.jsonl`, lists them all, and says which are gone.

        Args:
            path: of the file.
            jobs: their ids, in whose order the pictures stand; the grids are left out.
            force: whether a file of that name is replaced.
            timeout_s: the longest wait for each answer, in seconds.

        Returns:
            Numbers: "pictures" in it, "missing" (jobs or pictures that are not there any more) and "bytes".

        Raises:
            OutputError: the file exists (without `force`), or cannot be written; then nothing is left of it.
        """
        target, pieces = ZipFileWriter(path, force=force), ZipPieces()
        ids = list(dict.fromkeys(jobs))
        target.open()
        try:
            for start in range(0, len(ids), AT_ONCE):
                part = ids[start : start + AT_ONCE]
                found = {record.job: record for record in self.show(part, timeout_s=timeout_s)}
                for job in part:
                    self._pack(job, found.get(job), pieces, target)
            target.write(pieces.end())
            target.publish()
        finally:
            target.discard()
        return {"pictures": pieces.pictures, "missing": pieces.missing, "bytes": target.size}

    def _pack(self, job: str, record: JobRecord | None, pieces: ZipPieces, target: ZipFileWriter) -> None:
        shown = [one for one in record.pictures if one.index >= 0] if record is not None else []
        if record is None or not shown:
            pieces.leave_out(job, "it was deleted" if record is None else f"it is {record.state}")
            return
        for picture in shown:
            try:
                data = self._studio._context.blobs.get(picture.digest)
            except BlobMissing as error:  # it was deleted meanwhile
                pieces.leave_out(job, str(error), picture.index)
            else:
                target.write(pieces.add(record, picture, data))

    def folders(self, *, timeout_s: float = ANSWER_S) -> tuple[Folder, ...]:
        """Return the folders, by name."""
        return self._studio._ask(self._organize.folders.listed(LOCAL), timeout_s)

    def new_folder(self, name: str, *, timeout_s: float = ANSWER_S) -> Folder:
        """Make a folder, or return the one of that name."""
        return self._studio._ask(self._organize.folders.new(LOCAL, name), timeout_s)

    def rename_folder(self, folder: str, name: str, *, timeout_s: float = ANSWER_S) -> Folder:
        """Give a folder, by its id or name, another name."""
        return self._studio._ask(self._organize.folders.rename(LOCAL, folder, name), timeout_s)

    def delete_folder(self, folder: str, *, timeout_s: float = ANSWER_S) -> bool:
        """Delete a folder, by its id or name; its jobs stay. Return whether there was one."""
        return self._studio._ask(self._organize.folders.delete(LOCAL, folder), timeout_s)

    def presets(self, *, timeout_s: float = ANSWER_S) -> tuple[Preset, ...]:
        """Return the presets, by name."""
        return self._studio._ask(self._organize.presets.listed(LOCAL), timeout_s)

    def put_preset(
        self, name: str, parameters: str = "", *, values: Mapping[str, Any] | None = None, timeout_s: float = ANSWER_S
    ) -> Preset:
        """Keep parameters, as they are typed or by their names, under a name, for `submit` with `--preset NAME`."""
        return self._studio._ask(self._organize.presets.put(LOCAL, name, parameters, values or {}), timeout_s)

    def delete_preset(self, name: str, *, timeout_s: float = ANSWER_S) -> bool:
        """Forget a preset. Return whether there was one."""
        return self._studio._ask(self._organize.presets.delete(LOCAL, name), timeout_s)

    @property
    def _organize(self) -> OrganizeService:
        return self._studio._open.organize
