"""Part 2: what a thousand connected clients that do nothing cost in memory, beside a socket that only echoes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from ..fleet import Child
from ..runner import Bench
from .host import Host, rss_bytes

CLIENTS, TINY_CLIENTS = 1000, 20
TINY_S, QUICK_S, FULL_S = 0.1, 0.5, 6.0  # that they do nothing
MIB: Final = 1 << 20


def measure(bench: Bench, folder: Path) -> None:
    """Measure resident memory before and after, once with and once without encryption."""
    kinds = [("plain", False), ("curve", True)]
    for name, curve in kinds:
        if not bench.deadline.allows(6):
            return
        with Host(folder / f"idle-{name}", 1, curve=curve) as host, Child("wire.load", [], folder / "idle.log") as load:
            connect_s = _connect(bench, name, host.address, host.pid, load, hello=True)
            host.remove()
        bench.report.rows[-1]["connect_s"] = connect_s
    if bench.deadline.allows(3):
        with (
            Child("wire.echo", [], folder / "idle.log") as echo,
            Child("wire.load", [], folder / "idle.log") as load,
        ):
            address = echo.ask("listen", timeout=120)["address"]
            assert echo.process is not None
            _connect(bench, "echo", address, echo.process.pid, load, hello=False)


def _connect(bench: Bench, name: str, address: str, process: int, load: Child, *, hello: bool) -> float:
    load.ask("connect", address=address, clients=8, hello=hello, timeout=120)  # what the first ones cost once
    load.ask("leave", timeout=120)
    time.sleep(0.3)
    many = bench.pick(TINY_CLIENTS, CLIENTS, CLIENTS)
    before = rss_bytes(process)
    start = time.monotonic()
    load.ask("connect", address=address, clients=many, hello=hello, timeout=120)
    connect_s = time.monotonic() - start
    load.ask("idle", seconds=bench.pick(TINY_S, QUICK_S, FULL_S), timeout=120)
    after = rss_bytes(process)
    bench.row(
        part="idle clients",
        server=name,
        idle_clients=many,
        before_mib=before / MIB,
        after_mib=after / MIB,
        kib_per_client=(after - before) / 1024 / many,
    )
    return connect_s
