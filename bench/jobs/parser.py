"""How fast prompts are read: what people type, and the worst that a megabyte can hold."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Final

from ...errors import SalonError
from ...parameters.language.reading import parse
from ..measure import Samples, timed
from ..report import Goal
from ..runner import Bench

TYPED: Final = (
    "a red apple, 3d render, on a teal background",
    "a cat --ar 3:2 --s 250 --chaos 20 --no hats, dogs --seed 7",
    "a {red, green, blue} {apple, pear} --n 1",
    "a lighthouse at dawn:: fog::0.5 a storm::-0.3 --q 2 --exp 10",
    'a poster that says "hello -- world", woodcut --raw --sref 4093::2 77 --sw 300',
)
MILLION: Final = 2**20
WORST: Final = {
    "{": "{",
    "{a,": "{a,",
    "}": "}",
    "a::": "a:: ",
    "::": "::",
    "--": "-- ",
    "--s 1": "--s 1 ",
    "quotes": '"',
    "backslashes": "\\",
    "__a__": "__a__ ",
    "em dashes": "— ",
    "words": "a cat, ",
}


def body(bench: Bench) -> None:
    """Measure both."""
    values = Samples()

    def read() -> None:
        for prompt in TYPED:
            parse(prompt)

    read()
    values.values.extend(timed(read, bench.pick(2, 20, 200)))
    median = values.median or 0.0
    bench.row(prompts="as typed", a_second=len(TYPED) / median * 1e3, read_ms=median / len(TYPED))
    size = bench.pick(MILLION // 32, MILLION // 4, MILLION)
    longest, growth = 0.0, 0.0
    with bench.progress("worst cases", len(WORST)) as advance:
        for name, unit in WORST.items():
            half, whole = (_seconds(unit * (length // len(unit))) for length in (size // 2, size))
            longest, growth = max(longest, whole), max(growth, whole / max(half, 1e-3))
            bench.row(
                prompts=f"{size:,} characters: {name}", read_ms=whole * 1e3, times_of_half=whole / max(half, 1e-9)
            )
            advance(name)
    bench.goal(Goal.at_most(f"seconds that {size:,} characters take at worst", 10.0, longest))
    bench.goal(Goal.at_most("time of these in times of half of them, at worst", 3.0, growth))


def _seconds(prompt: str) -> float:
    """Return the seconds until a prompt is read or refused. Anything but an error of ours is a bug, and raised."""
    start = time.perf_counter()
    with suppress(SalonError):
        parse(prompt)
    return time.perf_counter() - start
