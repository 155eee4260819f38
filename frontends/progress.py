"""Show progress on standard error: a bar on a terminal, a few plain lines elsewhere, or nothing."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

Advance = Callable[[int], None]


@contextlib.contextmanager
def progress(total: int, *, quiet: bool) -> Iterator[Advance]:
    """Provide a function that takes the number of steps done, 1 to `total`. The bar disappears at the end."""
    if quiet:
        yield lambda done: None
    elif sys.stderr.isatty():
        yield from _bar(total)
    else:
        yield _lines(total)


def _bar(total: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("step"), MofNCompleteColumn(), BarColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("steps", total=total)
        yield lambda done: bar.update(task, completed=done)


def _lines(total: int) -> Advance:
    """Print a line at each quarter. Some steps may not be reported."""
    last = 0

    def advance(done: int) -> None:
        nonlocal last
        if done * 4 // total > last * 4 // total:
            print(f"step {done}/{total}", file=sys.stderr, flush=True)
        last = done

    return advance
