"""Real faults: a killed process, a full disk, locks, damage, a database that goes away."""

from __future__ import annotations

import os
import select
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
import sqlalchemy as sa

from salon.studio.errors import StoreBroken, StoreError, StoreFull, StoreLocked, StoreLost
from salon.studio.store.faults import translate
from salon.studio.store.folder_blobs import FolderBlobs
from salon.studio.store.store import FILE, Store
from salon.studio.store.writer import Writer
from salon.studio.store.writes import AddEntries, AddJob, EndJob, SetJob, SetMeta

from . import crash_writer
from .conftest import TIMEOUT, Cluster, Place, job_row, ledger_entries, picture_row

MEGABYTE = 1 << 20


def test_kill_loses_nothing_that_was_told(tmp_path: Path) -> None:
    assert crash_writer.rounds(6, tmp_path / "store", seed=1) >= 6


def test_kill_loses_nothing_in_postgres(cluster: Cluster, tmp_path: Path) -> None:
    assert crash_writer.rounds(2, tmp_path / "store", cluster.url(cluster.new_schema()), seed=2) >= 2


def test_a_commit_is_flushed(place: Place) -> None:
    """What a loss of power would show: nothing else here does."""
    store = place.open()
    with store._database.writer.connect() as connection:
        if place.url is not None:
            assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
            return
        wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
        assert {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in wanted} == wanted


# ---- a full disk ---------------------------------------------------------------------------------------------------


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT)
    except OSError as error:
        pytest.skip(f"no small file system: {error}")
    if done.returncode:
        pytest.skip(f"no small file system: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, timeout=TIMEOUT)


def fill(path: Path, leave: int) -> None:
    """Use up the disk but for some bytes."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    os.truncate(path, max(0, path.stat().st_size - leave))


def test_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        store = Store.open(None, disk / "store")
        try:
            store.write([AddJob(job_row("first"))])
            fill(disk / "ballast", 64 * 1024)
            written = ["first"]

            def write_on() -> None:
                for i in range(1000):
                    job = f"job {i}"
                    store.write([AddJob(job_row(job, spec=bytes(3000))), SetMeta("latest", job)])
                    written.append(job)

            with pytest.raises(StoreFull):
                write_on()
            assert store.meta("latest") == (written[-1] if len(written) > 1 else None)
            assert [row.job for row in store.open_jobs()] == written
            with pytest.raises(StoreFull):
                store.write([AddJob(job_row("again", spec=bytes(300_000)))])
            (disk / "ballast").unlink()
            store.write([AddJob(job_row("again"))])
            assert [row.job for row in store.open_jobs()] == [*written, "again"]
            store.check()
        finally:
            store.close()


def test_full_disk_for_one_put_of_a_group(tmp_path: Path) -> None:
    """Those that fit are stored, each is told, and ledger entries are offered again."""
    with small_disk(tmp_path / "disk") as disk:
        store = Store.open(None, disk / "store")
        try:
            entries = [entry for operation in ledger_entries(5) for entry in operation]
            offered, told, gate = list(entries), dict[str, StoreError | None](), threading.Event()

            def after(ok: bool) -> None:
                if ok:
                    offered.clear()

            writer = Writer(store, lambda: [AddEntries(tuple(offered))] if offered else [], after)
            fill(disk / "ballast", 200_000)
            writer.put([], lambda error: gate.wait(TIMEOUT))  # the others wait, and go together
            for job, size in (("small", 10), ("large", 1_000_000), ("other", 10)):
                row = job_row(job, spec=bytes(size))
                writer.put([AddJob(row)], lambda error, job=job: told.update({job: error}))  # type: ignore[misc]
            gate.set()
            assert writer.close(TIMEOUT)
            assert list(told) == ["small", "large", "other"]
            assert told["small"] is told["other"] is None
            assert isinstance(told["large"], StoreFull)
            assert list(store.all_entries()) == entries
            store.check()
        finally:
            store.close()


def test_full_disk_for_pictures(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        blobs = FolderBlobs(disk / "pictures")
        kept = blobs.put(b"kept")
        fill(disk / "ballast", 300_000)
        with pytest.raises(StoreFull, match="make room"):
            blobs.put(bytes(MEGABYTE))
        assert list(blobs.digests()) == [kept]
        assert not list((disk / "pictures" / "tmp").iterdir())
        assert blobs.total_bytes() == 4
        (disk / "ballast").unlink()
        assert blobs.get(blobs.put(bytes(MEGABYTE))) == bytes(MEGABYTE)


def test_a_file_may_grow_no_further(tmp_path: Path) -> None:
    """The same for every user: a bound on the size of files, in a process of its own."""
    code = f"""
import resource, signal
from pathlib import Path
from salon.studio.errors import StoreFull
from salon.studio.store.faults import translate
from salon.studio.store.folder_blobs import FolderBlobs
blobs = FolderBlobs(Path({str(tmp_path)!r}))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
try:
    blobs.put(bytes(200_000))
    raise SystemExit("no error")
except StoreFull:
    pass
assert not list(blobs.digests()) and not list(Path({str(tmp_path)!r}, "tmp").iterdir())
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
blobs.verify(blobs.put(bytes(200_000)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr


# ---- locks ---------------------------------------------------------------------------------------------------------


@contextmanager
def locked(place: Place) -> Iterator[None]:
    """Somebody else holds the database."""
    if place.url is None:
        with closing(sqlite3.connect(place.folder / FILE, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            yield
        return
    engine = sa.create_engine(place.url.replace("postgresql", "postgresql+psycopg", 1))
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql("LOCK TABLE jobs, meta IN SHARE MODE")
            yield
    finally:
        engine.dispose()


def test_a_lock_that_stays(place: Place) -> None:
    store = place.open(busy_s=0.3)
    store.write([AddJob(job_row("one"))])
    with locked(place):
        start = time.monotonic()
        with pytest.raises(StoreLocked):
            store.write([SetJob("one", {"step": 1})])
        assert 0.2 < time.monotonic() - start < 10
        found = store.job("one")  # reading goes on
        assert found is not None
        assert found.step == 0
    store.write([SetJob("one", {"step": 2})])
    found = store.job("one")
    assert found is not None
    assert found.step == 2


def test_a_lock_that_goes(place: Place) -> None:
    store = place.open()
    told: list[StoreError | None] = []
    writer = Writer(store)
    with locked(place):
        writer.put([AddJob(job_row("one"))], told.append)
        time.sleep(0.2)
        assert told == []
    assert writer.close(TIMEOUT)
    assert told == [None]
    assert store.job("one") is not None


def test_a_group_waits_for_a_lock_once(sqlite_place: Place) -> None:
    store, told = sqlite_place.open(busy_s=0.3), list[StoreError | None]()
    writer, gate = Writer(store), threading.Event()
    with locked(sqlite_place):
        start = time.monotonic()
        writer.put([], lambda error: gate.wait(TIMEOUT))
        for _ in range(50):
            writer.put([AddJob(job_row())], told.append)
        gate.set()
        assert writer.close(TIMEOUT)
        assert time.monotonic() - start < 10
    assert [type(error) for error in told] == [StoreLocked] * 50
    assert store.open_jobs() == ()


# ---- damage --------------------------------------------------------------------------------------------------------


def test_a_file_of_something_else(sqlite_place: Place) -> None:
    sqlite_place.folder.mkdir()
    file = sqlite_place.folder / FILE
    file.write_bytes(b"not a database at all, but long enough" * 100)
    with pytest.raises(StoreBroken, match=str(file)):
        sqlite_place.open()
    file.unlink()
    sqlite_place.open()  # the folder is not locked any more


def test_a_damaged_file(sqlite_place: Place) -> None:
    store = sqlite_place.open()
    store.write([AddJob(job_row(f"{i}", prompt="x" * 500)) for i in range(400)])
    store.close()
    file = sqlite_place.folder / FILE
    with file.open("r+b") as raw:
        raw.seek(64 * 4096)
        raw.write(b"\xff" * 20 * 4096)
    store = sqlite_place.open()
    with pytest.raises(StoreBroken, match=str(file)):
        store.check()
    with pytest.raises(StoreBroken, match="restore the last good copy"):
        store.jobs(None, 0, 1000)
    with pytest.raises(StoreBroken, match="restore the last good copy"):
        store.write([SetJob(f"{i}", {"step": 1}) for i in range(400)])


def test_sums_that_do_not_agree(place: Place) -> None:
    store = place.open()
    ended = EndJob("one", {"state": "done", "ended_ms": 1}, (picture_row("one"),))
    store.write([AddJob(job_row("one")), ended, AddEntries(ledger_entries(1)[0])])
    store.check()
    statements = {
        "UPDATE usage SET bytes = 11": "has 10 bytes, not 11",
        "UPDATE entries SET seq = 2": "1 ledger entries up to number 2",
        "UPDATE jobs SET state = 'queued'": "has pictures, deleted or not at its end",
    }
    for statement, text in statements.items():
        with store._database.writer.begin() as connection:
            connection.exec_driver_sql(statement)
        with pytest.raises(StoreBroken, match=text):
            store.check()


def test_pages_that_cannot_be_read_are_an_error_and_not_a_signal(tmp_path: Path) -> None:
    """What is gone from the file is like what the disk cannot read: a process that maps the file ends by SIGBUS."""
    Store.open(None, tmp_path).close()
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:  # pages that nothing has looked at before
        connection.execute("CREATE TABLE filling (text)")
        connection.executemany("INSERT INTO filling VALUES (?)", [("x" * 3_000,)] * 100)
        connection.commit()
    store = Store.open(None, tmp_path)
    try:
        with store._database.reader.connect() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM jobs").scalar() == 0
            os.truncate(tmp_path / FILE, (tmp_path / FILE).stat().st_size // 2)
            with pytest.raises(sa.exc.DatabaseError) as caught:
                connection.exec_driver_sql("SELECT sum(length(text)) FROM filling").scalar()
        assert isinstance(translate(caught.value, "here"), StoreBroken | StoreLost)
    finally:
        with suppress(StoreError):
            store.close()


def test_the_file_goes_away(sqlite_place: Place) -> None:
    store = sqlite_place.open()
    (sqlite_place.folder / FILE).unlink()
    with pytest.raises(StoreLost, match="no longer there"):
        store.write([AddJob(job_row())])


def test_another_file_takes_its_place(sqlite_place: Place) -> None:
    """A backup that is moved over the file of a running server: nothing is written to what nobody will find."""
    store, file = sqlite_place.open(), sqlite_place.folder / FILE
    shutil.copy(file, file.with_suffix(".backup"))
    file.with_suffix(".backup").replace(file)
    with pytest.raises(StoreLost, match="another file than was opened"):
        store.write([AddJob(job_row())])
    store.close()
    again = sqlite_place.open()
    again.write([AddJob(job_row())])


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreLost, match="file"):
        Store.open(None, tmp_path / "file" / "store")
    with pytest.raises(StoreLost, match="file"):
        FolderBlobs(tmp_path / "file" / "pictures")


# ---- PostgreSQL goes away ------------------------------------------------------------------------------------------


def test_connections_that_were_cut(cluster: Cluster, postgres_place: Place) -> None:
    store = postgres_place.open()
    store.write([AddJob(job_row("one"))])
    for _ in range(3):
        assert store.job("one") is not None
        cluster.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        store.write([SetJob("one", {"step": 1})])
        cluster.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        assert store.job("one") is not None


def test_a_server_that_crashes(cluster: Cluster, postgres_place: Place) -> None:
    store = postgres_place.open(busy_s=0.5)
    store.write([AddJob(job_row("one"))])
    cluster.stop("immediate")
    try:
        with pytest.raises(StoreLost):
            store.write([AddJob(job_row("two"))])
        with pytest.raises(StoreLost):
            store.job("one")
    finally:
        cluster.start()
    store.write([AddJob(job_row("three"))])
    assert [row.job for row in store.open_jobs()] == ["one", "three"]


class Cutter:
    """Between a store and PostgreSQL: hands everything on, but for the answers to a COMMIT while it is armed."""

    def __init__(self, folder: Path, target: Path) -> None:
        self.folder, self.armed, self.cuts = folder, False, 0
        self._target = target / ".s.PGSQL.5432"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with closing(client), closing(socket.socket(socket.AF_UNIX)) as server:
            server.connect(str(self._target))
            cut = False
            while True:
                ready, _, _ = select.select([client, server], [], [], TIMEOUT)
                for source in ready:
                    data = source.recv(65536)
                    if not data or cut:
                        return
                    if source is client and self.armed and b"COMMIT\0" in data:
                        self.armed, cut = False, True  # it gets there; its answer goes nowhere
                        self.cuts += 1
                    (server if source is client else client).sendall(data)
                if not ready:
                    return


def test_the_answer_to_a_commit_is_lost(cluster: Cluster, tmp_path: Path) -> None:
    """Whether it was stored or not, it is there once."""
    folder = cluster.folder / "cut"
    folder.mkdir()
    cutter = Cutter(folder, cluster.folder)
    store = Store.open(cluster.url(cluster.new_schema(), folder), tmp_path / "store")
    try:
        store.write([AddJob(job_row("gone")), EndJob("gone", {"state": "done"}, (picture_row("gone"),))])
        for i, operation in enumerate(ledger_entries(5)):
            cutter.armed = True
            store.write([AddJob(job_row(f"{i}")), AddEntries(operation)])
        assert cutter.cuts == 5
        cutter.armed = True
        replaced = store.write([EndJob("gone", {"state": "done"}, ())])
        assert replaced == (picture_row("gone").digest,)
        assert store.begin_life() == 1
        assert [row.job for row in store.open_jobs()] == ["0", "1", "2", "3", "4"]
        store.check()
    finally:
        store.close()
        cutter.close()
        shutil.rmtree(folder)
