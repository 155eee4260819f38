"""A process that writes jobs until it is killed, and the rounds of killing it.

    python -m tests.studio.store.crash_writer [ROUNDS] [URL]

It says the id of a job once that is stored. After the kill every id that was said must be there.
"""

from __future__ import annotations

import queue
import random
import subprocess
import sys
import tempfile
import threading
import time
from itertools import count
from pathlib import Path

from salon.scheduler.entries import LedgerEntry, Source
from salon.scheduler.ledger import Ledger
from salon.studio.errors import StoreError
from salon.studio.store.folder_blobs import FolderBlobs
from salon.studio.store.rows import JobRow, PictureRow
from salon.studio.store.store import Store
from salon.studio.store.writer import Writer
from salon.studio.store.writes import AddEntries, AddJob, EndJob

AT_A_TIME = 8


def write(folder: Path, url: str | None) -> None:
    """Until the end: jobs with their pictures and their ledger entries, eight at a time, in groups."""
    store, blobs = Store.open(url, folder), FolderBlobs(folder / "pictures")
    life = store.begin_life()
    ledger = Ledger.replay(store.all_entries())
    made: list[tuple[LedgerEntry, ...]] = []
    sent: list[AddEntries] = []

    def before() -> list[AddEntries]:
        sent[:] = [AddEntries(operation) for operation in made]
        return sent

    def after(ok: bool) -> None:
        if ok:
            del made[: len(sent)]

    writer = Writer(store, before, after)
    told: queue.SimpleQueue[tuple[str, StoreError | None]] = queue.SimpleQueue()

    def put(number: int) -> None:
        job = f"{life}-{number}"
        digest = blobs.put(job.encode() * 200)
        made.append(ledger.grant("a", 1, Source.BONUS, ledger.now_ms, 10**12))
        picture = PictureRow(job=job, index=0, digest=digest, size=len(job) * 200, width=1, height=1)
        row = JobRow(job=job, account="a", key=job)
        end = EndJob(job, {"state": "done", "ended_ms": 1}, (picture,))
        writer.put([AddJob(row), end], lambda error: told.put((job, error)))

    for number in range(AT_A_TIME):
        put(number)
    for number in count(AT_A_TIME):
        job, error = told.get()
        if error is not None:
            raise error
        print(job, flush=True)
        put(number)


def check(folder: Path, url: str | None, told: set[str]) -> int:
    """Open what a kill has left. AssertionError if something is missing; the number of jobs."""
    store, blobs = Store.open(url, folder), FolderBlobs(folder / "pictures")
    try:
        store.check()
        Ledger.replay(store.all_entries())
        jobs = {row.job for row in store.jobs(None, 0, 10**9)}
        assert told <= jobs, f"stored and told, and gone: {sorted(told - jobs)}"
        for job in told:
            (picture,) = store.pictures(job)
            blobs.verify(picture.digest)
        assert not list((folder / "pictures" / "tmp").iterdir())
        return len(jobs)
    finally:
        store.close()


def rounds(number: int, folder: Path, url: str | None = None, seed: int = 0) -> int:
    """Start, let it write, kill it, look. The number of jobs that were said to be stored."""
    rng, told = random.Random(seed), set[str]()
    for _ in range(number):
        command = [sys.executable, "-m", __spec__.name, "write", str(folder), url or ""]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])
        assert process.stdout is not None
        kill = threading.Timer(120.0, process.kill)  # if it says nothing at all
        kill.start()
        try:
            told.add(process.stdout.readline().strip())
            time.sleep(rng.uniform(0, 0.15))  # so that it dies at any point
        finally:
            process.kill()
            kill.cancel()
            rest = process.communicate(timeout=120)[0]
        told.update(line for line in rest.split("\n")[:-1] if line)
        told.discard("")
        check(folder, url, told)
    return len(told)


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"]:
        write(Path(sys.argv[2]), sys.argv[3] or None)
    else:
        with tempfile.TemporaryDirectory() as place:
            wanted = int(sys.argv[1]) if sys.argv[1:] else 100
            kept = rounds(wanted, Path(place), sys.argv[2] if sys.argv[2:] else None)
            print(f"{wanted} kills, {kept} jobs told, none lost")
