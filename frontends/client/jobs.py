"""Define the operations of a job, once for both clients; `client.py` and `aio.py` make them callable.

Besides the errors named here, every method may raise `RequestFailed`, `TimedOut`, `Disconnected` and `ClientClosed`.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from ...bounds import FINAL
from ...errors import complaint
from ...given import each_of, plain_text
from ..wire import messages as m
from .errors import BadPicture, JobBlocked, JobCancelled, JobFailed, NotFound
from .exchanges import Call, Exchange, Watching
from .flavours import Flavour, operation, stream
from .given import ARGUMENTS
from .steps import Item, JobEvent, Steps, Stream, Wait, Work, answer, call, fetch, seconds_of, take, wait, watch
from .uploads import name_of_file

if TYPE_CHECKING:
    from PIL.Image import Image

_ENDED: Final = {"failed": JobFailed, "cancelled": JobCancelled, "blocked": JobBlocked}
_STATES: Final = {"started": "running", "step": "running", "resumed": "running", "requeued": "queued"}
_NAMED: Final = ("queued", "paused", *FINAL)  # events that have the name of the state that they lead to
_SUFFIX: Final = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}
_ODD: Final = re.compile(r"[^A-Za-z0-9._-]")
_PAUSE_S: Final = 0.25  # before a watch that ended too early is begun again


class JobCommands(Flavour):
    """A job on the server. The job does not depend on this object: `client.job(id)` makes another.

    Attributes:
        info: the last known state of the job, from `refresh`, `wait` and `events`.
    """

    info: m.JobInfo

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r}, {self.state})"

    @property
    def id(self) -> str:
        """Id of the job on the server."""
        return self.info.job

    @property
    def state(self) -> str:
        """Last known state: queued, running, paused, done, failed, cancelled, blocked."""
        return self.info.state

    def _source(self, index: int) -> m.Source:
        """Return how requests name one of the job's pictures, from 0; from -1 backwards.

        IndexError: it has none; Invalid: the index is no whole number.
        """
        images, number = self.info.images, ARGUMENTS.read("int", "index", index)
        if not -images <= number < images:
            raise IndexError(complaint("picture", str(number), f"0 to {images - 1}", "choose one of these"))
        return m.Source(job=self.id, index=number % images)

    @operation
    def refresh(self) -> Steps[m.JobInfo]:
        """Ask the server for the job's state, and return it."""
        return (yield from self._refresh())

    @stream
    def events(self, after: int = 0, timeout_s: float | None = None, previews: bool = False) -> Stream[JobEvent]:
        """Yield the job's events up to its final one, without gaps or repeats, across lost connections and restarts.

        A slow reader misses steps and previews, never the other kinds. The caller may leave the loop at any time.

        Args:
            after: only events after that number.
            timeout_s: the longest time without an event, in seconds. None: no bound while there is a server; without
                one for the client's `timeout_s`, Disconnected.
            previews: whether preview events carry pictures of the unfinished grid, if the job was submitted with
                `previews`.
        """
        with contextlib.closing(watch(self._core, self.id, after, previews, timeout_s)) as steps:
            for step in steps:
                if isinstance(step, Item):
                    self._heard(step.value)
                yield step

    @operation
    def wait(self, timeout_s: float | None = None) -> Steps[m.JobInfo]:
        """Wait until the job is done, and return it.

        Args:
            timeout_s: the longest wait, in seconds. None: no bound while there is a server.

        Raises:
            JobFailed, JobCancelled, JobBlocked: the job ended without pictures.
        """
        return (yield from self._wait(timeout_s))

    @operation
    def result(self, timeout_s: float | None = None) -> Steps[list[bytes]]:
        """Wait until the job is done, and return all single pictures in order.

        This is `wait` and `pictures` in one, as a `Studio`'s job has it, with their errors.
        """
        yield from self._wait(timeout_s)
        return (yield from self._pictures())

    @operation
    def texts(self, timeout_s: float | None = None) -> Steps[tuple[m.JobText, ...]]:
        """Wait until the job is done, and return the texts that it made in place of pictures, the best first.

        Raises as `wait`.
        """
        return (yield from self._wait(timeout_s)).texts

    def _wait(self, timeout_s: float | None) -> Steps[m.JobInfo]:
        end = math.inf if timeout_s is None else self._core.clock() + seconds_of(timeout_s)
        while True:
            yield from self._until_final(end)
            info = yield from self._refresh()
            if info.state in FINAL:
                break
            yield Wait(Exchange(), min(end, self._core.clock() + _PAUSE_S))  # the server ended that watch early
        if info.state in _ENDED:
            raise _ENDED[info.state](info)
        return info

    @operation
    def picture(self, index: int = 0) -> Steps[bytes]:
        """Return a picture as the server keeps it: a PNG with its recipe inside.

        A picture exists as soon as its event "image" has come.

        Raises:
            NotFound: the picture does not exist (yet).
            BadPicture: its bytes do not have its sha256.
        """
        return (yield from fetch(self._core, self.id, [index], self._timeout_s))[0]

    @operation
    def grid(self) -> Steps[bytes]:
        """Return all pictures in one. Raises as `picture`."""
        return (yield from fetch(self._core, self.id, [m.GRID], self._timeout_s))[0]

    @operation
    def pictures(self) -> Steps[list[bytes]]:
        """Return all single pictures that exist now, in order. Raises as `picture`."""
        return (yield from self._pictures())

    @operation
    def images(self) -> Steps[list[Image]]:
        """Return the pictures of `pictures` as images of Pillow.

        Raise BadPicture also for one that Pillow cannot read.
        """
        files = yield from self._pictures()
        images: list[Image] = yield Work(lambda: [_decode(file) for file in files])
        return images

    @operation
    def save(self, folder: str | os.PathLike[str]) -> Steps[list[Path]]:
        """Write all pictures that exist now, whole or not at all, and return their paths.

        ID.png is the grid, and ID-1.png, ID-2.png, ... are the pictures. A picture without a grid is ID.png. Files of
        the same name are replaced. Raises as `picture`, and OSError; Invalid for what is no name of a folder.

        Args:
            folder: the folder to write into; it is made if it does not exist.
        """
        where = Path(name_of_file(folder, "folder"))
        pictures = sorted((yield from self._refresh()).pictures, key=lambda picture: picture.index)
        files = yield from fetch(self._core, self.id, [picture.index for picture in pictures], self._timeout_s)
        names = [_name(self.id, picture, alone=len(pictures) == 1) for picture in pictures]
        paths: list[Path] = yield Work(lambda: _write(where, dict(zip(names, files, strict=True))))
        return paths

    @operation
    def cancel(self) -> Steps[bool]:
        """End exactly this job. Return whether it had not ended yet."""
        exchange = Call(m.Cancel(job=self.id), self._core.clock() + self._timeout_s)
        changed = (yield from answer(self._core, exchange, m.Done)).changed
        if not changed and exchange.doubtful:  # perhaps this call ended it, and the answer was lost
            changed = (yield from self._refresh()).state == "cancelled"
        return changed

    @operation
    def delete(self) -> Steps[None]:
        """Remove the job, which must have ended: its pictures from the server's disk, its prompt from the records.

        From then on every other request about it gets NotFound. Removing it again changes nothing.
        """
        exchange = Call(m.Delete(job=self.id), self._core.clock() + self._timeout_s)
        try:
            yield from answer(self._core, exchange, m.Done)
        except NotFound:
            if not exchange.doubtful:  # else this call removed it, and the answer was lost
                raise

    def _refresh(self) -> Steps[m.JobInfo]:
        self.info = yield from call(self._core, m.Show(job=self.id), m.JobInfo, self._timeout_s)
        return self.info

    def _until_final(self, end: float) -> Steps[None]:
        exchange = Watching(self.id, self.info.last_event, previews=False)
        exchange.deadline = end
        self._core.ask(exchange)
        try:
            while True:
                yield from wait(self._core, exchange)
                taken = take(exchange)
                if taken is None:
                    return
                self._heard(taken[0])
        finally:
            self._core.drop(exchange)

    def _pictures(self) -> Steps[list[bytes]]:
        pictures = (yield from self._refresh()).pictures
        indexes = sorted(picture.index for picture in pictures if picture.index != m.GRID)
        return (yield from fetch(self._core, self.id, indexes, self._timeout_s))

    def _heard(self, event: m.Event | JobEvent) -> None:
        """Update `info` by what an event says."""
        info = self.info
        if event.number <= info.last_event:
            return
        state = event.kind if event.kind in _NAMED else _STATES.get(event.kind, info.state)
        pictures = info.pictures
        if event.picture is not None:
            others = [picture for picture in pictures if picture.index != event.picture.index]
            pictures = tuple(sorted([*others, event.picture], key=lambda picture: picture.index))
        self.info = replace(
            info,
            state=state,
            step=event.step if event.kind == "step" else info.step,
            reason=info.reason if event.kind == "note" else event.reason or info.reason,
            notes=tuple(dict.fromkeys((*info.notes, event.reason))) if event.kind == "note" else info.notes,
            pictures=pictures,
            last_event=event.number,
        )


def job_or_id(value: Any) -> JobCommands | str | None:
    """Return a job, or an id as text; None for any other value."""
    return value if isinstance(value, JobCommands) else plain_text(value)


def _jobs(values: Any) -> Any:
    """Return jobs or their ids; also one of them, which is taken for one, and not for its letters."""
    return each_of(job_or_id)(values) if job_or_id(values) is None else (job_or_id(values),)


ARGUMENTS.kinds |= {
    "JobCommands | str": ("a job, or the id of one", job_or_id),
    "Iterable[JobCommands | str]": ("a list of jobs, or of their ids", _jobs),
}


def _decode(file: bytes) -> Image:
    from io import BytesIO

    from PIL import Image

    try:
        image = Image.open(BytesIO(file))
        image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadPicture(complaint("picture", str(error), "a picture that Pillow reads", "take its bytes")) from error
    return image


def _name(job: str, picture: m.Picture, *, alone: bool) -> str:
    number = "" if alone or picture.index == m.GRID else f"-{picture.index + 1}"
    return f"{_ODD.sub('_', job)}{number}{_SUFFIX.get(picture.media_type, '.bin')}"


def _write(folder: Path, files: dict[str, bytes]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    spares: list[tuple[Path, Path]] = []
    try:
        for name, data in files.items():
            spare = folder / f".{os.urandom(8).hex()}.part"
            spares.append((spare, folder / name))
            spare.write_bytes(data)
        for spare, path in spares:
            os.replace(spare, path)
    finally:
        for spare, _ in spares:
            spare.unlink(missing_ok=True)
    return [path for _, path in spares]
