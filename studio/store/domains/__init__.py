"""Find the domains of the store: every module of this folder brings tables of its own.

To add a table is to add a module here with

    VERSION: int                                           # version of its schema, from 1
    TABLES: tuple[Table, ...]                              # its tables in that version
    STEPS: Mapping[int, Callable[[sa.Connection], None]]   # steps by the version that they lead to, from 2

Its rows are then written with `Put` and `Remove` and read with `Store.row` and `Store.rows`, in SQLite and in
PostgreSQL. Its tables are made, or brought up to date after a copy of the database, when a store is opened. Write a
step's SQL out in full: it must stay the same when `TABLES` changes later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from ....plugins import Plugins


@dataclass(frozen=True)
class Table:
    """A table of rows of one type.

    Attributes:
        name: name of the table, unique in the database.
        row: a msgspec Struct; its fields are the columns, of str, int, bool, float or bytes, each perhaps None.
        key: the columns by which a row is found, and in whose order rows are listed.
        indices: further columns by which rows are looked for.
        of_job: whether rows go with the job that their column `job` names, when that is deleted; by it there has to be
            an index, or a key that begins with it.
    """

    name: str
    row: type[msgspec.Struct]
    key: tuple[str, ...]
    indices: tuple[tuple[str, ...], ...] = ()
    of_job: bool = False


class Domain(Protocol):
    """The names that a module of this folder defines."""

    VERSION: int
    TABLES: tuple[Table, ...]
    STEPS: Mapping[int, Callable[[Any], None]]


PLUGINS: Plugins[Domain] = Plugins("domain", __name__, __path__)


def domains() -> dict[str, Domain]:
    """Return all domains by name."""
    return {name: PLUGINS.get(name) for name in PLUGINS.names()}
