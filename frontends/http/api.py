"""The routes of the page: the wire's records as JSON, the news of its jobs, pictures, and the page's own files."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec.json import encode
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from ...bounds import MAX_REFERENCE_BYTES
from ...errors import complaint
from ...studio.references import digest_of
from ...studio.service.service import Service
from ...values import shown
from ..wire.codec import MAX_MESSAGE
from ..zmq.answers import Answers
from .errors import HttpRefused, failure_body
from .following import Ending
from .gate import ACCOUNT
from .news import Journals
from .reading import JSON, Bringing, aside, body_of, json_body, kind_of
from .records import json_of, request_of
from .sessions import NO_STORE, Sessions
from .static import Pages
from .stored import Stored
from .streams import ALL, STREAMS, Streams
from .visitors import Visitors
from .zips import Zips

FILE_S: Final = 120.0  # the longest time in which a picture's file may come
MAX_RECORD: Final = 4 * MAX_MESSAGE  # bytes of a record in JSON, which takes more room than in msgpack
Endpoint = Callable[[Request], Awaitable[Response]]


class Api:
    """The routes of a page. Made and used on the event loop's thread.

    Args:
        service: carries requests out.
        answers: does so for the wire's records.
        visitors: know whose a request is.
        ending: tells of the server's end.
        cookie: name of the sessions' cookie.

    Attributes:
        routes: of the page.
    """

    def __init__(self, service: Service, answers: Answers, visitors: Visitors, ending: Ending, cookie: str) -> None:
        self._service, self._answers, self._visitors = service, answers, visitors
        service.jobs.storing.shrinks = True  # pages ask for thumbnails of all pictures
        self._journals, self._bringing = Journals(service.jobs), Bringing()
        most = ALL if visitors.keyless else STREAMS
        self._streams = Streams(self._journals, ending, service.context.life, most)
        stored, pages = Stored(service), Pages()
        sessions = Sessions(service, visitors, cookie, self._streams.latest)
        zips = Zips(service, time.monotonic)
        self.routes: list[BaseRoute] = [
            Route("/", answering(pages.index)),
            Route("/web/{path:path}", answering(pages.file)),
            Route("/docs", answering(pages.to_docs)),
            Route("/docs/{path:path}", answering(pages.docs)),
            Route("/api/session", answering(sessions.show)),
            Route("/api/session", answering(sessions.begin), methods=["POST"]),
            Route("/api/session", answering(sessions.end), methods=["DELETE"]),
            Route("/api/events", answering(self._events)),
            Route("/api/pictures/{job}/{index}", answering(stored.picture)),
            Route("/api/thumbnails/{job}/{index}/{side}", answering(stored.thumbnail)),
            Route("/api/previews/{job}/{event}", answering(stored.preview)),
            Route("/api/references", answering(self._bring), methods=["POST"]),
            Route("/api/references/{digest}", answering(stored.reference)),
            Route("/api/zip", answering(zips.make), methods=["POST"]),
            Route("/api/zip/{name}", answering(zips.send)),
            Route("/api/{tag}", answering(self._ask), methods=["POST"]),
        ]

    @property
    def streams(self) -> int:
        """The number of streams that pages read."""
        return self._streams.count

    def close(self) -> None:
        """Keep no news any more."""
        self._journals.close()

    async def _ask(self, request: Request) -> Response:
        """Carry out a record of the wire."""
        body = await json_body(request, MAX_RECORD)
        record = await aside(len(body), request_of, request.path_params["tag"], body)
        account: str = request.scope[ACCOUNT]
        try:
            answer = await self._answers.answer(record, account, operator=self._is_operator(account))
        except Exception as error:
            status, body, headers = failure_body(error, getattr(record, "prompt", ""))
            return Response(body, status, headers, JSON)
        return Response(json_of(answer), headers=NO_STORE, media_type=JSON)

    async def _events(self, request: Request) -> Response:
        """Answer with the stream of news."""
        account: str = request.scope[ACCOUNT]

        async def still() -> bool:
            try:
                return (await self._visitors.of(request.headers)).account == account
            except HttpRefused:
                return False

        headers = {**NO_STORE, "x-accel-buffering": "no"}
        if request.method == "HEAD":
            return Response(headers=headers, media_type="text/event-stream")
        last = request.headers.get("last-event-id") or request.query_params.get("after")
        lines = self._streams.open(account, last, still)
        return StreamingResponse(lines, headers=headers, media_type="text/event-stream")

    async def _bring(self, request: Request) -> Response:
        """Take a picture's file, for requests to refer to by its digest."""
        kind, account = kind_of(request), request.scope[ACCOUNT]
        if not kind.startswith("image/"):
            text = complaint("Content-Type", shown(kind), "image/png, image/jpeg, image/webp", "send a picture's file")
            raise HttpRefused(text, status=415, code="invalid")
        with self._bringing.one(account):
            data = await body_of(request, MAX_REFERENCE_BYTES, FILE_S)
            digest = await asyncio.to_thread(digest_of, data)
            await self._service.jobs.references.add(account, digest, data)
        return Response(encode({"digest": digest}), headers=NO_STORE, media_type=JSON)

    def _is_operator(self, account: str) -> bool:
        row = self._service.context.accounts.rows.get(account)
        return row is not None and row.role == "operator"


def answering(endpoint: Endpoint) -> Endpoint:
    """Return an endpoint of which every error becomes an answer: the wire's Failure under "error"."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        except TimeoutError:
            error: Exception = HttpRefused("it takes too long; ask again", status=503, code="busy", retry_ms=1000)
        except Exception as raised:
            error = raised
        status, body, headers = failure_body(error)
        return Response(body, status, {**NO_STORE, **headers}, JSON)

    return answer
