"""Let browsers and programs in over HTTP: one-time links become sessions of browsers, and tokens are for programs.

A secret is told once, when it is made, and kept as its SHA-256 alone. Used on the service's thread.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from ...errors import complaint
from ..errors import StoreError
from ..store.domains.entry import EntryRow
from ..store.writes import Put, Remove, Write
from .context import ServiceContext
from .errors import NoSuchEntry, WrongValue
from .waits import Waits

LINK, SESSION, TOKEN = KINDS = "link", "session", "token"
LASTS_MS: Final = {LINK: 15 * 60_000, SESSION: 30 * 86_400_000, TOKEN: 0}  # 0: it does not end by itself
MOST: Final = {LINK: 20, SESSION: 100, TOKEN: 100}  # of one account; the oldest links and sessions end first
USED_MS: Final = 3_600_000  # by which `used_ms` may lag
ID: Final = 12  # hex digits of the hash, by which owners name it
KEPT: Final = 10_000  # rows in memory, and hashes of what was ended last
PAGE: Final = 200
_SECRET: Final = re.compile(r"(link|session|token)-[A-Za-z0-9_-]{43}")


class Secret(NamedTuple):
    """What was made.

    Attributes:
        text: the secret, which is told once.
        row: what is kept of it.
    """

    text: str
    row: EntryRow


class Entries:
    """The links, sessions and tokens of all accounts.

    Args:
        context: an open context.
        waits: waits for reads and writes.
    """

    def __init__(self, context: ServiceContext, waits: Waits) -> None:
        self._context, self._waits = context, waits
        self._rows: OrderedDict[str, EntryRow] = OrderedDict()  # by hash; the one that was used last at the end
        self._trading: set[str] = set()
        self._ended: OrderedDict[str, None] = OrderedDict()  # hashes, which a read of before may still find
        self._counted = asyncio.Lock()  # held while those of an account are counted and one is added

    async def make(self, kind: str, account: str, name: str = "") -> Secret:
        """Make a link, a session or a token for an account, and return it when it is on disk.

        Raises:
            WrongValue: the account has too many tokens.
            TooSlow, StoreError: it may not be on disk.
        """
        made = self._new(kind, account, name)
        await self._waits.outlast(self._waits.begin(self._add(made.row)))
        return made

    async def find(self, kind: str, text: str) -> EntryRow | None:
        """Return the row of a secret of that kind; None: there is none, or it has ended."""
        if not _SECRET.fullmatch(text):
            return None
        hash, now = hash_of(text), self._context.now_ms()
        row = self._rows.get(hash)
        if row is None and hash not in self._ended:
            row = await self._waits.read(lambda: self._context.store.row(EntryRow, hash))
        if row is None or hash in self._ended:
            return None
        self._keep(self._rows.get(hash, row))
        if row.kind != kind or (row.ends_ms and row.ends_ms <= now):
            return None
        if now - row.used_ms > USED_MS and kind != LINK:
            row = msgspec.structs.replace(row, used_ms=now)
            self._keep(row)
            self._context.writer.put([Put(row)], lambda error: None)
        return row

    async def trade(self, link: str) -> Secret | None:
        """Take a link, which then is used up, and return a new session; None: it was used, has ended, or never was."""
        hash = hash_of(link)
        if hash in self._trading or hash in self._ended:
            return None
        self._trading.add(hash)  # before any wait: of two that bring it at once, one gets in
        try:
            row = await self._look(hash)
            if row is None or row.kind != LINK or row.ends_ms <= self._context.now_ms():
                return None
            made = self._new(SESSION, row.account, row.name)
            added = await self._waits.outlast(self._waits.begin(self._add(made.row, hash)))
            return made if added else None
        finally:
            self._trading.discard(hash)

    async def kept(self, account: str) -> tuple[EntryRow, ...]:
        """Return what lets in as an account, without what has ended, the newest first."""
        now = self._context.now_ms()
        rows = [row for row in await self._all(account) if not row.ends_ms or row.ends_ms > now]
        return tuple(sorted(rows, key=lambda row: (-row.made_ms, row.hash)))

    async def end(self, account: str, id: str) -> None:
        """End one of an account's, named by its id. Raise NoSuchEntry if it has none of that id."""
        found = [row for row in await self._all(account) if row.hash.startswith(id)]
        if len(found) != 1:
            raise NoSuchEntry(complaint("id", repr(id), "one of your links, sessions and tokens", "list them"))
        await self.drop(found[0].hash)

    async def drop(self, hash: str) -> None:
        """End one. Return when that is on disk."""
        await self._store(None, [hash])

    def sweep(self) -> int:
        """Remove what has ended, on a thread. Return its number."""
        store, now, count = self._context.store, self._context.now_ms(), 0
        last: tuple[str, ...] = ()
        while rows := store.rows(EntryRow, after=last, limit=PAGE):
            last = (rows[-1].hash,)
            old = [row for row in rows if row.ends_ms and row.ends_ms <= now]
            if old:
                store.write([Remove(EntryRow, (row.hash,)) for row in old])
            count += len(old)
        return count

    def _new(self, kind: str, account: str, name: str) -> Secret:
        text, now = f"{kind}-{secrets.token_urlsafe(32)}", self._context.now_ms()
        lasts = LASTS_MS[kind]
        return Secret(text, EntryRow(
            hash=hash_of(text), kind=kind, account=account, name=name, made_ms=now, used_ms=0,
            ends_ms=now + lasts if lasts else 0,
        ))  # fmt: skip

    async def _store(self, new: EntryRow | None, ended: Sequence[str]) -> None:
        """Store a new row, and the end of others by their hashes, which let in no more from now on."""
        for hash in ended:
            self._rows.pop(hash, None)
            self._ended[hash] = None
        while len(self._ended) > KEPT:
            self._ended.popitem(last=False)
        writes: list[Write] = [Remove(EntryRow, (hash,)) for hash in ended]
        try:
            await self._waits.write(writes if new is None else [*writes, Put(new)])
        except StoreError:  # nothing was written; after TooSlow it may be
            for hash in ended:
                self._ended.pop(hash, None)
            raise

    async def _add(self, row: EntryRow, link: str = "") -> bool:
        """Store a new row where there is room for it, in place of a link if one is named by its hash.

        Return whether it is stored: a link may have ended meanwhile.
        """
        async with self._counted:
            room = await self._room(row.kind, row.account)
            if link and link in self._ended:
                return False
            await self._store(row, [*([link] if link else []), *room])
        return True

    async def _room(self, kind: str, account: str) -> list[str]:
        """Return the hashes of those that end to make space for one more."""
        rows = sorted([row for row in await self._all(account) if row.kind == kind], key=lambda row: row.made_ms)
        over = rows[: max(0, len(rows) + 1 - MOST[kind])]
        if over and kind == TOKEN:
            text = complaint("tokens", f"{len(rows)} already", f"up to {MOST[kind]}", "revoke one that is not used")
            raise WrongValue(text)
        return [row.hash for row in over]

    async def _look(self, hash: str) -> EntryRow | None:
        return self._rows.get(hash) or await self._waits.read(lambda: self._context.store.row(EntryRow, hash))

    async def _all(self, account: str) -> list[EntryRow]:
        def look() -> list[EntryRow]:
            found: list[EntryRow] = []
            last: tuple[str, ...] = ()
            while rows := self._context.store.rows(EntryRow, after=last, limit=PAGE, account=account):
                found += rows
                last = (rows[-1].hash,)
            return found

        return await self._waits.read(look)

    def _keep(self, row: EntryRow) -> None:
        self._rows[row.hash] = row
        self._rows.move_to_end(row.hash)
        while len(self._rows) > KEPT:
            self._rows.popitem(last=False)


def hash_of(text: str) -> str:
    """Return the SHA-256 (hex) of a secret."""
    return hashlib.sha256(text.encode()).hexdigest()


def csrf_of(session: str) -> str:
    """Return the word that a session's page sends with what changes something: only its own page is told it."""
    return hashlib.sha256(f"csrf {session}".encode()).hexdigest()[:32]
