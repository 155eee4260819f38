"""Timing: deadlines, interleaved rounds, medians with their spread. No timing of one thing after another."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

Clock = Callable[[], float]


class Deadline:
    """A budget of seconds from its creation. `None` never ends. `clock` counts seconds."""

    def __init__(self, seconds: float | None, clock: Clock = time.monotonic) -> None:
        self.clock = clock
        self.started = clock()
        self.seconds = seconds

    def left(self) -> float:
        """Return the seconds left; negative when over, infinite without a budget."""
        return float("inf") if self.seconds is None else self.started + self.seconds - self.clock()

    def allows(self, seconds: float) -> bool:
        """Return whether something that takes about `seconds` still fits."""
        return self.left() >= seconds


def quantile(values: Sequence[float], q: float) -> float:
    """Interpolate linearly between order statistics; values must not be empty."""
    ordered = sorted(values)
    place = q * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


@dataclass
class Samples:
    """Durations in milliseconds of one candidate."""

    values: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def median(self) -> float | None:
        return quantile(self.values, 0.5) if self.values else None

    @property
    def best(self) -> float | None:
        return min(self.values) if self.values else None

    @property
    def spread(self) -> tuple[float, float] | None:
        """The 10th and the 90th percentile."""
        return (quantile(self.values, 0.1), quantile(self.values, 0.9)) if self.values else None


def timed(
    call: Callable[[], object],
    count: int,
    clock: Clock = time.perf_counter,
    before: Callable[[], object] = lambda: None,
) -> list[float]:
    """Return the milliseconds of each of `count` calls, without those of `before`, which goes before each."""
    values = []
    for _ in range(count):
        before()
        start = clock()
        call()
        values.append((clock() - start) * 1e3)
    return values


def interleave(
    candidates: Mapping[str, Callable[[], Sequence[float]]],
    *,
    rounds: int,
    deadline: Deadline,
    on_round: Callable[[], object] | None = None,
) -> dict[str, Samples]:
    """Measure round-robin: in every round each candidate takes one turn and returns its durations in milliseconds.

    Drift of the machine (clock, neighbours, temperature) then falls on all candidates alike; behind the first round the
    order is drawn anew (always the same draws), so that none always follows the same neighbour. It ends before a round
    that would, going by the dearest round so far, not fit the deadline; the first round runs candidate by candidate, in
    the order given, while time is left. A candidate that raises is not asked again (its samples so far stay); the
    exception is the caller's to prevent or to log.
    """
    results = {name: Samples() for name in candidates}
    names = list(candidates)
    dearest, draws = 0.0, random.Random(0)
    for number in range(rounds):
        if not deadline.allows(dearest) or deadline.left() <= 0:
            break
        start = deadline.clock()
        for name in draws.sample(names, len(names)) if number else names:
            if deadline.left() <= 0:
                break
            results[name].values.extend(candidates[name]())
        dearest = max(dearest, deadline.clock() - start)
        if on_round is not None:
            on_round()
    return results


def budgeted(
    call: Callable[[], object],
    seconds: float,
    *,
    at_least: int = 3,
    at_most: int = 1000,
    clock: Clock = time.perf_counter,
    before: Callable[[], object] = lambda: None,
) -> Callable[[], list[float]]:
    """Make a turn for `interleave`: as many calls as fit in `seconds`, after a warm-up call that brings caches back.

    `before`: what is done before each call and not timed, like a fresh input for an op that works in place."""

    def turn() -> list[float]:
        before()
        start = clock()
        call()
        once = max(clock() - start, 1e-7)
        return timed(call, max(at_least, min(at_most, int(seconds / once))), clock, before)

    return turn
