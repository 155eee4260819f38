"""Look at every request before anything else does: who asks, and whether a page of a stranger's makes a browser ask."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...errors import complaint
from ...values import shown
from ..zmq.failures import RequestRefused
from ..zmq.rates import Rates
from .connections import ABORT
from .errors import HttpRefused, body_of, failure_body, headers_of, refusal_of
from .place import Place
from .visitors import Visitor, Visitors

FREE: Final = ("/healthz", "/readyz")  # paths that need neither an account nor a name of this server
DOCUMENTS: Final = ("/", "/docs")  # pages, which may be opened from anywhere, and need no account, like what is below:
OPEN: Final = ("/web/", "/docs/")
SESSION: Final = "/api/session"  # where accounts come from
API: Final = "/api/"
ACCOUNT: Final = "salon.account"  # in the scope of a request
BASE: Final = "salon.base"  # the address that the one who asks knows, without a slash at its end
SAFE: Final = ("GET", "HEAD", "OPTIONS")
CSRF: Final = "x-salon-csrf"
MAX_HEADERS: Final = 1 << 15  # bytes of a request's headers
SEND_S: Final = 60.0  # the longest time that a part of an answer may wait for its reader
HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-frame-options": "DENY",
}  # of every answer that says nothing else


class Gate:
    """Middleware that gives every request its account and every answer its id.

    Args:
        app: what answers.
        visitors: know whose a request is.
        rates: bound how often an account may ask.
        place: by which addresses the server may be called.
    """

    def __init__(self, app: ASGIApp, visitors: Visitors, rates: Rates, place: Place) -> None:
        self._app, self._visitors, self._rates, self._place = app, visitors, rates, place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it."""
        if scope["type"] != "http":
            return
        id = uuid.uuid4().hex

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = id
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            try:
                async with asyncio.timeout(SEND_S):
                    await send(message)
            except TimeoutError:
                scope.get(ABORT, _nothing)()  # it does not read; what waits for it is dropped

        try:
            await self._let_in(scope)
        except Exception as error:
            await _refused(scope["path"], error)(scope, receive, named)
            return
        await self._app(scope, receive, named)

    async def _let_in(self, scope: Scope) -> None:
        """Give a request its account, or raise for one that gets no further."""
        path, headers = scope["path"], Headers(scope=scope)
        if (size := sum(len(name) + len(value) for name, value in headers.raw)) > MAX_HEADERS:
            text = complaint("headers", f"{size:,} bytes", f"up to {MAX_HEADERS:,}", "send fewer, or delete cookies")
            raise HttpRefused(text, status=431, code="too_large")
        if path in FREE:
            return
        document = path in DOCUMENTS or path.startswith(OPEN)
        self._check(headers, document=document)
        if document:
            return
        scope[BASE] = self._place.base(scope["scheme"], headers.get("host", ""))
        if path == SESSION:
            return  # where a visitor without an account gets one; it checks by itself
        visitor = await self._visitors.of(headers)
        if (wait_s := self._rates.take(visitor.account)) > 0:
            failure = self._rates.refusal(wait_s)
            raise RequestRefused(failure.code, failure.text, failure.retry_after_ms, failure.kind)
        if scope["method"] not in SAFE:
            check_csrf(visitor, headers, always=path.startswith(API))
        scope[ACCOUNT] = visitor.account

    def _check(self, headers: Headers, *, document: bool) -> None:
        """Raise HttpRefused for what only a browser sends that a stranger's page has led here."""
        host = headers.get("host", "").lower()
        if not self._place.is_called(host):
            text = complaint("Host", shown(host), self._place.names, "use one of these")
            raise HttpRefused(text, status=403, code="forbidden")
        origin = headers.get("origin")
        if origin is not None and not self._place.is_origin(origin, host):
            got, allowed = shown(origin), "none, or this server"
            raise HttpRefused(complaint("Origin", got, allowed, "ask from a program"), status=403, code="forbidden")
        site = headers.get("sec-fetch-site", "none")
        if not document and site not in ("none", "same-origin"):
            got, allowed = f"a request for a page that is {shown(site)}", "for this server's own page"
            text = complaint("Sec-Fetch-Site", got, allowed, "open the page itself")
            raise HttpRefused(text, status=403, code="forbidden")


def check_csrf(visitor: Visitor, headers: Headers, *, always: bool) -> None:
    """Raise HttpRefused for a request that changes something, and that a stranger's page could make a browser send.

    Args:
        always: whether a server without keys wants the header, too; programs that know nothing of it go without.
    """
    if not visitor.by_cookie or not (visitor.csrf or always):
        return
    said = headers.get(CSRF, "")
    if not said or (visitor.csrf and not secrets.compare_digest(said.encode(), visitor.csrf.encode())):
        got = "another value than this session's" if said else "none"
        text = complaint("X-Salon-CSRF", got, "`csrf` of GET /api/session", "send it with everything that changes")
        raise HttpRefused(text, status=403, code="forbidden")


def _nothing() -> None:
    """Do nothing, where there is no connection to end."""


def _refused(path: str, error: Exception) -> Response:
    """Return the answer to a request that gets no further, in the shape that its path has."""
    if path.startswith(API):
        status, body, headers = failure_body(error)
    else:
        refusal = refusal_of(error)
        status, body, headers = refusal.status, body_of(refusal), headers_of(refusal)
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    return Response(body, status, headers, "application/json")
