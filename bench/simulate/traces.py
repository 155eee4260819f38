"""Arrivals: seeded, reproducible, kept as a few numbers a job; tickets are made when they are asked for.

A trace draws its jobs first (lane, kind, account), then places them on a time axis whose length makes the offered load
what was asked for: load = work of all jobs alone / (workers x time of arrivals). So load 1 is what a cluster that
serves one job at a time can just carry, and what step sharing gains shows as capacity above 1.
"""

from __future__ import annotations

import math
import random
from array import array
from bisect import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate

from ...scheduler.tickets import Lane, StageWork, StepShape, Ticket, drawing
from .physics import Physics

LANE_MIX = {Lane.TURBO: 0.10, Lane.FAST: 0.45, Lane.DRAFT: 0.25, Lane.RELAX: 0.20}
IMAGES = {1: 0.6, 2: 0.2, 4: 0.2}
STEPS = {8: 0.25, 12: 0.2, 20: 0.25, 28: 0.2, 50: 0.1}
DRAFT_STEPS = {8: 0.7, 12: 0.3}
LARGE = 0.2  # of the jobs that are no drafts
GUIDED = 0.4
GUIDANCE = (3.0, 3.5, 4.5, 5.0, 7.0)  # values that guided jobs ask for
ADAPTERS = {0: 0.45, 1: 0.3, 2: 0.15, 4: 0.1}
OWN_ADAPTERS = 0.7  # of the jobs with adapters, the share that brings the account's own; the rest one of ten styles
UPSCALED = 0.05
LIMITS = {3: 0.7, 6: 0.2, 12: 0.1}  # max_running of an account
ZIPF = 1.1  # activity of the k-th account is k**-ZIPF, up to what its limit of started jobs can carry:
PEAK = 1 / 3  # at load 1 an account has at most so much of its limit started, on average
NAMES = ("poisson", "bursty", "diurnal", "abusive", "relax_flood")


@dataclass(frozen=True, slots=True)
class Kind:
    """Everything of a job but whose it is and when."""

    lane: Lane
    size: str
    shape: StepShape
    steps: int
    images: int
    samples: int
    pixels: int
    text_rows: int
    upscales: int
    guided: bool

    @property
    def stages(self) -> tuple[StageWork, ...]:
        """Its work."""
        return drawing(
            self.shape, self.steps, self.images, pixels=self.pixels, text_rows=self.text_rows, upscales=self.upscales
        )


@dataclass
class Trace:
    """Jobs by number (their id is the number as text), in order of arrival.

    Attributes:
        name, physics: which one, and the device it was drawn for.
        kinds: the distinct kinds of jobs.
        arrivals, kind, account, limit, guidance, adapters: of each job; `adapters` 0 means none.
        horizon: ms of the last possible arrival.
        work: ms of all jobs, alone.
    """

    name: str
    physics: Physics
    kinds: list[Kind]
    arrivals: array[float]
    kind: array[int]
    account: array[int]
    limit: array[int]
    guidance: array[int]
    adapters: array[int]
    horizon: float
    work: float
    abuser: int = -1  # the account that floods; the others are judged

    def __len__(self) -> int:
        return len(self.arrivals)

    def of(self, job: str) -> Kind:
        return self.kinds[self.kind[int(job)]]

    def traits(self, job: str) -> tuple[str, int, int, int]:
        """Return what an engine that batches only equals has to compare: size, images, guidance value, adapters."""
        number = int(job)
        kind = self.kinds[self.kind[number]]
        return kind.size, kind.images, self.guidance[number], self.adapters[number]

    def __iter__(self) -> Iterator[tuple[float, Ticket]]:
        stages = [kind.stages for kind in self.kinds]
        for number, (arrival, kind) in enumerate(zip(self.arrivals, self.kind, strict=True)):
            account, lane = f"a{self.account[number]}", self.kinds[kind].lane
            yield arrival, Ticket(str(number), account, lane, stages[kind], self.limit[number])


def _pick(draw: random.Random, weights: dict[int, float]) -> int:
    return draw.choices(list(weights), list(weights.values()))[0]


def draw_kind(draw: random.Random, physics: Physics, lane: Lane, steps: dict[int, float]) -> Kind:
    """Draw a random job of a lane: drafts are small and short, a fifth of the others large."""
    shape_of = draw.choice(("1:1", "16:9", "2:3"))
    size = "draft" if lane is Lane.DRAFT else shape_of if draw.random() < LARGE else f"small {shape_of}"
    count = _pick(draw, DRAFT_STEPS if lane is Lane.DRAFT and steps is STEPS else steps)
    guided, images = draw.random() < GUIDED, _pick(draw, IMAGES)
    adapters = _pick(draw, ADAPTERS)
    width, height = physics.sizes[size]
    samples = images * (2 if guided else 1)
    rows = physics.text_rows + (width // physics.patch) * (height // physics.patch)
    shape = StepShape(samples * rows, samples * rows**2, samples * rows * adapters * physics.adapter_tokens)
    upscales = images if lane is not Lane.DRAFT and draw.random() < UPSCALED else 0
    return Kind(
        lane, size, shape, count, images, samples, width * height, physics.text_rows * (2 if guided else 1), upscales,
        guided,
    )  # fmt: skip


def make(
    name: str,
    physics: Physics,
    *,
    jobs: int,
    workers: int,
    load: float,
    seed: int = 0,
    accounts: int | None = None,
    steps: dict[int, float] | None = None,
) -> Trace:
    """Make the trace `name`, one of `NAMES`. `steps` replaces the steps of all.

    A fifth of an abusive trace's jobs, all Fast, are the abuser's and come nearly at once; 40 % of a flood's jobs, all
    Relax, come within a tenth of the time.
    """
    draw = random.Random(f"{name} {physics.name} {jobs} {seed}")
    accounts = accounts or max(8, min(jobs // 10, 10_000))
    kinds: dict[Kind, int] = {}
    limits = [*(_pick(draw, LIMITS) for _ in range(accounts)), max(LIMITS)]
    chances = list(accumulate(_activity([limit * PEAK / workers for limit in limits[:-1]])))
    lanes, mix = list(LANE_MIX), list(accumulate(LANE_MIX.values()))
    special = {"abusive": 0.2, "relax_flood": 0.4}.get(name, 0.0)
    density = _density(name, draw)
    drawn: list[tuple[float, int, int, int, int]] = []
    work = 0.0
    solo: dict[int, float] = {}
    for _ in range(jobs):
        extra = draw.random() < special
        lane = lanes[min(bisect(mix, draw.random()), len(lanes) - 1)]
        account = min(bisect(chances, draw.random() * chances[-1]), accounts - 1)
        if extra:
            lane, account = (Lane.FAST, accounts) if name == "abusive" else (Lane.RELAX, account)
        kind = draw_kind(draw, physics, lane, steps or STEPS)
        index = kinds.setdefault(kind, len(kinds))
        if index not in solo:
            solo[index] = physics.solo_ms(Ticket("0", "a", lane, kind.stages))
        work += solo[index]
        guidance = draw.randrange(1, len(GUIDANCE) + 1) if kind.guided else 0
        adapters = 0
        if kind.shape.adapter_rows:
            adapters = account + 11 if draw.random() < OWN_ADAPTERS else draw.randrange(1, 11)
        if not extra:
            when = density(draw.random())
        elif name == "abusive":
            when = 0.25 + 0.02 * draw.random()
        else:
            when = 0.2 + 0.1 * draw.random()
        drawn.append((when, index, account, guidance, adapters))
    drawn.sort()
    horizon = work / (workers * load)
    columns = list(zip(*drawn, strict=True))
    account_column = array("l", columns[2])
    return Trace(
        name, physics, list(kinds), array("d", (when * horizon for when in columns[0])), array("l", columns[1]),
        account_column, array("l", (limits[a] for a in account_column)), array("l", columns[3]),
        array("l", columns[4]), horizon, work, accounts if name == "abusive" else -1,
    )  # fmt: skip


def _activity(most: list[float]) -> list[float]:
    """Draw Zipf shares of the accounts, each at most `most` (where that is possible)."""
    shares = [k**-ZIPF for k in range(1, len(most) + 1)]
    for _ in range(20):  # what is cut off goes to the others
        whole = sum(shares)
        shares = [min(share / whole, cap) for share, cap in zip(shares, most, strict=True)]
    return shares


def _density(name: str, draw: random.Random) -> Callable[[float], float]:
    """Return a map from uniform draws to times in 0..1 that has the trace's intensity."""
    if name == "bursty":  # a Markov-modulated Poisson process: calm and, a fifth of the time, six times as busy
        edges, heights, at, busy = [0.0], [], 0.0, False
        while at < 1.0:
            at = min(1.0, at + draw.expovariate(1.0) * (0.01 if busy else 0.04))
            edges.append(at)
            heights.append(6.0 if busy else 1.0)
            busy = not busy
    elif name == "diurnal":  # one day: the busiest hour has nine times the arrivals of the quietest
        cells = 288
        edges = [k / cells for k in range(cells + 1)]
        heights = [1.0 - 0.8 * math.cos(2 * math.pi * (k + 0.5) / cells) for k in range(cells)]
    else:
        return lambda u: u
    areas = list(accumulate(h * (b - a) for h, a, b in zip(heights, edges, edges[1:], strict=False)))

    def warp(u: float) -> float:
        area = u * areas[-1]
        cell = min(bisect(areas, area), len(areas) - 1)
        before = areas[cell - 1] if cell else 0.0
        return edges[cell] + (area - before) / heights[cell]

    return warp
