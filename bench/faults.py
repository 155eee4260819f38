"""What the server does when it is killed, crowded and lied to: faults that are really caused, and what they cost.

`python -m salon.bench.faults [--quick] [--rounds N] [--messages N] [--threads N] [--out DIR]`

A real server with two worker processes, CURVE and accounts; users that submit with keys and repeat what was not
answered. Server and workers are killed (SIGKILL) at random moments; afterwards every acknowledged job has to have ended
once, with the pictures of a solo run, and one charge. Then a small disk is filled again and again, a live server gets
random messages, a client never reads, and good ones are served meanwhile. On the embedded model, small pictures.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, Final

import zmq

from ..engine.engine import Engine
from ..frontends.wire import messages as m
from ..frontends.wire.codec import encode
from ..system import python_command
from .faulty.audit import Solo, audit
from .faulty.disk import Disk, small_disk
from .faulty.hostile import Fuzz, GoodClient, Peer
from .faulty.process import ServerProcess
from .faulty.siege import Siege
from .measure import quantile
from .report import Goal
from .runner import Bench, positive, run

KILLS: Final = ("server", "worker")
JOBS: Final = 9  # of a round
SIDES: Final = (64, 96)
MAX_STEPS: Final = 4
MIB: Final = 1 << 20
LAZY_S: Final = 15.0  # of not reading
SMALL: Final[dict[str, Any]] = {"prompt": "a red apple", "width": 64, "height": 64, "steps": 1, "images": 4}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=positive, help="of kills (default: 70; --quick: 3)")
    parser.add_argument("--messages", type=positive, help="random ones (default: 200000; --quick: 5000)")


def kills(bench: Bench, folder: Path, solo: Solo) -> None:
    """Run rounds of jobs, with one to three kills in each."""
    rounds = bench.options.rounds or bench.pick(1, 3, 70)
    started = time.monotonic()
    with Siege(folder, solo, sides=SIDES, max_steps=MAX_STEPS, users=3, seed=1) as siege:
        with bench.progress("kills", rounds) as advance:
            for number in range(rounds):
                if bench.deadline.left() < 25:
                    break
                siege.round(
                    bench.pick(3, JOBS, JOBS),
                    siege.draw.choices(KILLS, k=1 + number % 3),
                    spread_s=bench.pick(0.3, 1.5, 1.5),
                )
                advance(f"{len(siege.wrong)} wrong")
        siege.inspect(last=True)
        counts, down = siege.counts, sorted(siege.down_s) or [0.0]
    bench.row(
        fault="killed", rounds=counts["rounds"], server_kills=counts["server kills"],
        worker_kills=counts["worker kills"], jobs=counts["jobs"], events=counts["events"],
        pictures_compared=counts["pictures"] + counts["pictures read from disk"], lost=counts["lost"],
        doubled=counts["doubled"], different=counts["different"], charged_jobs=counts["charged jobs"],
        orphans=counts["orphans"], wrong=len(siege.wrong), start_s_median=quantile(down, 0.5), start_s_max=down[-1],
        seconds=time.monotonic() - started,
    )  # fmt: skip
    for text in siege.wrong[:20]:
        bench.note(f"wrong: {text}")
    bench.goal(Goal.at_least("rounds of kills", 1 if bench.quick else 60, counts["rounds"]))
    bench.goal(Goal.at_most("jobs lost", 0, counts["lost"]))
    bench.goal(Goal.at_most("jobs doubled", 0, counts["doubled"]))
    bench.goal(Goal.at_most("pictures that differ from their solo run", 0, counts["different"]))
    bench.goal(Goal.at_most("findings of the audit after kills", 0, len(siege.wrong)))
    bench.goal(Goal.at_most("jobs stored and not submitted, or the other way", 0,
                            abs(counts["jobs"] - counts["stored jobs"])))  # fmt: skip


def full_disks(bench: Bench, folder: Path, solo: Solo) -> None:
    """Fill a disk of 64 MB to some degree while jobs run, and free it again.

    In every third round the server is killed while the disk is full.
    """
    rounds, draw = bench.pick(1, 2, 20), random.Random(2)
    counts: Counter[str] = Counter()
    with small_disk(folder / "disk", "64m") as disk, ServerProcess(folder, data=folder / "disk") as server:
        if disk is None:
            bench.note("full disks: not measured, only root may mount a small one")
            return
        with bench.progress("full disks", rounds) as advance:
            for number in range(rounds):
                if bench.deadline.left() < 10:
                    break
                _full_disk(server, disk, draw, counts, kill=number % 3 == 2)
                counts["rounds"] += 1
                advance("")
        server.kill()
        found = audit(server.data, solo)
    bench.row(
        fault="full disk", rounds=counts["rounds"], server_kills=counts["kills"], jobs=counts["jobs"],
        refused=counts["refused"], lost=counts["lost"], doubled=found.jobs.total() - counts["jobs"],
        pictures_compared=found.pictures, orphans=found.orphans, wrong=len(found.wrong),
    )  # fmt: skip
    for text in found.wrong[:20]:
        bench.note(f"wrong, after full disks: {text}")
    bench.goal(Goal.at_most("jobs lost to a full disk", 0, counts["lost"]))
    bench.goal(Goal.at_most("findings of the audit after full disks", 0, len(found.wrong)))


def _full_disk(server: ServerProcess, disk: Disk, draw: random.Random, counts: Counter[str], *, kill: bool) -> None:
    jobs: list[str] = []
    late: list[m.Submit] = []  # a job that is done before its row is stored waits for the disk, and its answer with it
    with Peer(server.address) as peer:
        peer.hello()
        full_at = draw.randrange(6)
        for i in range(8):
            if i == full_at:
                disk.fill(draw.choice((0, 8_000, 30_000, 80_000, 200_000)))
            request = m.Submit(key=f"{counts['rounds']}-{i}", **SMALL, seed=draw.randrange(2**32))
            answer = peer.ask(request, b"%d" % i, 2_000)
            if isinstance(answer, m.Accepted):
                jobs.append(answer.job.job)
            counts["refused"] += isinstance(answer, m.Failure)
            late += [request] if answer is None else []
            time.sleep(draw.uniform(0.0, 0.2))
    if kill:
        server.kill()
        counts["kills"] += 1
    disk.free()
    if kill:
        server.start()
    with Peer(server.address) as peer:
        peer.hello()
        for i, request in enumerate(late):  # as a client does: the same key again is the same job
            answer = peer.ask(request, b"late-%d" % i)
            if isinstance(answer, m.Accepted):
                jobs.append(answer.job.job)
            counts["refused"] += isinstance(answer, m.Failure)
        for job in jobs:
            counts["lost"] += _end(peer, job) != "done"
    counts["jobs"] += len(jobs)


def _end(peer: Peer, job: str) -> str:
    """Return the kind of the last event of a job; empty: it does not end in time."""
    peer.put([job.encode()[:16], encode(m.Watch(job=job))])
    last = ""
    while not isinstance(told := peer.answer(job.encode()[:16]), m.Watched):
        if not isinstance(told, m.Event):
            return ""
        last = told.kind
    return last


def noise(bench: Bench, folder: Path) -> None:
    """Send random messages to a live server, with a good client beside them."""
    count = bench.options.messages or bench.pick(300, 5_000, 200_000)
    with ServerProcess(folder) as server:
        job, *victims = _finished(server, 4)
        before = server.rss()
        fuzz, started = Fuzz(server.address, victims, seed=3), time.monotonic()
        with GoodClient(server.address, job) as good:
            fuzz.run(count, lambda: bench.deadline.left() > 8)
            spent = time.monotonic() - started
            fuzz.settle(60.0)
        fuzz.close()
        after, alive = server.rss(), server.running
        errors = server.log.read_text().count("Traceback")
    bench.row(
        fault="random messages", messages=fuzz.sent, messages_a_second=fuzz.sent / spent,
        answers=dict(sorted(fuzz.answers.items())), unanswered=len(fuzz.open), answered_twice=fuzz.twice,
        internal_errors=len(fuzz.strange) + errors, server_lives=alive, **_memory(before, after), **_served(good),
    )  # fmt: skip
    bench.goal(Goal.at_least("random messages", 5_000 if bench.quick else 100_000, fuzz.sent))
    bench.goal(Goal.at_most("whole messages not answered exactly once", 0, len(fuzz.open) + fuzz.twice))
    bench.goal(Goal.at_most("internal errors", 0, len(fuzz.strange) + errors))
    bench.goal(Goal.at_most("growth under random messages", 256, (after - before) / MIB, " MiB"))
    _goal_served(bench, good, "random messages")


def unread(bench: Bench, folder: Path) -> None:
    """Run a client that watches, fetches, lists, and never reads."""
    with ServerProcess(folder) as server:
        job, *others = _finished(server, 3)
        before = top = server.rss()
        number = 0
        with Peer(server.address, options={zmq.RCVHWM: 1, zmq.RCVBUF: 4096}) as lazy:
            lazy.hello()
            with GoodClient(server.address, job) as good:
                end = time.monotonic() + bench.pick(0.5, 3.0, LAZY_S)
                while time.monotonic() < end and bench.deadline.left() > 2:
                    number += 1
                    requests = (
                        m.Fetch(job=others[0], credit=16), m.Watch(job=others[1], previews=True),
                        m.Submit(key=f"u{number % 30}", **SMALL, seed=number % 30, preview_every=1),
                        m.ListJobs(limit=200), m.OpsLedger(limit=200),
                    )  # fmt: skip
                    for index, request in enumerate(requests):
                        lazy.put([number.to_bytes(8, "big") + bytes([index]), encode(request)])
                    top = max(top, server.rss())
                    time.sleep(0.002)
        alive = server.running
    bench.row(
        fault="never reads", messages=5 * number, server_lives=alive, **_memory(before, top), **_served(good)
    )  # fmt: skip
    bench.goal(Goal.at_most("growth by a client that never reads", 256, (top - before) / MIB, " MiB"))
    _goal_served(bench, good, "a client that never reads")


def flood(bench: Bench, folder: Path) -> None:
    """Run four clients that ping as fast as they can, in a process of their own."""
    seconds = bench.pick(0.9, 3.0, 10.0)
    with ServerProcess(folder) as server:
        (job,) = _finished(server, 1)
        before = server.rss()
        with GoodClient(server.address, job) as alone:
            time.sleep(seconds / 3)
        command = python_command(f"{__package__}.faulty.flood", server.address, f"{seconds:g}")
        flooding = subprocess.Popen(command, stdout=subprocess.PIPE)
        with GoodClient(server.address, job) as good:
            said, _ = flooding.communicate(timeout=seconds + 60)
        after, alive = server.rss(), server.running
    pings = int(said)
    bench.row(
        fault="flood of pings", messages=pings, messages_a_second=pings / seconds, server_lives=alive,
        alone_ms_p99=quantile(alone.waits_ms, 0.99), **_memory(before, after), **_served(good),
    )  # fmt: skip
    bench.goal(Goal.at_most("growth under a flood", 256, (after - before) / MIB, " MiB"))
    _goal_served(bench, good, "a flood")


def _finished(server: ServerProcess, count: int) -> list[str]:
    """Return the jobs that are done."""
    with Peer(server.address) as peer:
        peer.hello()
        asked = [m.Submit(key=f"own-{i}", **SMALL, seed=i) for i in range(count)]
        jobs = [peer.ask(request, b"s%d" % i).job.job for i, request in enumerate(asked)]
        assert all(_end(peer, job) == "done" for job in jobs)
    return jobs


def _memory(before: int, after: int) -> dict[str, float]:
    return {"rss_before_mib": before / MIB, "rss_after_mib": after / MIB}


def _served(good: GoodClient) -> dict[str, float]:
    waits = good.waits_ms or [float("nan")]
    names = {"good_ms_median": 0.5, "good_ms_p99": 0.99, "good_ms_max": 1.0}
    return {"good_requests": len(good.waits_ms), "good_failed": len(good.failed)} | {
        name: quantile(waits, q) for name, q in names.items()
    }


def _goal_served(bench: Bench, good: GoodClient, what: str) -> None:
    bench.goal(Goal.at_most(f"p99 of a good client beside {what}", 1000, quantile(good.waits_ms, 0.99), " ms"))
    bench.goal(Goal.at_most(f"refusals of a good client beside {what}", 0, len(good.failed)))


def body(bench: Bench) -> None:
    bench.use("pyzmq", "msgspec", "sqlalchemy")
    solo = Solo(Engine.load(threads=1))
    with tempfile.TemporaryDirectory(prefix="salon-faults-") as name:
        folder = Path(name)
        kills(bench, folder / "kills", solo)
        noise(bench, folder / "noise")
        unread(bench, folder / "unread")
        flood(bench, folder / "flood")
        full_disks(bench, folder / "full", solo)
    bench.columns = [
        ["fault", "rounds", "server_kills", "worker_kills", "jobs", "pictures_compared", "lost", "doubled", "different",
         "charged_jobs", "refused", "orphans", "wrong", "start_s_median"],
        ["fault", "messages", "messages_a_second", "unanswered", "answered_twice", "internal_errors", "rss_before_mib",
         "rss_after_mib", "good_requests", "good_ms_median", "good_ms_p99", "good_ms_max"],
    ]  # fmt: skip


main = partial(run, "faults", (__doc__ or "").splitlines()[0], body, arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
