"""Stores in SQLite and in a PostgreSQL of our own, and rows to put into them."""

from __future__ import annotations

import glob
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from salon.scheduler.entries import LedgerEntry, Source
from salon.scheduler.ledger import Ledger
from salon.studio.store.blobs import digest_of
from salon.studio.store.rows import JobRow, PictureRow
from salon.studio.store.store import Store

TIMEOUT = 120.0  # seconds; nothing waits longer
DAY_MS = 86_400_000
numbers = itertools.count(1)


def job_row(job: str = "", **fields: Any) -> JobRow:
    """A job with every field filled, as a server would."""
    job = job or f"job-{next(numbers)}"
    values: dict[str, Any] = {
        "job": job, "account": "a", "key": f"key of {job}", "request": b"\x00\xff" * 16, "spec": b"\x82spec",
        "work": b"\x00", "prompt": "a red apple ❤", "lane": "relax", "asked_lane": "fast", "private": True,
        "preview_every": 4, "note": "fast time is used up", "made_ms": 1_800_000_000_000, "steps": 20,
    }  # fmt: skip
    return JobRow(**(values | fields))


def picture_row(job: str, index: int = 0, **fields: Any) -> PictureRow:
    """A picture of ten bytes."""
    values: dict[str, Any] = {
        "job": job, "index": index, "digest": digest_of(f"{job}/{index}".encode()), "size": 10, "width": 128,
        "height": 64, "recipe": '{"prompt": "a red apple"}',
    }  # fmt: skip
    return PictureRow(**(values | fields))


def ledger_entries(operations: int, account: str = "a") -> list[tuple[LedgerEntry, ...]]:
    """Operations of a ledger, each with its entries."""
    ledger = Ledger()
    made = [ledger.grant(account, 10**9, Source.BOUGHT, 1, 100 * DAY_MS)]
    for i in range(operations - 1):
        if i % 2 == 0:
            made.append(ledger.reserve(account, {f"job {i}": 1000}, i + 2))
        else:
            made.append(ledger.settle(f"job {i - 1}", 400, i + 2))
    return made


class Cluster:
    """A PostgreSQL server for these tests, on a socket in a folder of its own.

    It runs as the user "postgres" where we are root, since it refuses root.
    """

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs, self.folder = programs, folder
        self.user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self._numbers = itertools.count()
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        options = ("-U", "postgres", "--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8")
        self._run("initdb", "-D", f"{folder}/data", *options)
        self.start()

    def start(self) -> None:
        options = f"-k {self.folder} -c listen_addresses='' -c fsync=off -c max_connections=60 -c shared_buffers=16MB"
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-l", f"{self.folder}/log", "-w", "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-w", "-m", mode, "stop")

    def url(self, schema: str = "public", folder: Path | None = None) -> str:
        return f"postgresql://postgres@/postgres?host={folder or self.folder}&options=-csearch_path%3D{schema}"

    def new_schema(self) -> str:
        """The name of an empty one."""
        name = f"salon_{next(self._numbers)}"
        self.execute(f"CREATE SCHEMA {name}")
        return name

    def execute(self, statement: str) -> list[Any]:
        engine = sa.create_engine(self.url().replace("postgresql", "postgresql+psycopg", 1))
        try:
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                result = connection.exec_driver_sql(statement)
                return list(result) if result.returns_rows else []
        finally:
            engine.dispose()

    def _run(self, program: str, *arguments: str) -> None:
        command = ["env", f"PGCTLTIMEOUT={4 * TIMEOUT:.0f}", str(self.programs / program), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        done = subprocess.run(command, cwd="/", timeout=5 * TIMEOUT, **quiet)
        assert done.returncode == 0, done.stderr.decode()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    pytest.importorskip("psycopg", reason="no psycopg: pip install 'salon[postgres]'")
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb")) or [shutil.which("initdb") or ""]
    if not found[-1]:
        pytest.skip("no PostgreSQL server here: apt-get install postgresql")
    if os.geteuid() == 0 and not (shutil.which("runuser") and "postgres" in {user.pw_name for user in pwd.getpwall()}):
        pytest.skip("PostgreSQL refuses root, and there is no user postgres")
    folder = Path(tempfile.mkdtemp(prefix="salon-pg-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    try:
        made = Cluster(Path(found[-1]).parent, folder)
        try:
            yield made
        finally:
            made.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Place:
    """Where a store is: opened, closed and opened again. What is left open is closed at the end of the test."""

    def __init__(self, url: str | None, folder: Path) -> None:
        self.url, self.folder = url, folder
        self._opened: list[Store] = []

    def open(self, folder: Path | None = None, **options: Any) -> Store:
        store = Store.open(self.url, folder or self.folder, **options)
        self._opened.append(store)
        return store

    def close(self) -> None:
        for store in self._opened:
            store.close()


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A place for a store, in either database."""
    url = None
    if request.param == "postgres":
        cluster = request.getfixturevalue("cluster")
        url = cluster.url(cluster.new_schema())
    made = Place(url, tmp_path / "store")
    yield made
    made.close()


@pytest.fixture
def sqlite_place(tmp_path: Path) -> Iterator[Place]:
    made = Place(None, tmp_path / "store")
    yield made
    made.close()


@pytest.fixture
def postgres_place(cluster: Cluster, tmp_path: Path) -> Iterator[Place]:
    made = Place(cluster.url(cluster.new_schema()), tmp_path / "store")
    yield made
    made.close()


@pytest.fixture
def store(place: Place) -> Store:
    return place.open()
