"""Keep how accounts order their pictures: what they hide from themselves, folders, and named parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from . import Table

VERSION = 2


class HiddenRow(msgspec.Struct, frozen=True, kw_only=True):
    """A job that an account does not want to see in its lists; others see it as before."""

    account: str
    job: str


class FolderRow(msgspec.Struct, frozen=True, kw_only=True):
    """A folder of an account.

    Attributes:
        account: whose.
        folder: its id, unique within the account.
        name: as its owner calls it, unique within the account.
        made_ms: UTC ms.
    """

    account: str
    folder: str
    name: str
    made_ms: int


class InFolderRow(msgspec.Struct, frozen=True, kw_only=True):
    """A job in a folder. The job may be another account's, and may be private by now."""

    account: str
    folder: str
    job: str
    added_ms: int


class PresetRow(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of an account under a name.

    Attributes:
        account: whose.
        name: unique within the account.
        parameters: as they are typed.
        made_ms: UTC ms.
    """

    account: str
    name: str
    parameters: str
    made_ms: int


TABLES = (
    Table("hidden", HiddenRow, ("account", "job"), (("job",),), of_job=True),
    Table("folder", FolderRow, ("account", "folder")),
    Table("in_folder", InFolderRow, ("account", "folder", "job"), (("job",),), of_job=True),
    Table("preset", PresetRow, ("account", "name")),
)


def _to_2(connection: Any) -> None:
    """Find rows by their job, and remove those of jobs that are deleted, which stayed before."""
    gone = "deleted" if connection.dialect.name == "postgresql" else "deleted = 1"
    for table in ("hidden", "in_folder"):
        connection.exec_driver_sql(f"DELETE FROM {table} WHERE job IN (SELECT job FROM jobs WHERE {gone})")
        connection.exec_driver_sql(f"CREATE INDEX {table}_by_job ON {table} (job)")


STEPS: Mapping[int, Callable[[Any], None]] = {2: _to_2}
