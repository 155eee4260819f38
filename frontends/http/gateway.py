"""What `/v1` answers beside generations: edits, variations and files. Each asks the service, and decides nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from ...errors import SalonError
from ...studio.service.service import Service
from .asked import Asked
from .bodies import Room
from .edits import Edits
from .errors import refusal_of
from .files import Files, is_file
from .gate import ACCOUNT, BASE
from .generations import Generations
from .keys import Keys
from .pictures import Links
from .reading import JSON, aside

FILES: Final = "/v1/files"
Endpoint = Callable[[Request], Awaitable[Response]]
Read = Callable[[Request, str, Callable[[int], None]], Awaitable[Asked]]


class Gateway:
    """The requests of all accounts. Made and used on the event loop's thread.

    Args:
        service: carries them out.
        generations: submits and follows jobs.
        keys: of requests.
        links: names of pictures.
    """

    def __init__(self, service: Service, generations: Generations, keys: Keys, links: Links) -> None:
        self._service, self._generations, self._links = service, generations, links
        self._edits, self._files, self._room = Edits(service, keys), Files(service), Room()

    def routes(self, answering: Callable[[Endpoint], Endpoint]) -> list[BaseRoute]:
        """Return the routes. `answering`: returns an endpoint of which every error becomes an answer."""
        return [
            Route("/v1/images/edits", answering(self._edit), methods=["POST"]),
            Route("/v1/images/variations", answering(self._vary), methods=["POST"]),
            Route(FILES, answering(self._list), methods=["GET"]),
            Route(FILES, answering(self._create), methods=["POST"]),
            Route(FILES + "/{name}", answering(self._file), methods=["GET"]),
            Route(FILES + "/{name}", answering(self._delete), methods=["DELETE"]),
            Route(FILES + "/{name}/content", answering(self._content), methods=["GET"]),
        ]

    async def reply(self, request: Request, account: str, asked: Asked) -> Response:
        """Submit a request that was read, and answer with its pictures or with their events.

        Raises:
            HttpRefused: it is refused, which names the field, or as `Generations.answer`.
        """
        try:
            jobs = await self._generations.submit(account, asked)
        except SalonError as error:
            raise refusal_of(error, asked.fields, asked.request.prompt) from error
        told = {"x-salon-jobs": ",".join(jobs)}
        if asked.stream:
            events = self._generations.events(account, asked, jobs)
            told["cache-control"] = "no-store"
            return StreamingResponse(events, headers=told, media_type="text/event-stream")
        base = f"{request.scope[BASE]}{FILES}/"
        done = await self._generations.answer(account, asked, jobs, base, request.is_disconnected)
        size = sum(len(one.get("b64_json", "")) for one in done["data"])
        return await aside(size, json_answer, done, told)

    async def _edit(self, request: Request) -> Response:
        return await self._drawn(request, self._edits.edit)

    async def _vary(self, request: Request) -> Response:
        return await self._drawn(request, self._edits.vary)

    async def _drawn(self, request: Request, read: Read) -> Response:
        account: str = request.scope[ACCOUNT]
        with self._room.lease(account) as take:
            asked = await read(request, account, take)
        return await self.reply(request, account, asked)

    async def _list(self, request: Request) -> Response:
        return json_answer(await self._files.list(request, request.scope[ACCOUNT]))

    async def _create(self, request: Request) -> Response:
        account: str = request.scope[ACCOUNT]
        with self._room.lease(account) as take:
            return json_answer(await self._files.create(request, account, take))

    async def _file(self, request: Request) -> Response:
        """Answer with what there is to say of a file, or with the picture of a link."""
        account, name = request.scope[ACCOUNT], request.path_params["name"]
        if is_file(name):
            return json_answer(await self._files.find(account, name))
        data, format = await self._links.open(self._service, account, name)
        headers = {"cache-control": "private, max-age=3600, immutable"}
        return Response(data, headers=headers, media_type=f"image/{format}")

    async def _content(self, request: Request) -> Response:
        data = await self._files.content(request.scope[ACCOUNT], request.path_params["name"])
        return Response(data, headers={"cache-control": "private"}, media_type="application/octet-stream")

    async def _delete(self, request: Request) -> Response:
        return json_answer(await self._files.delete(request.scope[ACCOUNT], request.path_params["name"]))


def json_answer(value: Any, headers: dict[str, str] | None = None) -> Response:
    """Return an answer in JSON."""
    return Response(msgspec.json.encode(value), 200, headers, JSON)
