"""Part 5: what a default grid takes through server and client, on a Studio, and on a bare engine; in turns."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from ..facts import shipped
from ..fleet import Child
from ..measure import Samples, interleave
from ..report import Goal
from ..runner import Bench
from .commands import PROMPT
from .host import Host

TINY_STEPS: Final = 2
GOAL: Final = 3.0
IDLE: Final = 0.1  # share of the cores that others may use; above it, 3 % cannot be told
TINY, QUICK, FULL = (1, 1), (2, 1), (8, 2)  # (rounds, grids of each in a round)
WAIT_S: Final = 120.0
ENGINE, STUDIO, SERVER = "engine alone", "studio, worker process", "server and client"


def measure(bench: Bench, folder: Path) -> None:
    """Measure medians of four pictures: until they are made, and until they are files (or fetched)."""
    threads = str(bench.threads)
    rounds, each = bench.pick(TINY, QUICK, FULL)
    own: int = shipped().defaults["steps"]
    steps = bench.pick(TINY_STEPS, own, own)
    with (
        Host(folder / "overhead", bench.threads) as host,
        Child("wire.load", [], folder / "overhead.log") as load,
        Child("wire.alone", ["engine", threads], folder / "overhead.log") as engine,
        Child("wire.alone", ["studio", threads], folder / "overhead.log") as studio,
    ):
        files: dict[str, Samples] = {}
        count = 0

        def turn(name: str, child: Child) -> list[float]:
            nonlocal count
            count += 1
            made = []
            if child is load:  # it may have been silent for too long meanwhile
                load.ask("connect", address=host.address, clients=1, timeout=WAIT_S)
            for number in range(1 + each):  # the first one brings caches back
                more = {"key": f"{count}-{number}"} if child is load else {}
                made.append(child.ask("grid", prompt=PROMPT, steps=steps, seed=count, timeout=WAIT_S, **more))
            files.setdefault(name, Samples()).values.extend(one["file_ms"] for one in made[1:])
            return [one["done_ms"] for one in made[1:]]

        turns: dict[str, Callable[[], list[float]]] = {
            name: partial(turn, name, child) for name, child in ((ENGINE, engine), (STUDIO, studio), (SERVER, load))
        }
        with bench.progress("overhead", rounds) as advance:
            found = interleave(turns, rounds=rounds, deadline=bench.deadline, on_round=lambda: advance(""))
        host.remove()
    for name, samples in found.items():
        done, file = samples.median, files[name].median if name in files else None
        bench.row(
            part="overhead",
            grid_of_4=name,
            done_ms=done,
            done_best_ms=samples.best,
            file_ms=file,
            file_best_ms=files[name].best if name in files else None,
            against_engine=_ratio(done, found[ENGINE].median),
            files_against_engine=_ratio(file, files[ENGINE].median if ENGINE in files else None),
            grids=len(samples),
        )
    bench.note(
        "done: pixels are there (of the server: told to be done, which means that all files and the row are on disk); "
        "file: the pictures and the grid are PNG files on disk (of the server: and the grid fetched)"
    )
    _goals(bench, found, files)


def _goals(bench: Bench, found: dict[str, Samples], files: dict[str, Samples]) -> None:
    done, fetched = _ratio(found[SERVER].median, found[ENGINE].median), None
    if SERVER in files and ENGINE in files:
        fetched = _ratio(files[SERVER].median, files[ENGINE].median)
    load = bench.other_load()
    for what, ratio, note in (
        ("to a job that is done, over pixels of a bare engine", done, "the server's PNG files and flushes count"),
        ("to a fetched grid, over PNG files of a bare engine", fetched, "like for like"),
    ):
        more = None if ratio is None else 100 * (ratio - 1)
        if more is not None and load > IDLE:
            more, note = None, f"others used {load:.0%} of the cores, so {more:.1f} % says nothing; {note}"
        bench.goal(Goal.at_most(f"overhead of the server, {what}", GOAL, more, " %", note))


def _ratio(one: float | None, other: float | None) -> float | None:
    return one / other if one is not None and other is not None else None
