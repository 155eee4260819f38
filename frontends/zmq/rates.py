"""Bound how much one account may request, by a token bucket for each."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from ..wire.messages import Failure

MAX_WORKING: Final = 256  # unanswered requests that one connection may have


class Bucket:
    """A token bucket: `rate` tokens a second, at most `burst` at once. A rate of 0 means no limit."""

    __slots__ = ("_at", "_clock", "_left", "burst", "rate")

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.burst = rate, burst
        self._clock, self._at, self._left = clock, clock(), float(burst)

    def take(self) -> float:
        """Take a token. Return 0, or the seconds to wait until there is one."""
        if self.rate <= 0:
            return 0.0
        now = self._clock()
        self._left = min(float(self.burst), self._left + max(0.0, now - self._at) * self.rate)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) / self.rate

    @property
    def is_full(self) -> bool:
        """Whether a new bucket would be the same."""
        return self._left + max(0.0, self._clock() - self._at) * self.rate >= self.burst


class Rates:
    """A bucket for each account, made at its first request. Arguments are those of `Bucket`."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float]) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._buckets: dict[str, Bucket] = {}

    def take(self, account: str) -> float:
        """Do as `Bucket.take` for an account."""
        if self._rate <= 0:
            return 0.0
        bucket = self._buckets.get(account)
        if bucket is None:
            bucket = self._buckets[account] = Bucket(self._rate, self._burst, self._clock)
        return bucket.take()

    def sweep(self) -> None:
        """Forget the accounts whose buckets are full again."""
        for account in [account for account, bucket in self._buckets.items() if bucket.is_full]:
            del self._buckets[account]

    def refusal(self, wait_s: float) -> Failure:
        """Return the failure for a request that came too fast.

        Args:
            wait_s: seconds to wait; 0: too many requests of its connection are not answered yet.
        """
        if wait_s > 0:
            text = f"requests: got more than {self._rate:g} a second, allowed {self._rate:g} ({self._burst} at once)"
        else:
            text = f"requests: got {MAX_WORKING + 1} without waiting for an answer, allowed {MAX_WORKING}"
        retry = max(1, round(1e3 * wait_s))
        return Failure(code="too_fast", kind="TooFast", text=f"{text}; wait", retry_after_ms=retry)
