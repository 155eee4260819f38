"""`salon ops top`: the server, live."""

from __future__ import annotations

import argparse
import os
import select
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ...bounds import LANES
from . import exits, words
from .connection import connected
from .ops import WORKER_COLUMNS, status_pairs, worker_row
from .tables import lines, plain, print_json, rich_table

if TYPE_CHECKING:
    from ..client.client import Client
    from ..wire.messages import JobInfo, Status

EVERY_S: Final = 1.0
MAX_JOBS: Final = 50
LANE_COLUMNS: Final = ("lane", ">queued", ">running")
JOB_COLUMNS: Final = ("job", "?account", "?lane", "?>n", "?size", ">step", "?>age", "prompt")


@dataclass(frozen=True)
class Frame:
    """The server as one look found it.

    Attributes:
        at: seconds, monotonic.
        status: of the server.
        jobs: those running, newest first, at most `MAX_JOBS`.
    """

    at: float
    status: Status
    jobs: Sequence[JobInfo]


def top(options: argparse.Namespace) -> int:
    """Show the server every second until q or Ctrl-C; once, if asked to, or if there is no terminal."""
    with connected(options) as client:
        frame = look(client)
        if options.json:
            print_json({"status": plain(frame.status), "jobs": plain(frame.jobs)})
        elif options.once or not sys.stdout.isatty() or os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
            print("\n".join(plain_lines(frame)))
        else:
            _live(client, frame)
    return exits.DONE


def look(client: Client) -> Frame:
    """Ask the server once."""
    status = client.ops.status()
    jobs = client.jobs(limit=MAX_JOBS, states=("running",), account="*").jobs
    return Frame(time.monotonic(), status, jobs)


def tables(frame: Frame) -> Iterator[tuple[Sequence[str], list[list[str]]]]:
    """Return (columns, rows) of the lanes, the workers and the running jobs; all cells clean."""
    status = frame.status
    names = [*LANES, *sorted({*status.queued, *status.running} - {*LANES})]
    lanes = [[name, f"{status.queued.get(name, 0):,}", f"{status.running.get(name, 0):,}"] for name in names]
    jobs = [
        [
            info.job,
            words.short_account(info.account),
            info.lane,
            str(info.images),
            f"{info.width}x{info.height}",
            f"{info.step}/{info.steps}",
            words.age(info.started_ms or info.made_ms),
            "(private)" if words.is_hidden(info) else info.prompt,
        ]
        for info in frame.jobs
    ]
    for columns, rows in (
        (LANE_COLUMNS, lanes),
        (WORKER_COLUMNS, list(map(worker_row, status.workers))),
        (JOB_COLUMNS, jobs),
    ):
        yield columns, [[words.clean(cell) for cell in row] for row in rows]


def rates(frame: Frame, before: Frame | None) -> str:
    """Write steps and jobs a second since the frame before; "" without one, or after a restart of the server."""
    if before is None or frame.at <= before.at:
        return ""
    seconds = frame.at - before.at
    steps = (frame.status.steps - before.status.steps) / seconds
    ended = (sum(frame.status.ended.values()) - sum(before.status.ended.values())) / seconds
    accepted = (frame.status.accepted - before.status.accepted) / seconds
    if min(steps, ended, accepted) < 0:
        return ""
    return f"{steps:.1f} steps/s, {accepted:.1f} jobs/s accepted, {ended:.1f} jobs/s ended"


def plain_lines(frame: Frame) -> list[str]:
    """Write one frame without a terminal."""
    shown = [f"{name:<10}{words.clean(text)}" for name, text in status_pairs(frame.status) if text]
    for columns, rows in tables(frame):
        shown += ["", *lines(columns, rows)]
    return shown


def rich_frame(frame: Frame, before: Frame | None, width: int, height: int) -> Any:
    """Return one frame for a terminal of so many columns and lines."""
    from rich.console import Group
    from rich.text import Text

    status = frame.status
    colour = "green" if status.state == "running" else "yellow"
    head = Text(f"{words.clean(status.state)} ", f"bold {colour}")
    about = (
        f"for {words.span(status.up_ms)}, {words.plural(status.clients, 'client')}, {status.model}, {status.backend}"
    )
    head.append(words.clean(about), "")
    ended = f"{status.accepted:,} accepted, ended: {words.counts(status.ended)}; {status.batch_jobs:.2f} jobs in a step"
    parts: list[Any] = [head, Text(words.clean(ended)), Text(rates(frame, before), "cyan")]
    room = height - len(parts) - 2  # and the line of keys
    for columns, rows in tables(frame):
        room -= 2
        shown = rows[: max(0, room)]
        room -= len(shown)
        if room >= 0:
            parts += [Text(), rich_table(columns, shown, width)]
    parts += [Text(), Text("q or Ctrl-C: end", "bright_black")]
    for part in parts:
        if isinstance(part, Text):
            part.no_wrap, part.overflow = True, "ellipsis"
    return Group(*parts)


def _live(client: Client, frame: Frame) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    before: Frame | None = None
    try:
        with (
            _keys() as pressed,
            Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False) as live,
        ):
            while True:
                live.update(rich_frame(frame, before, *console.size), refresh=True)
                if pressed(EVERY_S):
                    return
                before, frame = frame, look(client)
    except KeyboardInterrupt:
        return  # the usual way to leave it


@contextmanager
def _keys() -> Iterator[Any]:
    """Yield a function that waits so many seconds for the key q, and returns whether it came.

    Keys are read one by one and not shown, until the block ends.
    """
    if not sys.stdin or not sys.stdin.isatty():

        def sleep(seconds: float) -> bool:
            time.sleep(seconds)
            return False

        yield sleep
        return
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)

    def wait(seconds: float) -> bool:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([terminal], [], [], left)[0]:
                typed = os.read(terminal, 64)
                if not typed or b"q" in typed.lower():  # nothing: the terminal is gone
                    return True
        return False

    try:
        tty.setcbreak(terminal, termios.TCSANOW)
        yield wait
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)
