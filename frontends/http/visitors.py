"""Say whose a request is."""

from __future__ import annotations

import base64
from contextlib import suppress
from typing import Final, NamedTuple, Protocol

from starlette.datastructures import Headers

from ...bounds import LOCAL
from ...errors import SalonError, complaint
from ...studio.service.accounts import AccountRegister
from ...studio.service.entries import SESSION, TOKEN, csrf_of
from ...studio.service.service import Service
from ...values import shown
from .errors import HttpRefused

REMEDY: Final = "open the link of `salon account link`, or send the token of `salon account token`"


class Visitor(NamedTuple):
    """Who asks.

    Attributes:
        account: the account.
        csrf: the word that a request which changes something has to say in `X-Salon-CSRF`; "": any.
        by_cookie: whether a browser proves the account by itself, whichever page makes it ask.
    """

    account: str
    csrf: str = ""
    by_cookie: bool = False


class Visitors(Protocol):
    """Knows the visitors of a server."""

    @property
    def keyless(self) -> bool:
        """Whether everybody is the same account."""

    async def of(self, headers: Headers) -> Visitor:
        """Return whose a request is. Raise HttpRefused (401) if it does not prove that."""


class Everybody:
    """The visitors of a server without keys: all are the account `local`. See `Visitors`.

    Args:
        service: has the account.
    """

    keyless = True

    def __init__(self, service: Service) -> None:
        self._accounts = service.context.accounts

    async def of(self, headers: Headers) -> Visitor:
        """Return the account, whatever token comes: clients of OpenAI's always send one."""
        token_of(headers)
        return Visitor(enter(self._accounts, LOCAL), by_cookie=True)


def enter(accounts: AccountRegister, account: str) -> str:
    """Return an account that may come in. Raise HttpRefused (401) for one that is unknown or blocked."""
    try:
        accounts.enter(account)
    except SalonError as error:
        raise HttpRefused(str(error), status=401, code="invalid_api_key") from error
    return account


def token_of(headers: Headers) -> str | None:
    """Return the token of a request, which may also be the password of a name; None: it has none."""
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() in ("", "basic") and not token:
        return None  # as Open WebUI asks where it has none
    if scheme.lower() == "basic":
        with suppress(ValueError):
            _, colon, password = base64.b64decode(token.strip(), validate=True).decode().partition(":")
            if colon:
                return password
    if scheme.lower() != "bearer":
        text = complaint("Authorization", shown(scheme), "Bearer", "send `Authorization: Bearer TOKEN`")
        raise HttpRefused(text, status=401, code="invalid_api_key")
    return token.strip()


class Known:
    """The visitors of a server with keys: browsers that have a session, programs that have a token. See `Visitors`.

    Args:
        service: has the accounts, and what lets in as them.
        cookie: name of the session's cookie.
    """

    keyless = False

    def __init__(self, service: Service, cookie: str) -> None:
        self._accounts, self._entries = service.context.accounts, service.entries
        self._cookie = cookie

    async def of(self, headers: Headers) -> Visitor:
        """Return the account of a token, or else of a session."""
        token, session = token_of(headers), session_of(headers, self._cookie)
        if token:
            row = await self._entries.find(TOKEN, token)
            if row is None:
                text = complaint("Authorization", "an unknown token", "one of this server's", REMEDY)
                raise HttpRefused(text, status=401, code="invalid_api_key")
            return Visitor(enter(self._accounts, row.account))
        row = await self._entries.find(SESSION, session) if session else None
        if row is None:
            got = "a session that has ended" if session else "neither a session nor a token"
            raise HttpRefused(complaint("account", got, "one of them", REMEDY), status=401, code="invalid_api_key")
        return Visitor(enter(self._accounts, row.account), csrf_of(session), by_cookie=True)


def session_of(headers: Headers, cookie: str) -> str:
    """Return the session of a browser; "": it has none."""
    for said in headers.getlist("cookie"):
        for part in said.split(";"):
            name, _, value = part.strip().partition("=")
            if name == cookie:
                return value
    return ""
