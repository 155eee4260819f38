"""Make the tables of the domains for the database, from the fields of their rows."""

from __future__ import annotations

import types
from functools import cache
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import msgspec

from ...errors import complaint
from ..errors import StoreRefused
from .domains import Table, domains
from .sql import sa
from .tables import METADATA, TEXT, WHOLE

_TYPES: Final[dict[Any, sa.types.TypeEngine[Any]]] = {
    str: TEXT,
    int: WHOLE,
    bool: sa.Boolean(),
    float: sa.Double(),
    bytes: sa.LargeBinary(),
}


def table_of(row: type[msgspec.Struct]) -> tuple[Table, sa.Table]:
    """Return the table of a type of rows. Raise StoreRefused if no domain has it."""
    for domain in domains().values():
        for table in domain.TABLES:
            if table.row is row:
                return table, made_of(table)
    raise StoreRefused(complaint("rows", row.__name__, "rows of a domain's tables", "add a domain that has them"))


@cache
def made_of(table: Table) -> sa.Table:
    """Return a table with a column for each field of its rows. Raise TypeError for a field that no column can hold."""
    hints = get_type_hints(table.row)
    columns: list[sa.Column[Any]] = []
    for name in table.row.__struct_fields__:
        kind, nullable = _plain(hints[name])
        if kind not in _TYPES or (nullable and name in table.key):
            raise TypeError(f"{table.row.__name__}.{name}: {hints[name]} is no type of a column there")
        columns.append(sa.Column(name, _TYPES[kind], nullable=nullable, autoincrement=False))
    indices = [sa.Index(f"{table.name}_by_{'_'.join(names)}", *names) for names in table.indices]
    return sa.Table(table.name, sa.MetaData(), *columns, sa.PrimaryKeyConstraint(*table.key), *indices)


def of_jobs() -> tuple[sa.Table, ...]:
    """Return the tables whose rows go with their jobs."""
    return tuple(made_of(table) for domain in domains().values() for table in domain.TABLES if table.of_job)


def taken() -> frozenset[str]:
    """Return the names of all tables that belong to the store."""
    return frozenset(METADATA.tables) | {table.name for domain in domains().values() for table in domain.TABLES}


def _plain(hint: Any) -> tuple[Any, bool]:
    """Return a column's type, and whether it may be None."""
    if get_origin(hint) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(hint) if kind is not type(None)]
        return (kinds[0] if len(kinds) == 1 else None), len(kinds) < len(get_args(hint))
    return hint, False
