"""How much one account may ask for: a token bucket each."""

from __future__ import annotations

import time
from collections.abc import Callable


class Bucket:
    """`rate` tokens a second, at most `burst` at once. A rate of 0 means no limit."""

    __slots__ = ("_at", "_clock", "_left", "burst", "rate")

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.burst = rate, burst
        self._clock, self._at, self._left = clock, clock(), float(burst)

    def take(self) -> float:
        """Take one: 0, or the seconds to wait until there is one."""
        if self.rate <= 0:
            return 0.0
        now = self._clock()
        self._left = min(float(self.burst), self._left + max(0.0, now - self._at) * self.rate)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) / self.rate
