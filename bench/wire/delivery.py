"""Part 3: a large picture from the store to clients, beside the same bytes sent by ZeroMQ from memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from ...frontends.wire.messages import Limits
from ...studio.store.folder_blobs import FolderBlobs
from ...studio.store.rows import JobRow, PictureRow
from ...studio.store.store import Store
from ...studio.store.writes import AddJob, EndJob
from ..fleet import Child
from ..measure import interleave
from ..report import Goal
from ..runner import Bench
from .host import Host

SIZE, TINY_SIZE = 32 << 20, 3 << 20
SIDE: Final = 3345  # of a picture with so many bytes of pixels
JOB: Final = "large"
GOAL: Final = 80.0
TINY, QUICK, FULL = (1, 1), (2, 2), (8, 3)  # (rounds, fetches of each in a round)
MB: Final = 1e6


def prepare(data: Path, size: int) -> str:
    """Store a job with a picture of so many bytes, in the data folder of a server that does not run.

    Return the file's sha256.
    """
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest = FolderBlobs(data / "pictures").put(os.urandom(size))
    picture = PictureRow(job=JOB, index=0, digest=digest, size=size, width=SIDE, height=SIDE)
    store = Store.open(None, data)
    try:
        store.write([AddJob(JobRow(job=JOB, account="local", key=JOB))])
        store.write([EndJob(JOB, {"state": "done"}, (picture,))])
    finally:
        store.close()
    return digest


def measure(bench: Bench, host: Host, load: Child, echo: Child, digest: str, size: int) -> None:
    """Measure the bytes a second to one client and to four, of the server and of the echo, in turns."""
    floor = echo.ask("listen", picture_bytes=size, chunk=Limits().chunk, timeout=120)["address"]
    rounds, each = bench.pick(TINY, QUICK, FULL)

    def turn(clients: int, raw: bool, check: str = "") -> list[float]:
        load.ask("connect", address=floor if raw else host.address, clients=clients, hello=not raw, timeout=120)
        times = 1 if check else 1 + each
        made = [load.ask("fetch", job=JOB, total=size, raw=raw, check=check, timeout=120)["ms"] for _ in range(times)]
        return made[1:]  # the first one brings caches back

    turn(2, False, digest)  # all bytes are right, and the file is in the cache of the system
    turns: dict[str, Callable[[], list[float]]] = {}
    for clients in (1, 4):
        turns[f"{clients} server"], turns[f"{clients} echo"] = (
            partial(turn, clients, False),
            partial(turn, clients, True),
        )
    with bench.progress("pictures", rounds) as advance:
        found = interleave(turns, rounds=rounds, deadline=bench.deadline, on_round=lambda: advance(""))
    load.ask("leave", timeout=120)
    for clients in (1, 4):
        mine, raw = found[f"{clients} server"].median, found[f"{clients} echo"].median
        if mine is None or raw is None:
            continue
        bench.row(
            part="pictures",
            fetching=clients,
            mb_per_s=clients * size / MB / mine * 1e3,
            raw_mb_per_s=clients * size / MB / raw * 1e3,
            of_raw=raw / mine,
            fetches=len(found[f"{clients} server"]),
        )
        note = f"a picture of {size >> 20} MiB in chunks of {Limits().chunk >> 10} KiB, {clients} at the same time"
        bench.goal(Goal.at_least(f"delivery to {clients}, of a raw copy", GOAL, 100 * raw / mine, " %", note))
