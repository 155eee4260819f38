"""Begin and end the sessions of browsers: a one-time link lets in, a cookie that no script can read keeps it so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec.json import encode
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from ... import __version__
from ...bounds import LOCAL
from ...errors import complaint
from ...studio.service.entries import LASTS_MS, SESSION, csrf_of, hash_of
from ...studio.service.service import Service
from ..wire.messages import FEATURES
from .errors import HttpRefused
from .gate import check_csrf
from .reading import JSON, json_body
from .visitors import Visitor, Visitors, enter, session_of

NO_STORE: Final = {"cache-control": "no-store"}
MOST: Final = 4096  # bytes of the body with a link
PATH: Final = "/"


class _Brought(msgspec.Struct, forbid_unknown_fields=True):
    link: str


class Sessions:
    """The endpoints of `/api/session`. Used on the event loop's thread.

    Args:
        service: has the accounts, and what lets in as them.
        visitors: know whose a request is.
        cookie: name of the session's cookie; one that begins with `__Host-` goes over HTTPS alone.
        latest: returns the id of an account's latest news, after which the page's stream begins.
    """

    def __init__(self, service: Service, visitors: Visitors, cookie: str, latest: Callable[[str], str]) -> None:
        self._service, self._visitors, self._cookie, self._latest = service, visitors, cookie, latest

    async def show(self, request: Request) -> Response:
        """Say who asks, and of what."""
        return self._shown(await self._visitors.of(request.headers))

    async def begin(self, request: Request) -> Response:
        """Take a link, and begin a session of its account."""
        body = await json_body(request, MOST)
        if self._visitors.keyless:
            return self._shown(await self._visitors.of(request.headers))
        try:
            brought = msgspec.json.decode(body, type=_Brought)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            text = complaint("body", "something else", 'an object like {"link": "..."}', "correct it")
            raise HttpRefused(text, code="invalid") from error
        made = await self._service.entries.trade(brought.link)
        if made is None:
            got, remedy = "one that was used, has ended, or never was", "make another with `salon account link`"
            raise HttpRefused(complaint("link", got, "a new one", remedy), status=401, code="invalid_api_key")
        account = enter(self._service.context.accounts, made.row.account)
        answer = self._shown(Visitor(account, csrf_of(made.text), by_cookie=True))
        self._set(answer, made.text, LASTS_MS[SESSION] // 1000)
        return answer

    async def end(self, request: Request) -> Response:
        """End the session."""
        visitor = await self._visitors.of(request.headers)
        check_csrf(visitor, request.headers, always=True)
        answer = Response(encode({"type": "done", "changed": visitor.csrf != ""}), headers=NO_STORE, media_type=JSON)
        if visitor.csrf:
            await self._service.entries.drop(hash_of(session_of(Headers(request.headers), self._cookie)))
            self._set(answer, "", 0)
        return answer

    def _set(self, answer: Response, value: str, seconds: int) -> None:
        secure = self._cookie.startswith("__Host-")
        answer.set_cookie(
            self._cookie, value, max_age=seconds, path=PATH, secure=secure, httponly=True, samesite="strict"
        )

    def _shown(self, visitor: Visitor) -> Response:
        row, model = self._service.context.accounts.rows[visitor.account], self._service.context.studio.loop.model
        fields = {
            "account": row.account,
            "name": row.name,
            "role": row.role,
            "server": __version__,
            "model": str(model.identity),
            "features": FEATURES,
            "csrf": visitor.csrf or LOCAL,
            "keyless": self._visitors.keyless,
            "news": self._latest(row.account),
        }
        return Response(encode(fields), headers=NO_STORE, media_type=JSON)
