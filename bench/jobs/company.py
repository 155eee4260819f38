"""What each kind of job costs beside its price, and whether it makes the same pixels among all others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..measure import interleave
from ..report import Goal
from ..runner import Bench
from .house import House, Request

WITHIN = 0.2  # ruling: measured costs have the order of prices that differ by more


def costs(bench: Bench, house: House) -> None:
    """Time a job of every kind, alone, in turns, and compare with prices: both as multiples of a grid from a prompt."""
    requests = {str(request): request for request in house.requests()}

    def turn(request: Request) -> Callable[[], Sequence[float]]:
        return lambda: [house.timed(request)]

    with bench.progress("costs", rounds := bench.pick(1, 2, 5)) as advance:
        samples = interleave(
            {name: turn(request) for name, request in requests.items()},
            rounds=rounds,
            deadline=bench.deadline,
            on_round=lambda: advance(""),
        )
    grid = next(name for name, request in requests.items() if request.kind == "imagine")
    grid_ms, grid_price = samples[grid].median, house.price(requests[grid])
    rows = []
    for name, request in requests.items():
        ms, price = samples[name].median, house.price(request) / grid_price
        of_grid = None if ms is None or not grid_ms else ms / grid_ms
        rows.append(bench.row(job=name, ms=ms, best=samples[name].best, of_grid=of_grid, price=price))
    known = [(row["of_grid"], row["price"]) for row in rows if row["of_grid"] is not None]
    wrong = sum(a_price > b_price * (1 + WITHIN) and a < b for a, a_price in known for b, b_price in known)
    bench.goal(Goal.at_most("pairs of jobs of which the one that costs 20 % more takes less time", 0, wrong))


def company(bench: Bench, house: House) -> None:
    """Make jobs of all kinds one after another, then all at once; compare every pixel and text."""
    requests = house.requests(seed=11)
    alone = []
    with bench.progress("company", len(requests) + 1) as advance:
        for request in requests:
            alone.append(house.result(house.make(request)))
            advance(str(request))
        jobs = [house.make(request) for request in requests]
        together = [house.result(job) for job in jobs]
        advance("together")
    differ = sum(a != b for a, b in zip(alone, together, strict=True))
    kinds = len({each.kind for each in requests})
    bench.row(picture="all of them at once", kinds=kinds, pictures=sum(map(len, alone)))
    bench.goal(Goal.at_most("jobs whose results depend on the others", 0, differ))
