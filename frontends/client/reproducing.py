"""Define how a picture is made again on a server and compared, once for both clients."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from ...errors import complaint
from ...recipe_text import FORMATS, MAX_TEXT, text_in
from .errors import invalid
from .flavours import operation
from .jobs import JobCommands
from .making import MakingCommands, PictureFile
from .steps import Steps, fetch, seconds_of
from .uploads import read_bytes

J = TypeVar("J", bound=JobCommands)


@dataclass(frozen=True)
class Reproduced(Generic[J]):
    """A picture that was made again.

    Attributes:
        job: that made it.
        same: whether it has the same pixels.
        expected, made: SHA-256s (hex) of the pixels: what the recipe says, and what came of it.
        file: the picture's file, a PNG with its recipe inside.
    """

    job: J
    same: bool
    expected: str
    made: str
    file: bytes


class ReproducingCommands(MakingCommands[J]):
    """The requests that make pictures again."""

    @operation
    def reproduce(
        self, /, picture: PictureFile, *, timeout_s: float | None = None, **options: Any
    ) -> Steps[Reproduced[J]]:
        """Make a picture again from the recipe inside its file, and compare pixels. What the recipe refers to, such as
        a picture that it starts from, has to be brought before by `add_reference`, unless a job there has it.

        Args:
            picture: a file that Salon made, or the bytes of one.
            timeout_s: the longest wait for the job, in seconds. None: no bound while there is a server.
            options: `lane`, `private`, `previews`, `key`.

        Raises:
            Invalid: the file has no recipe, it is of another model, or a picture that it refers to is not there.
            JobFailed, JobCancelled, JobBlocked: the job ended without pictures.
        """
        timeout_s = None if timeout_s is None else seconds_of(timeout_s)  # before anything is brought
        data = picture if isinstance(picture, bytes) else read_bytes(picture)
        image, expected = _said(data)
        digest = yield from self._bring(data)
        job = yield from self._make("reproduce", "", [digest], options)
        yield from job._wait(timeout_s)
        (file,) = yield from fetch(self._core, job.id, [-1 if image is None else image], self._timeout_s)
        made = _said(file)[1]
        return Reproduced(job, made == expected, expected, made, file)


class _Recipe(msgspec.Struct):
    """What a recipe says of its picture: its index, None of a grid, and the hash of its pixels."""

    image: int | None
    pixels: str


def _said(data: bytes) -> tuple[int | None, str]:
    """Return what the recipe in a file says of its picture. Invalid: it has none."""
    from PIL import Image  # not for other requests

    allowed, remedy = "a picture that Salon made", "give the original"
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            text = text_in(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise invalid(complaint("picture", "no picture, or a damaged one", allowed, remedy)) from error
    if text is None or len(text) > MAX_TEXT:
        raise invalid(complaint("picture", "no recipe inside", allowed, remedy))
    try:
        recipe = msgspec.json.decode(text.encode(), type=_Recipe)
    except msgspec.DecodeError as error:
        raise invalid(complaint("picture", "a recipe that cannot be read", allowed, remedy)) from error
    return recipe.image, recipe.pixels
