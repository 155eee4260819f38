"""Answer the requests about getting in over HTTP."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from ...bounds import LOCAL
from ...errors import complaint
from ...studio.service.entries import ID, LINK, TOKEN, Secret
from ...studio.service.errors import NoSuchAccount, WrongValue
from ...studio.store.domains.entry import EntryRow
from ..wire import messages as m
from .failures import RequestRefused

if TYPE_CHECKING:
    from .server import Server

FRAGMENT = "#link="  # which browsers send to no server, so that the secret is in no log


class Entry:
    """The requests `entry.*`, each a method that returns the answer. Used on the event loop's thread.

    Args:
        server: knows its address, and its service the accounts.
    """

    def __init__(self, server: Server) -> None:
        self._server = server

    async def link(self, account: str, request: m.NewLink) -> m.EntryMade:
        """Make a link, perhaps with an account for it. The caller has seen whether an operator asks for another's."""
        url, named = self._url(), request.account or account
        if request.new and (request.account or not self._server.router.encrypted):
            got = "it with an account" if request.account else "it on a server where everybody is the same account"
            raise WrongValue(complaint("new", got, "it alone, where accounts have keys", "leave it out"))
        if not self._server.router.encrypted:
            return m.EntryMade(url=url)
        if request.new:
            named = secrets.token_hex(32)  # an id like a key's, of which nobody has the secret half
            await self._server.service.accounts.set(named, account, keyed=True, name=request.new)
        if named == LOCAL or named not in self._server.context.accounts.rows:
            raise NoSuchAccount(complaint("account", repr(named), "one that is open", "see `ops accounts`"))
        made = await self._server.service.entries.make(LINK, named, "" if named == account else "made by an operator")
        return _made(f"{url}{FRAGMENT}{made.text}", made)

    async def token(self, account: str, request: m.NewToken) -> m.EntryMade:
        """Make a token."""
        url = f"{self._url()}v1"
        if not self._server.router.encrypted:
            return m.EntryMade(url=url)
        return _made(url, await self._server.service.entries.make(TOKEN, account, request.name))

    async def list(self, account: str, request: m.ListEntries) -> m.Entries:
        """Return what lets in as the account."""
        return m.Entries(entries=tuple(map(_info, await self._server.service.entries.kept(account))))

    async def end(self, account: str, request: m.EndEntry) -> m.Done:
        """End one of them."""
        await self._server.service.entries.end(account, request.id)
        return m.Done()

    def _url(self) -> str:
        """Return the address of the page. Raise RequestRefused if there is none."""
        if not self._server.http:
            text = complaint("HTTP", "it on a server that has none", "one with it", "start it with --http")
            raise RequestRefused("unavailable", text, kind="NoHttp")
        return f"{self._server.http}/"


def _made(url: str, made: Secret) -> m.EntryMade:
    return m.EntryMade(url=url, secret=made.text, entry=_info(made.row))


def _info(row: EntryRow) -> m.EntryInfo:
    return m.EntryInfo(
        id=row.hash[:ID], kind=row.kind, name=row.name, made_ms=row.made_ms, used_ms=row.used_ms, ends_ms=row.ends_ms
    )
