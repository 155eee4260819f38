"""A progress bar on a terminal, a line every half minute in a log."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


class Progress:
    """Counts towards `total` and prints rate, time left and a note; `skip` are units done by an earlier run."""

    def __init__(self, title: str, total: int, *, skip: int = 0, every: float = 10.0) -> None:
        self.title, self.total, self.done, self.skip = title, max(total, 1), skip, skip
        self.tty = sys.stderr.isatty()
        self.every = 0.2 if self.tty else every
        self.start = time.monotonic()
        self.last = 0.0

    def step(self, n: int = 1, note: str = "") -> None:
        self.done += n
        now = time.monotonic()
        if now - self.last >= self.every or self.done >= self.total:
            self.last = now
            self._print(now, note)

    def _print(self, now: float, note: str) -> None:
        rate = (self.done - self.skip) / max(now - self.start, 1e-9)
        left = max(self.total - self.done, 0) / max(rate, 1e-9)  # the last step may do more than was left
        bar = "#" * min(24, 24 * self.done // self.total)
        text = f"{self.title} [{bar:<24}] {self.done}/{self.total} {rate:.1f}/s {left:.0f}s left {note}"
        end = "\n" if not self.tty or self.done >= self.total else "\r"
        print(f"{text:<100}", end=end, file=sys.stderr, flush=True)


def track(items: Iterable[T], title: str, total: int) -> Iterator[T]:
    bar = Progress(title, total)
    for item in items:
        yield item
        bar.step()
