"""`salon ops`: the server's state, and what stops and starts it."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Final

from . import exits, words
from .connection import connected
from .tables import print_json, print_pairs, print_table

if TYPE_CHECKING:
    from ..wire.messages import Status, WorkerInfo

WORKER_COLUMNS: Final = ("worker", ">busy", ">step", "?>steps", ">jobs", "?>cost error", "?>restarts", "state")
POLL_S: Final = 0.5
GONE_S: Final = 2.0  # without a connection: a server that was to stop has done so
PATIENCE_S: Final = 60.0  # with one, and no answer


def status(options: argparse.Namespace) -> int:
    """Show the server at a glance."""
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
    """Return all but the workers, by name."""
    return [
        ("state", f"{found.state}, for {words.span(found.up_ms)}"),
        ("server", found.server),
        ("model", found.model + (f", on {found.backend}" if found.backend else "")),
        ("clients", f"{found.clients:,}, {found.http_clients:,} over HTTP"),
        ("queued", words.counts(found.queued)),
        ("running", words.counts(found.running)),
        ("accepted", f"{words.plural(found.accepted, 'job')}, ended: {words.counts(found.ended)}"),
        ("steps", f"{found.steps:,}, {found.batch_jobs:.2f} jobs in each"),
        ("stored", f"{words.size(found.stored_bytes)}, {words.size(found.free_bytes)} free"),
    ]


def workers(options: argparse.Namespace) -> int:
    """List all workers."""
    with connected(options) as client:
        found = client.ops.workers().workers
    if options.json:
        print_json(found)
    else:
        print_table(WORKER_COLUMNS, map(worker_row, found), "no workers")
    return exits.DONE


def worker_row(worker: WorkerInfo) -> list[str]:
    """Return the cells of `WORKER_COLUMNS`."""
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
    """Accept no further jobs; with --wait, wait for the rest of them."""
    with connected(options) as client:
        changed = client.ops.drain(stop=options.stop)
    if not options.json:
        print("draining" if changed else "was draining before", flush=True)
    left = _wait(options) if options.wait else None
    if options.json:
        print_json({"draining": changed, "stop": options.stop, "left": left})
    elif left == 0:
        print("all jobs have ended" + (", the server stops" if options.stop else ""))
    elif left is not None:
        print(f"{words.plural(left, 'job')} left: the server drains no more")
    return exits.BROKEN if left else exits.DONE


def _wait(options: argparse.Namespace) -> int:
    """Wait until no job is left, and return 0; or how many jobs there are, if the drain is ended meanwhile.

    A server that is to stop may be gone before we have seen its last job end. That is found out soon.

    Raises:
        Disconnected, TimedOut: the server does not answer any more, and was not to stop.
    """
    from ..client.errors import Disconnected, TimedOut
    from ..client.link import NOBODY

    last, heard = -1, time.monotonic()
    with connected(options, timeout_s=GONE_S if options.stop else None) as client:
        while True:
            asked = time.monotonic()
            try:
                found = client.ops.status()
            except Disconnected as error:
                if not options.stop:
                    raise
                now = time.monotonic()
                if NOBODY in str(error) or now - asked < GONE_S or now - heard > max(PATIENCE_S, options.timeout):
                    return 0
                continue  # no connection yet: it may as well be busy
            except TimedOut:  # it is there, and busy
                if time.monotonic() - heard > max(PATIENCE_S, options.timeout):
                    raise
                continue
            heard = time.monotonic()
            left = sum(found.queued.values()) + sum(found.running.values())
            if left == 0 or found.state != "draining":
                return left
            if left != last and not options.json:
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
