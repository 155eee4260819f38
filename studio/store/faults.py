"""Translate errors of databases into errors of the store."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from ...errors import complaint
from ..errors import StoreBroken, StoreBusy, StoreError, StoreFull, StoreLocked, StoreLost, StoreRefused
from .sql import sa

FAULTS: Final = (sa.exc.SQLAlchemyError, sqlite3.Error, OverflowError, UnicodeError)  # what `translate` takes

_SHMSIZE: Final = sqlite3.SQLITE_IOERR | 19 << 8  # no memory for the index of the write-ahead log
_SQLITE: Final = {
    sqlite3.SQLITE_FULL: StoreFull,
    sqlite3.SQLITE_BUSY: StoreLocked,
    sqlite3.SQLITE_LOCKED: StoreLocked,
    sqlite3.SQLITE_CORRUPT: StoreBroken,
    sqlite3.SQLITE_NOTADB: StoreBroken,
    sqlite3.SQLITE_CONSTRAINT: StoreRefused,
    sqlite3.SQLITE_MISMATCH: StoreRefused,
    sqlite3.SQLITE_TOOBIG: StoreRefused,
    sqlite3.SQLITE_RANGE: StoreRefused,
}
_POSTGRES: Final = {  # the longest prefix of a SQLSTATE decides
    "53100": StoreFull,
    "55P03": StoreLocked,
    "57014": StoreLocked,
    "40": StoreLocked,
    "22": StoreRefused,
    "23": StoreRefused,
    "54": StoreRefused,
    "XX001": StoreBroken,
    "XX002": StoreBroken,
}
_TEXTS: Final = {
    StoreFull: ("space on disk", "make room, and try again; nothing was written"),
    StoreLocked: ("that nobody locks it for long", "end the program that holds it, and try again"),
    StoreLost: ("that it can be reached", "look after it, and try again"),
    StoreBroken: ("sound data", "restore the last good copy"),
    StoreRefused: ("what agrees with what is stored", "correct the write; nothing of its batch was written"),
    StoreBusy: ("fewer readers at a time", "try again later"),
}


def translate(error: BaseException, where: str) -> StoreError:
    """Return the store's error for a database's error. `where` names the database, without passwords."""
    if isinstance(error, StoreError):
        return error
    kind = _kind(error)
    origin = getattr(error, "orig", None) or error
    allowed, remedy = _TEXTS[kind]
    first = f"{origin}".strip().partition("\n")[0][:300]  # further lines of PostgreSQL may quote a row
    got = f"{type(origin).__name__}: {first}"
    return kind(complaint(f"store {where}", got, allowed, remedy))


def passes(error: BaseException) -> bool:
    """Return whether another try may help: another process has a lock, or the database is away or was started anew."""
    if isinstance(error, StoreError):
        return False
    origin: Any = getattr(error, "orig", None) or error
    if _kind(error) is StoreLocked:
        return True
    if isinstance(origin, sqlite3.Error) or _kind(error) is not StoreLost:
        return False
    state = getattr(origin, "sqlstate", None) or ""
    return isinstance(error, sa.exc.DBAPIError) and (not state or state[:3] in ("080", "57P"))


def _kind(error: BaseException) -> type[StoreError]:
    if isinstance(error, sa.exc.TimeoutError):  # no connection of the pool became free
        return StoreBusy
    if isinstance(error, OverflowError | UnicodeError):
        return StoreRefused
    origin: Any = getattr(error, "orig", None) or error
    if isinstance(origin, sqlite3.Error):
        code = getattr(origin, "sqlite_errorcode", None)
        if code is None:  # an error of the module itself, as for a value of a type that no column takes
            return StoreRefused if isinstance(origin, sqlite3.InterfaceError | sqlite3.ProgrammingError) else StoreLost
        return StoreFull if code == _SHMSIZE else _SQLITE.get(code & 0xFF, StoreLost)
    state = getattr(origin, "sqlstate", None) or ""
    for length in (5, 2):
        if kind := _POSTGRES.get(state[:length]):
            return kind
    if not state and isinstance(error, sa.exc.DataError | sa.exc.IntegrityError):
        return StoreRefused
    return StoreLost
