"""The server over loopback, beside what ZeroMQ, the disk and the engine do by themselves in the same run.

`python -m salon.bench.wire [--quick] [--threads N] [--only PART] [--out DIR]`

Server, clients and rivals are processes of their own, and take turns. Parts: `commands` (small commands of 64 clients),
`idle` (memory of 1,000 clients), `pictures` (delivery of a large one), `submits` (to an acknowledgement that is on
disk), `overhead` (a grid through server and client).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Final

from ..fleet import Child
from ..runner import Bench, run
from . import commands, delivery, durable, idle, overhead
from .host import Host

PARTS: Final = ("commands", "pictures", "submits", "idle", "overhead")
COLUMNS: Final = [
    ["command", "per_s", "p50_ms", "p99_ms", "echo_per_s", "echo_p50_ms", "echo_p99_ms", "of_echo"],
    ["fetching", "mb_per_s", "raw_mb_per_s", "of_raw"],
    ["submitting", "ack_p50_ms", "ack_p99_ms", "acks_per_s", "flush_p50_ms", "flush_p99_ms"],
    ["server", "idle_clients", "before_mib", "after_mib", "kib_per_client", "connect_s"],
    ["grid_of_4", "done_ms", "against_engine", "file_ms", "files_against_engine", "grids"],
]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", choices=PARTS, help="one part only")


def body(bench: Bench) -> None:
    bench.use("pyzmq", "msgspec")
    bench.columns = COLUMNS
    parts = PARTS if bench.options.only is None else (bench.options.only,)
    with tempfile.TemporaryDirectory(prefix="salon-wire-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if {"commands", "pictures", "submits"} & set(parts):
            host = Host(folder / "main", 1)
            size = bench.pick(delivery.TINY_SIZE, delivery.SIZE, delivery.SIZE)
            digest = delivery.prepare(host.data, size)
            log = folder / "load.log"
            with host, Child("wire.load", [], log) as load:
                if "commands" in parts:
                    with Child("wire.echo", [], log) as echo:
                        commands.measure(bench, host, load, echo)
                if "pictures" in parts:
                    with Child("wire.echo", [], log) as echo:
                        delivery.measure(bench, host, load, echo, digest, size)
                if "submits" in parts:
                    durable.measure(bench, host, load)
            host.remove()
        if "idle" in parts:
            idle.measure(bench, folder)
        if "overhead" in parts:
            overhead.measure(bench, folder)


main = partial(run, "wire", (__doc__ or "").splitlines()[0], body, arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
