"""Send pictures, their thumbnails and previews to accounts that may see their jobs. Browsers keep them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from ...bounds import GRID
from ...engine.errors import SpecError
from ...errors import complaint
from ...parameters.references import DIGEST
from ...studio.service.errors import no_such_job
from ...studio.service.job_record import StoredPicture
from ...studio.service.service import Service
from ...values import shown
from .asked import FORMATS, Form
from .errors import HttpRefused
from .gate import ACCOUNT
from .pictures import file_of

FOREVER: Final = "private, max-age=31536000, immutable"
PART: Final = 1 << 18  # bytes that are sent at a time, so that a slow reader does not have more of them wait
_INDEX: Final = re.compile(r"-1|0|[1-9][0-9]{0,4}")
_NUMBER: Final = re.compile(r"[0-9]{1,18}")  # Python reads no integers of thousands of digits
_QUERY: Final = ("form", "download")


class Stored:
    """The endpoints that send pictures. Used on the event loop's thread.

    Args:
        service: has the pictures, and knows who may see them.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    async def picture(self, request: Request) -> Response:
        """Answer with the file of a picture, or with another form of it."""
        job, picture = await self._find(request)
        if (strange := next((name for name in request.query_params if name not in _QUERY), None)) is not None:
            raise HttpRefused(complaint("query", shown(strange), " or ".join(_QUERY), "drop it"), code="invalid")
        form = request.query_params.get("form", "png")
        if form not in FORMATS:
            raise HttpRefused(complaint("form", shown(form), ", ".join(FORMATS), "choose one"), code="invalid")
        headers = {"cache-control": FOREVER, "etag": f'"{picture.digest}{"" if form == "png" else f"-{form}"}"'}
        if request.query_params.get("download", "") not in ("", "0"):
            number = "grid" if picture.index == GRID else str(picture.index + 1)
            name = re.sub(r"[^A-Za-z0-9._-]", "-", job)
            headers["content-disposition"] = f'attachment; filename="salon-{name}-{number}.{form}"'
        if matches(request, headers["etag"]):
            return Response(status_code=304, headers=headers)
        data = await file_of(self._service, job, picture, Form(form))
        return file_answer(data, f"image/{form}", headers)

    async def thumbnail(self, request: Request) -> Response:
        """Answer with a small WebP file of a picture."""
        job, picture = await self._find(request)
        side = _number(request, "side")
        headers = {"cache-control": FOREVER, "etag": f'"{picture.digest}-{side}"'}
        if matches(request, headers["etag"]):
            return Response(status_code=304, headers=headers)
        data = await self._service.thumbnail(job, picture, side)
        return file_answer(data, "image/webp", headers)

    async def reference(self, request: Request) -> Response:
        """Answer with a small WebP file of a picture that the account has brought, or that a job shows it."""
        digest = request.path_params["digest"]
        headers = {"cache-control": FOREVER, "etag": f'"{digest[:64]}-small"'}
        try:
            if not DIGEST.fullmatch(digest):
                raise SpecError(complaint("picture", shown(digest[:80]), "the SHA-256 of its file", "correct it"))
            data = await self._service.jobs.references.small(request.scope[ACCOUNT], digest)
        except SpecError as error:
            raise HttpRefused(str(error), status=404, code="not_found") from error
        return file_answer(data, "image/webp", headers)

    async def preview(self, request: Request) -> Response:
        """Answer with the latest preview of a job; one that a later one has replaced is gone."""
        job, event = request.path_params["job"], _number(request, "event")
        log = await self._service.log(job, request.scope[ACCOUNT])
        latest = next((each.number for each in reversed(log.events) if each.kind == "preview"), None)
        if latest is None:
            text = complaint("preview", f"{event} of job {shown(job)}", "one of a job that goes on", "see /api/events")
            raise HttpRefused(text, status=404, code="not_found")
        cached = "private, max-age=600, immutable" if latest == event else "no-store"
        return file_answer(log.preview, "image/jpeg", {"cache-control": cached})

    async def _find(self, request: Request) -> tuple[str, StoredPicture]:
        job, said = request.path_params["job"], request.path_params["index"]
        if not _INDEX.fullmatch(said):
            text = complaint("index", shown(said), "0 and up, or -1 for the grid", "correct it")
            raise HttpRefused(text, code="invalid")
        row, pictures = await self._service.found(job, request.scope[ACCOUNT])
        for picture in pictures:
            if picture.index == int(said):
                return row.job, picture
        if pictures:
            text = complaint("index", said, f"0 to {max(each.index for each in pictures)}, or -1", "correct it")
            raise HttpRefused(text, status=404, code="not_found")
        raise no_such_job(job)


def _number(request: Request, name: str) -> int:
    """Return a number of a request's path. HttpRefused: it is none."""
    said = request.path_params[name]
    if not _NUMBER.fullmatch(said):
        raise HttpRefused(complaint(name, shown(said[:80]), "a whole number", "correct it"), code="invalid")
    return int(said)


def matches(request: Request, etag: str) -> bool:
    """Return whether the asking browser has the file already."""
    said = request.headers.get("if-none-match", "")
    return etag in [each.strip().removeprefix("W/") for each in said.split(",")]


def file_answer(data: bytes, media_type: str, headers: Mapping[str, str]) -> Response:
    """Return an answer with a file, sent in parts."""
    if len(data) <= PART:
        return Response(data, headers=dict(headers), media_type=media_type)
    size = {"content-length": str(len(data))}
    return StreamingResponse(_parts(data), headers={**headers, **size}, media_type=media_type)


async def _parts(data: bytes) -> AsyncIterator[memoryview]:
    whole = memoryview(data)
    for start in range(0, len(data), PART):
        yield whole[start : start + PART]
