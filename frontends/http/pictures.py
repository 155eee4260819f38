"""Bring the pictures of ended jobs into the form that a request wants, and give them names that cannot be guessed."""

from __future__ import annotations

import asyncio
import io
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from ...bounds import GRID
from ...studio.service.errors import no_such_job
from ...studio.service.job_record import JobRecord, StoredPicture
from ...studio.service.recipe_files import transcode
from ...studio.service.service import Service
from .asked import FORMATS, Form
from .errors import BLOCKED, HttpRefused

KEEP_S: Final = 3600.0  # for which a link works
MANY: Final = 10_000  # links that work at a time; the oldest end first
ENDS: Final = {
    "failed": (500, "server_error"),
    "cancelled": (409, "conflict"),
    "blocked": (400, "image_generation_user_error"),
}


def want_done(record: JobRecord) -> None:
    """Raise HttpRefused for a job that has ended without pictures."""
    if record.state in ENDS:
        status, type = ENDS[record.state]
        why = record.reason or "no reason was given"
        code = BLOCKED if record.state == "blocked" else record.failure or record.state
        raise HttpRefused(f"job {record.job}: it is {record.state} ({why})", status=status, code=code, type=type)
    if record.texts:
        raise HttpRefused("prompt: got one that makes no pictures, allowed one that does; correct it", param="prompt")


def pictures_of(record: JobRecord) -> list[StoredPicture]:
    """Return the single pictures of a job, in their order."""
    return sorted((each for each in record.pictures if each.index != GRID), key=lambda each: each.index)


async def file_of(service: Service, job: str, picture: StoredPicture, form: Form) -> bytes:
    """Return a picture in a form; a PNG is the file that is kept, to the byte. UnknownJob: it was deleted."""
    png = await service.file(job, picture)
    return png if form.format == "png" else await asyncio.to_thread(transcode, png, FORMATS[form.format], form.quality)


async def preview_in(jpeg: bytes, form: Form) -> bytes:
    """Return a preview, which is a JPEG, in a form."""
    return jpeg if form.format == "jpeg" else await asyncio.to_thread(_converted, jpeg, FORMATS[form.format])


def _converted(jpeg: bytes, format: str) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.open(io.BytesIO(jpeg)).save(buffer, format)
    return buffer.getvalue()


class Link(NamedTuple):
    """A picture that has a link, for the account that made it.

    Attributes:
        account, job, number: whose it is, and which picture of the job, from 0.
        form: in which it is sent.
        ends: on the clock of `Links`, seconds.
    """

    account: str
    job: str
    number: int
    form: Form
    ends: float


class Links:
    """The links of pictures. They end with the server.

    Args:
        clock: returns seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._links: OrderedDict[str, Link] = OrderedDict()

    def add(self, account: str, job: str, index: int, form: Form) -> str:
        """Return the name of a new link, for `KEEP_S` seconds."""
        name = f"{secrets.token_urlsafe(24)}.{form.format}"
        self._links[name] = Link(account, job, index, form, self._clock() + KEEP_S)
        while len(self._links) > MANY or next(iter(self._links.values())).ends < self._clock():
            self._links.popitem(last=False)
        return name

    async def open(self, service: Service, account: str, name: str) -> tuple[bytes, str]:
        """Return the file of a link, and its format. HttpRefused, UnknownJob: it does not exist, or not any more."""
        link = self._links.get(name)
        if link is None or link.account != account or link.ends < self._clock():
            raise HttpRefused("file: there is none of this name, or not any more", status=404, code="not_found")
        record = await service.find(link.job, account)
        for picture in pictures_of(record):
            if picture.index == link.number:
                return await file_of(service, link.job, picture, link.form), link.form.format
        raise no_such_job(link.job)
