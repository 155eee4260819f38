"""A table is one file: here a domain is added, written, read, brought up to date and refused."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from salon.studio.errors import StoreMismatch, StoreRefused
from salon.studio.store import domains
from salon.studio.store.store import FILE, Store
from salon.studio.store.tables import VERSION as SCHEMA
from salon.studio.store.writes import AddJob, Put, Remove

from .conftest import Place, job_row
from .test_migrations import run

BOATS = """
import msgspec
from salon.studio.store.domains import Table

class Boat(msgspec.Struct, frozen=True, kw_only=True):
    harbour: str
    number: int
    name: str = ""
    length: float | None = None
    photo: bytes = b""
    afloat: bool = True{more}

VERSION = {version}
TABLES = (Table("boats", Boat, ("harbour", "number"), (("name",),)),)
STEPS = {steps}
"""
names = itertools.count()
AddDomain = Callable[..., Any]


@pytest.fixture
def add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AddDomain:
    """Add the domain "boats" (again, in another version); the type of its rows."""

    def add(version: int = 1, more: str = "", steps: str = "{}") -> Any:
        folder = tmp_path / f"domains {next(names)}"
        folder.mkdir()
        (folder / "boats.py").write_text(BOATS.format(version=version, more=more, steps=steps))
        monkeypatch.setattr(domains, "__path__", [*ours, str(folder)])
        monkeypatch.setattr(domains.PLUGINS, "_path", domains.__path__)
        monkeypatch.setattr(domains.PLUGINS, "_names", None)
        monkeypatch.delitem(sys.modules, f"{domains.__name__}.boats", raising=False)
        return domains.PLUGINS.get("boats").TABLES[0].row

    ours = list(domains.__path__)
    return add


def test_rows_of_a_new_table_are_kept_found_and_taken_away(place: Place, add: AddDomain) -> None:
    boat = add()
    store = place.open()
    rows = [boat(harbour=h, number=n, name=f"{h}{n} ❤", length=n / 2, photo=b"\0\xff") for h in "ba" for n in (10, 9)]
    store.write([AddJob(job_row("j")), *map(Put, rows)])  # in one transaction with everything else
    store.close()
    store = place.open()
    assert store.row(boat, "a", 9) == rows[3]
    assert store.row(boat, "a", 8) is None
    assert [(row.harbour, row.number) for row in store.rows(boat)] == [("a", 9), ("a", 10), ("b", 9), ("b", 10)]
    assert [row.number for row in store.rows(boat, harbour="b", newest=True)] == [10, 9]
    first = store.rows(boat, limit=2)
    assert store.rows(boat, after=(first[-1].harbour, first[-1].number)) == (rows[1], rows[0])
    assert store.rows(boat, after=("a",)) == (rows[1], rows[0])
    assert set(store.rows_with(boat, "number", [10, 7, 10], harbour="b")) == {rows[0]}
    assert len(store.rows_with(boat, "name", [row.name for row in rows] + [str(i) for i in range(1_200)])) == len(rows)
    assert store.rows_with(boat, "number", []) == ()
    changed = msgspec.structs.replace(rows[0], name="renamed", length=None, afloat=False)
    store.write([Put(changed), Remove(boat, ("a", 9)), Remove(boat, ("a", 9))])
    assert store.row(boat, "b", 10) == changed
    assert len(store.rows(boat)) == 3
    store.check()


def test_what_contradicts_changes_nothing(place: Place, add: AddDomain) -> None:
    boat = add()
    store = place.open()

    class Stranger(msgspec.Struct):
        name: str

    for wrong, words in (
        (Put(Stranger("x")), "rows: got Stranger, allowed rows of a domain"),
        (Remove(boat, ("a",)), "key of boats: got .*, allowed harbour, number"),
        (Put(boat(harbour="a\0", number=1)), "NUL"),
    ):
        with pytest.raises(StoreRefused, match=words):
            store.write([Put(boat(harbour="a", number=1)), wrong])
    assert store.rows(boat) == ()
    with pytest.raises(StoreRefused, match="column of boats: got colour, allowed harbour, number, name"):
        store.rows(boat, colour="red")
    with pytest.raises(StoreRefused, match="column of boats: got colour"):
        store.rows_with(boat, "colour", ["red"])
    with pytest.raises(StoreRefused, match="NUL"):
        store.rows(boat, name="\0")


def test_an_old_store_gets_the_table(place: Place, add: AddDomain) -> None:
    store = place.open()
    store.write([AddJob(job_row("j"))])
    store.close()
    boat = add()
    store = place.open()
    store.write([Put(boat(harbour="a", number=1))])
    assert store.job("j") is not None
    assert len(store.rows(boat)) == 1


STEP = "{2: lambda connection: connection.exec_driver_sql(\"ALTER TABLE boats ADD COLUMN flag TEXT DEFAULT 'none'\")}"


def test_a_newer_version_is_reached_step_by_step(place: Place, add: AddDomain) -> None:
    boat = add()
    store = place.open()
    store.write([Put(boat(harbour="a", number=1))])
    store.close()
    boat = add(version=2, more='\n    flag: str | None = "none"', steps=STEP)
    store = place.open()
    assert [row.flag for row in store.rows(boat)] == ["none"]
    assert place.url is not None or (place.folder / f"{FILE}.v{SCHEMA}").is_file()
    store.close()
    add()  # the older one again
    with pytest.raises(StoreMismatch, match="domain boats 2, allowed at most version 1; install"):
        place.open()


def test_a_step_that_fails_changes_nothing(place: Place, add: AddDomain) -> None:
    boat = add()
    store = place.open()
    store.write([Put(boat(harbour="a", number=1))])
    store.close()
    add(version=2, steps="{2: lambda connection: 1 / 0}")
    with pytest.raises(ZeroDivisionError):
        place.open()
    boat = add()
    assert len(place.open().rows(boat)) == 1


def test_a_domain_that_is_gone_is_refused(place: Place, add: AddDomain, monkeypatch: pytest.MonkeyPatch) -> None:
    add()
    place.open().close()
    monkeypatch.undo()
    domains.PLUGINS.forget()
    with pytest.raises(StoreMismatch, match="domain boats 1, allowed domains .*; install the version of Salon"):
        place.open()


def test_a_table_of_something_else_is_not_taken_for_ours(place: Place, add: AddDomain) -> None:
    place.open().close()
    run(place, ["CREATE TABLE boats (name TEXT)"])
    add()
    with pytest.raises(StoreMismatch, match="tables of something else .boats., allowed none of that name"):
        place.open()


def test_a_field_that_no_column_holds_is_a_mistake_of_the_domain(place: Place, add: AddDomain) -> None:
    add(more="\n    crew: list[str] = []")
    with pytest.raises(TypeError, match=r"Boat.crew: list\[str\] is no type of a column"):
        place.open()


def test_there_is_no_domain_that_nobody_tested(store: Store) -> None:
    """Every domain that ships is made with a new store, and its types fit."""
    for domain in domains.domains().values():
        for table in domain.TABLES:
            assert store.rows(table.row) == ()
