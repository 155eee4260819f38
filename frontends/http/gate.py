"""Look at every request before anything else does: who asks, and whether a page of a stranger's makes a browser ask."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...errors import complaint
from ...values import shown
from .errors import HttpRefused, body_of, headers_of, refusal_of

FREE: Final = ("/healthz", "/readyz")  # paths for which nobody needs an account
ACCOUNT: Final = "salon.account"  # in the scope of a request


class Gate:
    """Middleware that gives every request its account and every answer its id.

    Args:
        app: what answers.
        account: returns the account of a token, or that of requests without one (None). Raises HttpRefused.
        strangers: whether requests may call this server by any name; False: by one of this machine's own, so that no
            page of a stranger's can ask by a name that leads here.
    """

    def __init__(self, app: ASGIApp, account: Callable[[str | None], str], *, strangers: bool) -> None:
        self._app, self._account, self._strangers = app, account, strangers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it."""
        if scope["type"] != "http":
            return
        id = uuid.uuid4().hex

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = id
                headers["x-content-type-options"] = "nosniff"
            await send(message)

        try:
            if scope["path"] not in FREE:
                self._check(Headers(scope=scope))
                scope[ACCOUNT] = self._account(_token(Headers(scope=scope)))
        except Exception as error:
            refusal = refusal_of(error)
            headers = headers_of(refusal)
            if refusal.status == 401:
                headers["www-authenticate"] = "Bearer"
            response = Response(body_of(refusal), refusal.status, headers, "application/json")
            await response(scope, receive, named)
            return
        await self._app(scope, receive, named)

    def _check(self, headers: Headers) -> None:
        """Raise HttpRefused for what only a browser sends that a stranger's page has led here."""
        host = headers.get("host", "")
        if not self._strangers and not _is_here(host):
            got, allowed = shown(host), "localhost, 127.0.0.1 or [::1]"
            raise HttpRefused(complaint("Host", got, allowed, "use one of these"), status=403, code="forbidden")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            got, allowed = shown(origin), "none, or this server"
            raise HttpRefused(complaint("Origin", got, allowed, "ask from a program"), status=403, code="forbidden")


def _token(headers: Headers) -> str | None:
    """Return the token of a request; None: it has none."""
    said = headers.get("authorization")
    if said is None:
        return None
    scheme, _, token = said.partition(" ")
    if scheme.lower() != "bearer":
        text = complaint("Authorization", shown(scheme), "Bearer", "send `Authorization: Bearer TOKEN`")
        raise HttpRefused(text, status=401, code="invalid_api_key")
    return token.strip()


def _is_here(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False
