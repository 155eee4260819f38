"""Define the messages about many jobs at once (feature "organize"): names, changes of many, folders and presets.

They are a part of `messages.py`, which has them all. Times are UTC ms.
"""

# mypy: disable-error-code="misc"
# (msgspec inherits `frozen`; the checker wants it said again in every record)

from __future__ import annotations

from typing import Any, Final

import msgspec

from .record import Record

WHOSE: Final = ("own", "public", "all")
ACTS: Final = ("publish", "unpublish", "hide", "unhide", "delete", "add", "remove")


# ---- parts ---------------------------------------------------------------------------------------------------------


class NotChanged(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A job that a change was refused for: name and words of the error."""

    job: str
    kind: str
    text: str


# ---- from the client -----------------------------------------------------------------------------------------------


class ListNames(Record, tag="organize.names"):
    """Ask for the names of jobs that fit, newest first. Answer: NameList. What is empty leaves out nothing.

    Attributes:
        whose: own; public, those of all accounts that are not private; or all that the account may see.
        owner: of public jobs, only this account's.
        search: words of the prompt or their beginnings, a seed, a job's id, a taste code; all of them are found.
        states: those that have not ended count as one.
        model: name and version of the model.
        from_ms, until_ms: made from then on, and before then.
        liked, rated: of which the account likes a picture; of which it has judged any.
        hidden, private: only those that are (true), that are not (false), or both (nil).
        folder: id or name of a folder of one's own.
        oldest: oldest first.
        after: `next` of the page before.
    """

    whose: str = "own"
    owner: str = ""
    search: str = ""
    kinds: tuple[str, ...] = ()
    lanes: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    model: str = ""
    from_ms: int = 0
    until_ms: int = 0
    liked: bool = False
    rated: bool = False
    hidden: bool | None = False
    private: bool | None = None
    folder: str = ""
    oldest: bool = False
    after: int = 0
    limit: int = 1000


class ShowJobs(Record, tag="organize.show"):
    """Ask for many jobs at once. Answer: JobList, in their order, without those that the account may not see.

    The answer's `next` is how many of the ids were looked at, where that is not all of them; ask for the others then.
    """

    jobs: tuple[str, ...]


class GetMarks(Record, tag="organize.marks"):
    """Ask what the account thinks of jobs. Answer: Marks."""

    jobs: tuple[str, ...]


class ChangeJobs(Record, tag="organize.change"):
    """Do one thing to many jobs, up to 1,000. Answer: JobsChanged.

    `act`: publish, unpublish or delete jobs of one's own; hide or unhide, in one's own lists alone; add to `folder`, or
    remove from it, by its id or name.
    """

    act: str
    jobs: tuple[str, ...]
    folder: str = ""


class ListFolders(Record, tag="organize.folders"):
    """Ask for the account's folders, by name. Answer: Folders."""


class NewFolder(Record, tag="organize.folder.new"):
    """Make a folder, unless there is one of that name. Answer: Folder."""

    name: str


class RenameFolder(Record, tag="organize.folder.rename"):
    """Give a folder, by its id or name, another name. Answer: Folder."""

    folder: str
    name: str


class DeleteFolder(Record, tag="organize.folder.delete"):
    """Delete a folder, by its id or name; its jobs stay. Answer: Done."""

    folder: str


class ListPresets(Record, tag="organize.presets"):
    """Ask for the account's presets, by name. Answer: Presets."""


class PutPreset(Record, tag="organize.preset.put"):
    """Keep parameters, as they are typed, under a name, which `--preset` takes. Answer: Preset. `values`: further ones
    by their names, as `Submit` has them; they are kept as they are typed, too (feature "values")."""

    name: str
    parameters: str = ""
    values: dict[str, Any] = {}


class DeletePreset(Record, tag="organize.preset.delete"):
    """Forget a preset. Answer: Done."""

    name: str


OrganizeRequest = (
    ListNames
    | ShowJobs
    | GetMarks
    | ChangeJobs
    | ListFolders
    | NewFolder
    | RenameFolder
    | DeleteFolder
    | ListPresets
    | PutPreset
    | DeletePreset
)


# ---- from the server -----------------------------------------------------------------------------------------------


class NameList(Record, tag="organize.names.kept"):
    """A page of names, in order: the jobs' ids, and how many pictures each has, without its grid.

    `next` is for `ListNames.after`; 0: there are no more. `total` and `total_pictures` count all that fit, on the first
    page; -1 on others.
    """

    jobs: tuple[str, ...] = ()
    pictures: tuple[int, ...] = ()
    next: int = 0
    total: int = 0
    total_pictures: int = 0


class Marks(Record, tag="organize.marks.kept"):
    """What an account thinks of jobs: by job the indexes of pictures that it likes, jobs that it hides, and by job the
    ids of up to 64 folders that have it."""

    liked: dict[str, tuple[int, ...]] = {}
    hidden: tuple[str, ...] = ()
    folders: dict[str, tuple[str, ...]] = {}


class JobsChanged(Record, tag="organize.changed"):
    """What became of a change: how many jobs are otherwise now, and for which it was refused. The others were so
    before."""

    changed: int = 0
    refused: tuple[NotChanged, ...] = ()


class Folder(Record, tag="organize.folder"):
    """A folder: its id, its name, and how many jobs it has that the account may see."""

    folder: str
    name: str
    made_ms: int = 0
    jobs: int = 0


class Folders(Record, tag="organize.folders.kept"):
    """The folders of an account."""

    folders: tuple[Folder, ...]


class Preset(Record, tag="organize.preset"):
    """Parameters under a name."""

    name: str
    parameters: str
    made_ms: int = 0


class Presets(Record, tag="organize.presets.kept"):
    """The presets of an account."""

    presets: tuple[Preset, ...]


OrganizeReply = NameList | Marks | JobsChanged | Folder | Folders | Preset | Presets
