"""The application behind HTTP: its routes, and what each does with a request. Nothing is decided here that ZeroMQ's
server would decide otherwise: both ask the same service."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route

from ...errors import SalonError, complaint
from ...studio.errors import StoreError
from ...studio.service.service import Service
from ...values import shown
from . import openapi
from .asked import asked_of
from .errors import HttpRefused, body_of, failure_body, headers_of, refusal_of
from .following import Ending
from .gate import ACCOUNT, API
from .gateway import Gateway
from .generations import Generations
from .keys import Keys
from .models import model_of, models_of
from .pictures import Links
from .reading import JSON, json_body
from .sd import StableDiffusion

READY: Final = ("idle", "busy")  # states of a worker that does its work
Endpoint = Callable[[Request], Awaitable[Response]]


class Front:
    """The routes of a service. Made and used on the event loop's thread.

    Args:
        service: carries requests out.
        ending: tells of the server's end.
        more: further routes, such as the page's.

    Attributes:
        app: the application.
    """

    def __init__(self, service: Service, ending: Ending, more: Sequence[BaseRoute] = ()) -> None:
        self._service = service
        links, self._keys = Links(time.monotonic), Keys(time.monotonic)
        generations = Generations(service, links, ending)
        self._gateway = Gateway(service, generations, self._keys, links)
        routes = [
            Route("/healthz", _answering(self._alive)),
            Route("/readyz", _answering(self._ready)),
            Route("/v1/models", _answering(self._models)),
            Route("/v1/models/{id:path}", _answering(self._model)),
            Route("/v1/images/generations", _answering(self._generate), methods=["POST"]),
            Route("/openapi.json", _answering(self._openapi)),
            *self._gateway.routes(_answering),
            *StableDiffusion(service, generations, self._keys).routes(_answering),
            *more,
        ]
        self.app = Starlette(routes=routes, exception_handlers={HTTPException: _unrouted})

    async def _alive(self, request: Request) -> Response:
        return _json({"status": "alive"})

    async def _ready(self, request: Request) -> Response:
        """Answer whether a job that came now would be drawn."""
        view = self._service.context.studio.loop.snapshot()
        try:
            self._service.want_open()
            if not any(worker.state in READY for worker in view.workers):
                raise HttpRefused("workers: none is ready; ask again")
            if view.held:
                raise HttpRefused("server: it is paused; see `salon ops resume`")
        except StoreError:  # whose words name folders, and anybody may ask
            return _json({"status": "not ready", "reason": "disk: finished pictures wait until it takes them"}, 503)
        except SalonError as error:
            return _json({"status": "not ready", "reason": str(error)}, 503)
        return _json({"status": "ready"})

    async def _openapi(self, request: Request) -> Response:
        return Response(openapi.page(), media_type=JSON)

    async def _models(self, request: Request) -> Response:
        return _json({"object": "list", "data": models_of(self._service.context)})

    async def _model(self, request: Request) -> Response:
        return _json(model_of(self._service.context, request.path_params["id"]))

    async def _generate(self, request: Request) -> Response:
        account: str = request.scope[ACCOUNT]
        body = await json_body(request)
        headers = request.headers
        named, retries = headers.get("idempotency-key"), headers.get("x-stainless-retry-count", "0")
        asked = asked_of(body, self._keys.key(account, named, retries, body))
        return await self._gateway.reply(request, account, asked)


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers, JSON)


def _answering(endpoint: Endpoint) -> Endpoint:
    """Return an endpoint of which every error becomes an answer in OpenAI's shape."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        except TimeoutError:
            error: Exception = HttpRefused("it takes too long; ask again", status=503, code="busy", retry_ms=1000)
        except Exception as raised:
            error = raised
        refusal = refusal_of(error, {} if request.method == "POST" else None)
        return Response(body_of(refusal), refusal.status, headers_of(refusal), JSON)

    return answer


async def _unrouted(request: Request, error: Exception) -> Response:
    """Answer a request for an unknown path, or with a method that its path does not take."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    text = complaint("path", f"{request.method} {shown(path)}", "those of docs/http.md", "correct it")
    refusal = HttpRefused(text, status=error.status_code, code="unknown_url")
    if path.startswith(API):
        status, body, headers = failure_body(refusal)
    else:
        status, body, headers = refusal.status, body_of(refusal), headers_of(refusal)
    allow = {"allow": ", ".join(sorted(_methods(request)))} if status == 405 else {}
    return Response(body, status, {**headers, **allow}, JSON)


def _methods(request: Request) -> set[str]:
    """Return the methods that a path takes, of all its routes."""
    routes = [each for each in request.app.routes if isinstance(each, Route)]
    found = [each.methods or set() for each in routes if each.matches(request.scope)[0] is not Match.NONE]
    return set[str]().union(*found)
