"""Part 4: from a submit to its acknowledgement, which means that the job is on disk."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from ...frontends.wire.messages import OpsPause
from ..fleet import Child
from ..measure import quantile
from ..runner import Bench
from .commands import ASK_S, told
from .host import Host

TINY, QUICK, FULL = (1, 2), (2, 20), (5, 40)  # (rounds, jobs of each client in a round)
BLOCK: Final = 4096  # bytes that the floor appends


def flushes(folder: Path, count: int) -> list[float]:
    """Return the milliseconds of each of `count` appends of a block to a file there, flushed to the disk."""
    path = folder / "flushes"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    values = []
    try:
        for _ in range(count):
            start = time.perf_counter()
            os.write(file, bytes(BLOCK))
            os.fdatasync(file)
            values.append(1e3 * (time.perf_counter() - start))
    finally:
        os.close(file)
        path.unlink()
    return values


def measure(bench: Bench, host: Host, load: Child) -> None:
    """Measure one client alone, then sixteen, with flushes of the same disk in between. The server is paused."""
    load.ask("connect", address=host.address, clients=1, timeout=ASK_S)
    told(load, OpsPause())
    rounds, each = bench.pick(TINY, QUICK, FULL)
    found: dict[int, list[float]] = {1: [], 16: []}
    rates: dict[int, list[float]] = {1: [], 16: []}
    floor: list[float] = []
    for number in range(rounds):
        if not bench.deadline.allows(3):
            break
        for clients, values in found.items():
            floor += flushes(host.data, each)
            load.ask("connect", address=host.address, clients=clients, timeout=ASK_S)
            made = load.ask("submit", prefix=f"{number}-{clients}", each=each, timeout=ASK_S)
            values += made["ms"]
            rates[clients].append(made["rate"])
    load.ask("leave", timeout=ASK_S)
    for clients, values in found.items():
        if values:
            bench.row(
                part="submits",
                submitting=clients,
                ack_p50_ms=quantile(values, 0.5),
                ack_p99_ms=quantile(values, 0.99),
                acks_per_s=quantile(rates[clients], 0.5),
                flush_p50_ms=quantile(floor, 0.5),
                flush_p99_ms=quantile(floor, 0.99),
                jobs=len(values),
            )
    bench.note(f"flush: {BLOCK} bytes appended to a file in the server's folder, with fdatasync, in the same run")
