"""Carry out requests for pictures: submit, wait, and answer with pictures or with events."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from ...studio.service.job_record import JobRecord, StoredPicture
from ...studio.service.service import Service
from .asked import Asked
from .errors import HttpRefused, body_of, refusal_of
from .following import Ending, Follower
from .models import want_model
from .pictures import Links, file_of, pictures_of, preview_in, want_done
from .reading import aside

KINDS: Final = ("image_generation", "image_edit")  # of events; the second of requests that bring pictures
STEPS: Final = "steps"  # a parameter
LEFT: Final = 499  # the status, as nginx has it, of an answer that nobody waits for


class Generations:
    """The requests for pictures of all accounts. Used on the event loop's thread.

    Args:
        service: carries them out.
        links: names of pictures.
        ending: tells of the server's end.
    """

    def __init__(self, service: Service, links: Links, ending: Ending) -> None:
        self._service, self._links, self._ending = service, links, ending

    async def submit(self, account: str, asked: Asked) -> tuple[str, ...]:
        """Accept the jobs of a request, and return their ids: all or none, once for each key.

        Raises:
            HttpRefused: there is no such model.
            As `Service.submit_all`.
        """
        want_model(self._service.context, asked.model)
        request = asked.request
        if asked.partial:
            plan = await self._service.plan(account, request)
            steps = min(int(job.parameters.get(STEPS) or 1) for job in plan.jobs)
            request = msgspec.structs.replace(request, preview_every=max(1, steps // (asked.partial + 1)))
        done = await self._service.submit_all(account, request)
        return tuple(one.job.job for one in done)

    async def answer(
        self, account: str, asked: Asked, jobs: Sequence[str], base: str, gone: Callable[[], Awaitable[bool]]
    ) -> dict[str, Any]:
        """Return the body of the answer, once all jobs are done.

        Args:
            account: that asks.
            asked: the request.
            jobs: its jobs.
            base: address of links, without their names.
            gone: returns whether the client has left.

        Raises:
            HttpRefused: a job has no pictures, the server ends, or the client has left, whose jobs go on and are kept.
        """
        data: list[dict[str, str]] = []
        size = ""
        for record, picture in await self.drawn(account, jobs, gone):
            size = size or _size_of(picture)
            if asked.link:
                one = {"url": base + self._links.add(account, record.job, picture.index, asked.form)}
            else:
                one = {"b64_json": await _text(await file_of(self._service, record.job, picture, asked.form))}
            if record.prompt != asked.request.prompt:
                one["revised_prompt"] = record.prompt
            data.append(one)
        return {"created": int(time.time()), "data": data, "size": size, **_said(asked)}

    async def drawn(
        self, account: str, jobs: Sequence[str], gone: Callable[[], Awaitable[bool]]
    ) -> list[tuple[JobRecord, StoredPicture]]:
        """Return the single pictures of jobs, each with its job, once all are done. Raises as `answer`."""
        with Follower([await self._service.log(job, account) for job in jobs], self._ending) as follower:
            if not await follower.to_the_end(gone):
                raise HttpRefused("the client has left; the jobs go on", status=LEFT)
        records = [await self._done(job, account) for job in jobs]
        return [(record, picture) for record in records for picture in pictures_of(record)]

    async def events(self, account: str, asked: Asked, jobs: Sequence[str]) -> AsyncIterator[bytes]:
        """Yield the lines of a stream of server-sent events, until all jobs are done; an error is its last event.

        A client that leaves ends it; the jobs go on, and are kept.
        """
        kind = KINDS[asked.edit]
        try:
            with Follower([await self._service.log(job, account) for job in jobs], self._ending) as follower:
                partial = 0
                async for news in follower.events():
                    if news is None:
                        yield b": keep-alive\n\n"
                        continue
                    log, event = news
                    if event.kind == "preview" and partial < asked.partial and log.preview:
                        shown = await _text(await preview_in(log.preview, asked.form))
                        fields = {"b64_json": shown, "partial_image_index": partial}
                        partial += 1
                        yield _event(
                            f"{kind}.partial_image",
                            fields | {"size": await self._size(log.job, account)} | _said(asked),
                        )
            for job in jobs:
                record = await self._done(job, account)
                for picture in pictures_of(record):
                    text = await _text(await file_of(self._service, job, picture, asked.form))
                    whole = {"b64_json": text, "size": _size_of(picture), **_said(asked)}
                    yield await aside(len(text), _event, f"{kind}.completed", whole)
        except Exception as error:
            refusal = refusal_of(error, asked.fields, asked.request.prompt)
            yield b"event: error\ndata: " + body_of(refusal) + b"\n\n"

    async def _done(self, job: str, account: str) -> JobRecord:
        record = await self._service.find(job, account)
        want_done(record)
        return record

    async def _size(self, job: str, account: str) -> str:
        record = await self._service.find(job, account)
        return f"{record.width}x{record.height}"


def _said(asked: Asked) -> dict[str, str]:
    """Return what every answer repeats of the request."""
    return {"background": "opaque", "output_format": asked.form.format, "quality": asked.quality}


def _size_of(picture: StoredPicture) -> str:
    return f"{picture.width}x{picture.height}"


async def _text(file: bytes) -> str:
    return await aside(len(file), lambda: base64.b64encode(file).decode())


def _event(kind: str, fields: Mapping[str, Any]) -> bytes:
    data = msgspec.json.encode({"type": kind, "created_at": int(time.time()), **fields})
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"
