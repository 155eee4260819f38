"""Compare every model family with diffusers and transformers: the largest errors, and the time of a step.

`python -m salon.bench.families [--quick] [--threads N] [--only parity|speed]`

Small random models, saved by those libraries themselves, go through both in float32: each part of a family gives a row,
and so does a whole picture; `covered` says which class it covers, with which option of the real models. Then blocks of
the real width take turns with diffusers eager and under torch.compile, in bf16 where the CPU multiplies it, else in
float32; `share` is that of the peak of the machine's dot products, measured in between, in the best run. A family is a
module of this folder with `parity` and `blocks`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from ..measure import interleave, timed
from ..peaks import DotProducts, floor_ms
from ..peers.base import DTYPES, USUAL
from ..report import Goal
from ..runner import Bench, run
from ..torch_mode import torch_as_rival
from . import covered, flux, flux2, krea2, qwen_edit, qwen_image, unet, z_image

FAMILIES: Final[dict[str, Any]] = {
    family.__name__.rpartition(".")[2]: family for family in (flux, flux2, krea2, qwen_image, qwen_edit, unet, z_image)
}
ERROR: Final = 1e-4  # of the output's scale, in float32
DECIBELS: Final = 40.0
SIDE: Final = 512  # of the picture whose blocks are timed
COLUMNS: Final = [
    ["family", "what", "error", "decibels", "ms", "p90", "share", "times", "compile_s"],
    ["asked", "what", "option"],
]


def body(bench: Bench) -> None:
    bench.use("torch", "diffusers", "transformers")
    bench.columns = COLUMNS
    only = bench.options.only
    with torch_as_rival(bench.threads):
        for name, family in FAMILIES.items() if only != "speed" else ():
            _parity(bench, name, family)
        for name, family in FAMILIES.items() if only != "parity" else ():
            _speed(bench, name, family)
    if only is not None:
        bench.note(f"{only} alone was taken (--only {only})")


def _parity(bench: Bench, name: str, family: Any) -> None:
    with tempfile.TemporaryDirectory(prefix="salon-bench-") as scratch, bench.progress(f"{name}: parity", 1) as advance:
        rows = list(family.parity(Path(scratch)))
        advance("")
    for row in rows:
        bench.row(
            family=name, asked=covered.asked(name, row.what), what=row.what, option=covered.option(name, row.what),
            error=row.error, decibels=row.decibels,
        )  # fmt: skip
    errors = [row.error for row in rows if row.error is not None]
    pictures = [row.decibels for row in rows if row.decibels is not None]
    bench.goal(Goal.at_most(f"{name}: largest error, of the output's scale", ERROR, max(errors), ""))
    bench.goal(Goal.at_least(f"{name}: pictures as diffusers draws them", DECIBELS, min(pictures), "dB"))


def _speed(bench: Bench, name: str, family: Any) -> None:
    """Time blocks of the real width. The compiler takes minutes, so a quick run leaves it out."""
    rounds, probe = bench.pick(1, 3, 8), DotProducts(DTYPES[USUAL])
    compiled = not bench.tiny and not bench.options.quick
    with tempfile.TemporaryDirectory(prefix="salon-bench-") as scratch:
        made = family.blocks(Path(scratch), bench.threads, 64 if bench.tiny else SIDE, bench.tiny, compiled)
        with bench.progress(f"{name}: {made.rows} rows", rounds) as advance:
            turns: dict[str, Callable[[], list[float]]] = {
                each: partial(timed, call, 1) for each, call in made.turns.items()
            }
            if probe.name:
                turns["peak"] = probe.turn
            results = interleave(turns, rounds=rounds, deadline=bench.deadline, on_round=lambda: advance(""))
    bench.note(f"{name}: {made.what}, {USUAL}; off diffusers by {made.error:.1e}")
    floor = floor_ms(made.gflop, results.pop("peak", None), bench.threads)
    mine = results["Salon cpu"].median
    for each, samples in results.items():
        ms = samples.median
        bench.row(
            family=name, what=f"one step of {made.rows} rows: {each}", ms=ms, n=len(samples), best=samples.best,
            p90=samples.spread[1] if samples.spread else None, times=ms / mine if ms and mine else None,
            share=floor / samples.best if floor and samples.best else None,
            compile_s=made.compile_seconds if each.endswith("compile") else None,
        )  # fmt: skip
    for each, least in (("diffusers eager", 1.5), ("diffusers compile", 1.0)):
        if each in results:
            theirs = results[each].median
            value = theirs / mine if theirs and mine else None
            bench.goal(Goal.at_least(f"{name}: {each} takes so many times as long", least, value, "x"))
    if hasattr(family, "changing"):
        _changing(bench, name, family)


def _changing(bench: Bench, name: str, family: Any) -> None:
    """Time steps in a batch that has just changed, with what is kept of texts and without."""
    rounds = bench.pick(1, 3, 8)
    with tempfile.TemporaryDirectory(prefix="salon-bench-") as scratch:
        made = family.changing(Path(scratch), bench.threads, 64 if bench.tiny else SIDE, bench.tiny)
        with bench.progress(f"{name}: batches that change", rounds) as advance:
            turns = {each: partial(timed, call, 1) for each, call in made.turns.items()}
            results = interleave(turns, rounds=rounds, deadline=bench.deadline, on_round=lambda: advance(""))
    bench.note(f"{name}: {made.what}")
    bench.goal(Goal.at_most(f"{name}: largest difference with texts in the arena", 0.0, made.error))
    first = next(iter(results.values())).median
    for each, samples in results.items():
        ms = samples.median
        bench.row(
            family=name, what=f"one step of {made.rows} rows in a batch that has just changed: {each}", ms=ms,
            n=len(samples), best=samples.best, p90=samples.spread[1] if samples.spread else None,
            times=ms / first if ms and first else None,
        )  # fmt: skip


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--only", choices=("parity", "speed"), help="errors, which other load does not matter to; or times"
    )


main = partial(run, "families", (__doc__ or "").splitlines()[0], body, arguments=arguments, tied_to="nothing")


if __name__ == "__main__":
    sys.exit(main())
