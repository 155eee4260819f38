"""State what is told of many jobs at once, of folders and of presets, as plain data. Times are UTC ms."""

from __future__ import annotations

from typing import Final

import msgspec

PUBLISH, UNPUBLISH, HIDE, UNHIDE, DELETE = "publish", "unpublish", "hide", "unhide", "delete"
ADD, REMOVE = "add", "remove"  # of a folder's jobs
ACTS: Final = (PUBLISH, UNPUBLISH, HIDE, UNHIDE, DELETE, ADD, REMOVE)


class NamesQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs are wanted. What is empty leaves out nothing.

    Attributes:
        whose: "own"; "public", those of all accounts that are not private; or "all" that the account may see.
        owner: of public jobs, only this account's.
        search: words of the prompt or their beginnings, a seed, a job's id, a taste code; all of them have to be found.
        kinds, lanes: of these.
        states: in these; those that have not ended count as one.
        model: drawn by the model of this name and version.
        from_ms, until_ms: made from then on, and before then.
        liked, rated: of which the account likes a picture; of which it has judged any.
        hidden: only those that the account hides (True), none of them (False), or both (None).
        private: only private ones (True), none of them (False), or both (None).
        folder: id or name of a folder.
        oldest: whether the oldest comes first.
        after: `next` of the page before; 0: the first page.
        limit: number of names, at most, up to `bounds.MAX_NAMES`.
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


class NameList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of names of jobs, in order.

    Attributes:
        jobs: ids.
        pictures: how many pictures each has, without its grid.
        next: for `NamesQuery.after`; 0: there is no further page.
        total, total_pictures: number of all jobs that fit, and of their pictures; of the first page alone, else -1.
    """

    jobs: tuple[str, ...] = ()
    pictures: tuple[int, ...] = ()
    next: int = 0
    total: int = 0
    total_pictures: int = 0


class NotChanged(msgspec.Struct, frozen=True, kw_only=True):
    """A job that a change was refused for: the error's name, and its words."""

    job: str
    kind: str
    text: str


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a change of many jobs: how many are otherwise now, and for which it was refused. All others were
    so before."""

    changed: int = 0
    refused: tuple[NotChanged, ...] = ()


class Marks(msgspec.Struct, frozen=True, kw_only=True):
    """What an account thinks of jobs: which of their pictures it likes, whether it hides them, in which folders."""

    liked: dict[str, tuple[int, ...]] = {}
    hidden: tuple[str, ...] = ()
    folders: dict[str, tuple[str, ...]] = {}


class Folder(msgspec.Struct, frozen=True, kw_only=True):
    """A folder: its id, its owner's name for it, and how many jobs it has that the owner may see."""

    folder: str
    name: str
    made_ms: int = 0
    jobs: int = 0


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters under a name, as they are typed."""

    name: str
    parameters: str
    made_ms: int = 0
