from collections.abc import Callable
from itertools import pairwise

import pytest

from salon.bench.measure import Deadline, Samples, budgeted, interleave, quantile, timed


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def work(self, seconds: float, log: list[str] | None = None, name: str = "") -> Callable[[], list[float]]:
        def turn() -> list[float]:
            self.now += seconds
            if log is not None:
                log.append(name)
            return [seconds * 1e3]

        return turn


def test_deadline_counts_down_and_none_never_ends() -> None:
    clock = Clock()
    deadline, forever = Deadline(10, clock), Deadline(None, clock)
    clock.now += 4
    assert deadline.left() == 6
    assert deadline.allows(6)
    assert not deadline.allows(6.001)
    clock.now += 1e9
    assert deadline.left() < 0
    assert forever.allows(1e12)


def test_nobody_always_goes_first_or_follows_the_same_neighbour() -> None:
    clock, log = Clock(), list[str]()
    turns = {name: clock.work(1, log, name) for name in "abcdefg"}
    results = interleave(turns, rounds=8, deadline=Deadline(None, clock))
    assert {name: len(samples) for name, samples in results.items()} == dict.fromkeys("abcdefg", 8)
    rounds = [log[at : at + 7] for at in range(0, len(log), 7)]
    assert all(sorted(each) == list("abcdefg") for each in rounds)
    before: dict[str, list[str]] = {name: [] for name in "abcdefg"}
    for first, second in pairwise(log):
        before[second].append(first)
    assert all(max(names.count(name) for name in names) <= 4 for names in before.values())
    again = list[str]()
    interleave({name: clock.work(1, again, name) for name in "abcdefg"}, rounds=8, deadline=Deadline(None, clock))
    assert again == log


@pytest.mark.parametrize(("budget", "rounds"), [(0, 0), (6, 2), (8.9, 2), (9, 3), (1000, 5)])
def test_no_round_is_begun_that_does_not_fit(budget: float, rounds: int) -> None:
    clock = Clock()
    turns = {name: clock.work(1) for name in "abc"}
    results = interleave(turns, rounds=5, deadline=Deadline(budget, clock))
    assert [len(samples) for samples in results.values()] == [rounds] * 3
    assert clock.now - 100 <= max(budget, 0)


def test_the_dearest_round_so_far_decides() -> None:
    clock = Clock()
    costs = iter([1.0, 5.0, 1.0, 1.0])

    def turn() -> list[float]:
        clock.now += next(costs)
        return [1.0]

    results = interleave({"a": turn}, rounds=4, deadline=Deadline(10, clock))
    assert len(results["a"]) == 2 + 0  # after 6 s four are left, and a round has already taken five


def test_the_first_round_stops_between_candidates_when_time_is_over() -> None:
    clock = Clock()
    turns = {name: clock.work(30) for name in "abc"}
    results = interleave(turns, rounds=5, deadline=Deadline(44, clock))
    assert [len(samples) for samples in results.values()] == [1, 1, 0]


def test_no_candidates_is_no_error() -> None:
    assert interleave({}, rounds=3, deadline=Deadline(None)) == {}


@pytest.mark.parametrize(
    ("values", "q", "expected"),
    [([3.0], 0.5, 3.0), ([4.0, 1.0, 2.0], 0.5, 2.0), ([0.0, 10.0], 0.9, 9.0), ([1.0, 2.0], 1, 2.0)],
)
def test_quantile(values: list[float], q: float, expected: float) -> None:
    assert quantile(values, q) == pytest.approx(expected)


def test_empty_samples_have_no_median() -> None:
    empty = Samples()
    assert (len(empty), empty.median, empty.best, empty.spread) == (0, None, None, None)


def test_timed_measures_each_call() -> None:
    clock = Clock()

    def call() -> None:
        clock.now += 0.25

    assert timed(call, 3, clock) == [250.0] * 3


@pytest.mark.parametrize(("once", "calls"), [(0.01, 10), (1.0, 3), (0.0, 50)])
def test_budgeted_fits_its_calls_to_the_time(once: float, calls: int) -> None:
    clock = Clock()
    clock.now = 0.0

    def call() -> None:
        clock.now += once

    turn = budgeted(call, 0.1000001, at_least=3, at_most=50, clock=clock)
    assert len(turn()) == calls
