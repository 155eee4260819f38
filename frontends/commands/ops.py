"""`salon ops`: the server's state, and what stops and starts it."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from . import exits, words
from .connection import connected
from .tables import print_json, print_pairs, print_table

if TYPE_CHECKING:
    from ..client.client import Client
    from ..wire.messages import Status, WorkerInfo

WORKER_COLUMNS = ("worker", ">busy", ">step", ">steps", ">jobs", ">cost error", ">restarts", "state")
POLL_S = 1.0


def status(options: argparse.Namespace) -> int:
    """The server at a glance."""
    with connected(options) as client:
        found = client.ops.status()
    if options.json:
        print_json(found)
        return exits.DONE
    print_pairs(status_pairs(found))
    print()
    print_table(WORKER_COLUMNS, map(worker_row, found.workers), "no workers")
    return exits.DONE


def status_pairs(found: Status) -> list[tuple[str, str]]:
    """All but the workers, by name."""
    return [
        ("state", f"{found.state}, for {words.span(found.up_ms)}"),
        ("server", found.server),
        ("model", found.model + (f", on {found.backend}" if found.backend else "")),
        ("clients", f"{found.clients:,}"),
        ("queued", words.counts(found.queued)),
        ("running", words.counts(found.running)),
        ("accepted", f"{words.plural(found.accepted, 'job')}, ended: {words.counts(found.ended)}"),
        ("steps", f"{found.steps:,}, {found.batch_jobs:.2f} jobs in each"),
        ("stored", f"{words.size(found.stored_bytes)}, {words.size(found.free_bytes)} free"),
    ]


def workers(options: argparse.Namespace) -> int:
    """All workers."""
    with connected(options) as client:
        found = client.ops.workers().workers
    if options.json:
        print_json(found)
    else:
        print_table(WORKER_COLUMNS, map(worker_row, found), "no workers")
    return exits.DONE


def worker_row(worker: WorkerInfo) -> list[str]:
    """The cells of `WORKER_COLUMNS`."""
    return [
        worker.name,
        words.share(worker.busy_share),
        words.span(worker.step_ms) if worker.step_ms < 10 else f"{worker.step_ms:.1f} ms",
        f"{worker.steps:,}",
        f"{worker.started_jobs:,}",
        words.share(worker.cost_error),
        f"{worker.restarts:,}",
        worker.state,
    ]


def pause(options: argparse.Namespace) -> int:
    """Start no further step."""
    with connected(options) as client:
        changed = client.ops.pause()
    return _did(options, changed, "paused", "was paused before")


def resume(options: argparse.Namespace) -> int:
    """End a pause or a drain."""
    with connected(options) as client:
        changed = client.ops.resume()
    return _did(options, changed, "resumed", "was running before")


def _did(options: argparse.Namespace, changed: bool, done: str, otherwise: str) -> int:
    if options.json:
        print_json({done: changed})
    else:
        print(done if changed else otherwise)
    return exits.DONE


def drain(options: argparse.Namespace) -> int:
    """Accept no further jobs; perhaps wait for the rest of them."""
    with connected(options) as client:
        changed = client.ops.drain(stop=options.stop)
        if not options.json:
            print("draining" if changed else "was draining before", flush=True)
        left = _wait(client, stop=options.stop, quiet=options.json) if options.wait else None
    if options.json:
        print_json({"draining": changed, "stop": options.stop, "left": left})
    elif left == 0:
        print("all jobs have ended" + (", the server stops" if options.stop else ""))
    return exits.DONE


def _wait(client: Client, *, stop: bool, quiet: bool) -> int:
    """Until no job is left: 0. Ends with the client's error if the server does not answer any more, except that a
    server which is to stop may be gone before we have seen the last job end."""
    from ..client.errors import Disconnected

    last = -1
    while True:
        try:
            found = client.ops.status()
        except Disconnected:
            if stop and last >= 0:
                return 0
            raise
        left = sum(found.queued.values()) + sum(found.running.values())
        if left == 0 or found.state != "draining":
            return left  # somebody else may have resumed it
        if left != last and not quiet:
            print(f"{words.plural(left, 'job')} left", file=sys.stderr, flush=True)
        last = left
        time.sleep(POLL_S)


def retry(options: argparse.Namespace) -> int:
    """Run a failed job again."""
    with connected(options) as client:
        info = client.ops.retry(options.job)
    if options.json:
        print_json(info)
    else:
        print(f"{info.job} {info.state}")
    return exits.DONE
