"""Define the requests about getting in over HTTP, once for both clients."""

from __future__ import annotations

from typing import Any, TypeVar

from ..wire import messages as m
from .flavours import Flavour, operation
from .making import MakingCommands
from .older import unsupported
from .steps import Steps, asked, call

R = TypeVar("R", bound=m.Record)


class EntryCommands(Flavour):
    """Links that let browsers in over HTTP, and tokens for programs. A secret is told once, when it is made."""

    _commands: MakingCommands[Any]

    @operation
    def link(self, account: str = "", *, new: str = "") -> Steps[m.EntryMade]:
        """Make a link that lets a browser in, once, within 15 minutes, and return it: `url` is what to open.

        Args:
            account: for operators: for which account, if not the own one.
            new: for operators: the name of a new account, which is opened for it and needs no key.
        """
        return (yield from self._call(m.NewLink(account=account, new=new), m.EntryMade))

    @operation
    def token(self, name: str = "") -> Steps[m.EntryMade]:
        """Make a token that lets programs in over HTTP, until it is ended, and return it.

        Args:
            name: for people, up to 100 characters.
        """
        return (yield from self._call(m.NewToken(name=name), m.EntryMade))

    @operation
    def list(self) -> Steps[tuple[m.EntryInfo, ...]]:
        """Return the links, sessions and tokens that let in as this account, the newest first."""
        return (yield from self._call(m.ListEntries(), m.Entries)).entries

    @operation
    def end(self, id: str) -> Steps[None]:
        """End one of them, so that it lets in no more. Raise NotFound if there is none of that id."""
        yield from self._call(m.EndEntry(id=id), m.Done)

    def _call(self, request: m.Record, kind: type[R]) -> Steps[R]:
        request = asked(request)  # what is wrong is refused without a server
        if "entry" not in (yield from self._commands._welcome()).features:
            raise unsupported("links and tokens")
        return (yield from call(self._core, request, kind, self._timeout_s))
