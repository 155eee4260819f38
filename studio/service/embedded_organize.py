"""Ask a durable studio about many jobs at once: every method is one of `OrganizeService`, and waits for its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...bounds import LOCAL
from .durable_job import ANSWER_S
from .organized import Changed, Folder, Marks, NameList, NamesQuery, Preset

if TYPE_CHECKING:
    from .embedded import DurableStudio
    from .job_record import JobRecord
    from .organizing import OrganizeService


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
        query = NamesQuery(search=search, **wanted)
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
