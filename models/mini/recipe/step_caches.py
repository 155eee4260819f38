"""What saved evaluations cost a picture: guidance in a share of the steps, half the sides first, and caches of steps.

`python -m salon.models.mini.recipe.step_caches [--quick] [--threads N] [--only guidance|progressive|caches|gate]`

Captions are drawn by all steps, by fewer steps, and by each way to save evaluations. What Salon has is
`--guidance-interval` and `--progressive`. What it does not have is added from outside (`step_savers`), so that the
reasons can be repeated: velocities that are held or go on in a straight line between steps that are computed
(TaylorSeer), a cache of all blocks but the first (first-block cache), and a gate of guidance in drafts. Each picture is
compared with that of all steps (PSNR), and the kept judge names what it shows. Evaluations are those of a sample, rows
those of the model and seconds those from prompt to pixels, of one picture each. Needs the `train` extra and a
checkout.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ....bench.report import Goal
from ....bench.runner import Bench, run
from .guidance import CAPTIONS, wishes
from .judge_file import KEPT, KeptJudge
from .step_savers import FirstBlock, Forecast, Gate, Saver, planned

TOGETHER: Final = 16  # generations of a step
PARTS: Final = ("guidance", "progressive", "caches", "gate")
HEADS: Final = ("concept", "style", "palette", "background")
COLUMNS: Final = [["part", "way", "pictures", "evaluations", "rows_share", "seconds", *HEADS, "psnr"]]

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Way:
    """A way to draw: fields of specs, and what is changed at the model."""

    name: str
    fields: Mapping[str, Any]
    saver: Callable[[], Saver] = Saver


@dataclass
class Found:
    """What was drawn in a way, and its work, of all pictures together."""

    pictures: list[Float32] = field(default_factory=list)
    evaluations: float = 0.0
    rows: float = 0.0
    seconds: float = 0.0


def draw(engine: Any, wishes: Sequence[Any], way: Way, found: Found) -> None:
    """Draw wishes in lockstep, and add pictures [N, H, W, 3] in 0..1 and their work to what was found."""
    from ....engine.spec import GenerationSpec

    saver, start = way.saver(), time.perf_counter()
    specs = [GenerationSpec(prompt=wish.prompt, seed=wish.seed, **way.fields) for wish in wishes]
    generations = [engine.open(spec) for spec in specs]
    try:
        with ExitStack() as stack:
            saver.enter(stack, engine.model.denoiser)
            while running := [g for g in generations if g.state.name == "RUNNING"]:
                share = saver.share(running[0].position)
                found.evaluations += share * sum(len(g.branches) for g in running)
                found.rows += share * engine.step_rows(running)
                for report in engine.step(running):
                    if report.error is not None:
                        raise report.error
        pixels = np.concatenate([engine.finish(g) for g in generations])
        found.pictures.append(pixels.astype(np.float32) / np.float32(255))
    finally:
        for generation in generations:
            engine.close(generation)
    found.seconds += time.perf_counter() - start


def compare(bench: Bench, part: str, engine: Any, judge: Any, wishes: Sequence[Any], ways: Sequence[Way]) -> None:
    """Draw all wishes in all ways, which take turns, and add a row for each way. The first draws by all steps."""
    found = {way.name: Found() for way in ways}
    pieces = [wishes[at : at + TOGETHER] for at in range(0, len(wishes), TOGETHER)]
    with bench.progress(part, len(pieces) * len(ways)) as advance:
        for piece in pieces:
            for way in ways:
                draw(engine, piece, way, found[way.name])
                advance(way.name)
    whole = found[ways[0].name]
    target, count = np.concatenate(whole.pictures), len(wishes)
    for way in ways:
        mine = found[way.name]
        pictures = np.concatenate(mine.pictures)
        seen = judge.names(pictures)
        off = np.square(pictures.astype(np.float64) - target).mean(axis=(1, 2, 3))
        bench.row(
            part=part, way=way.name, pictures=count, evaluations=mine.evaluations / count,
            rows_share=mine.rows / whole.rows, seconds=mine.seconds / count if way.saver().timed else None,
            **{head: _right(head, seen, wishes) for head in HEADS},
            psnr=None if mine is whole else float(np.mean(-10 * np.log10(np.maximum(off, 1e-12)))),
        )  # fmt: skip


def _right(head: str, seen: Iterable[Mapping[str, str]], wishes: Sequence[Any]) -> float:
    return float(np.mean([names[head] == wish.wanted[head] for names, wish in zip(seen, wishes, strict=True)]))


def guidance(bench: Bench, engine: Any) -> list[Way]:
    """Return ways with 16 of 20 samples a picture: fewer steps, and guidance in a share of the steps."""
    steps, fewer = (2, 1) if bench.tiny else (10, 8)
    ways = [Way(f"{steps} steps", {"steps": steps}), Way(f"{fewer} steps", {"steps": fewer})]
    for low, high in ((0.0, 0.6), (0.2, 0.8), (0.4, 1.0))[: bench.pick(1, 3, 3)]:
        fields = {"steps": steps, "guidance_interval": (low, high)}
        ways.append(Way(f"--guidance-interval {low:g}:{high:g}", fields))
    return ways


def progressive(bench: Bench, engine: Any) -> list[Way]:
    """Return ways to draw at twice the sides that the model was taught: fewer steps, and half the sides first."""
    steps = 2 if bench.tiny else 20
    sides = {name: 2 * side for name, side in _defaults(bench, engine).items() if name in ("width", "height")}
    ways = [Way(f"{steps} steps", {**sides, "steps": steps})]
    ways += [Way(f"{few} steps", {**sides, "steps": few}) for few in bench.pick((1,), (14,), (17, 14, 13))]
    for percent in bench.pick((50,), (40,), (20, 40, 50)):
        ways.append(Way(f"--progressive {percent}", {**sides, "steps": steps, "progressive": float(percent)}))
    return ways


def taught(bench: Bench, engine: Any) -> list[Way]:
    """Return the same at the size that the model was taught."""
    steps = 2 if bench.tiny else 20
    ways = [Way(f"{steps} steps", {"steps": steps})]
    for few in bench.pick((), (12,), (15, 12)):
        ways.append(Way(f"{few} steps", {"steps": few}))
    percent = 50 if bench.tiny else 30
    return [*ways, Way(f"--progressive {percent}", {"steps": steps, "progressive": float(percent)})]


def caches(bench: Bench, engine: Any) -> list[Way]:
    """Return ways that leave evaluations out: caches of velocities and of blocks, and fewer steps."""
    steps, weights = 5 if bench.tiny else 20, engine.model.denoiser.weights
    blocks = len(weights.double_blocks) + len(weights.single_blocks)
    ways = [Way(f"{steps} steps", {"steps": steps})]
    for every in bench.pick((2,), (2,), (2, 3)):
        computed = sum(planned(steps, every))
        ways.append(Way(f"{computed} steps", {"steps": computed}))
        for line in bench.pick((True,), (False, True), (False, True)):
            how, fields = "in a straight line" if line else "held", {"steps": steps}
            ways.append(Way(f"{computed} of {steps}, others {how}", fields, partial(Forecast, steps, every, line=line)))
            cache = partial(FirstBlock, steps, every, blocks, line=line)
            ways.append(Way(f"{computed} of {steps}, others by their first block, {how}", fields, cache))
    if not bench.quick:
        ways.append(Way("11 steps", {"steps": 11}))
    return ways


def gate(bench: Bench, engine: Any) -> list[Way]:
    """Return ways to draw a draft: fewer steps, and guidance's difference kept in the last steps."""
    draft = dict(engine.model.draft)
    steps = int(draft["steps"])
    ways = [Way(f"{steps} steps", draft), Way(f"{steps - 1} steps", {**draft, "steps": steps - 1})]
    for more, gated in ((0, 1), (1, 2))[: bench.pick(1, 2, 2)]:
        fields, saver = {**draft, "steps": steps + more}, partial(Gate, steps + more, gated)
        ways.append(Way(f"{steps + more} steps, the last {gated} gated", fields, saver))
    return ways


def goals(bench: Bench) -> None:
    """State what a way has to do to be worth having: more than fewer steps of about as many rows do."""
    rows = {(row["part"], row["way"]): row for row in bench.report.rows}

    def better(part: str, way: str, fewer: str, head: str, what: str) -> None:
        mine, theirs = rows.get((part, way)), rows.get((part, fewer))
        if mine is not None and theirs is not None:
            value = mine[head] - theirs[head] if head == "psnr" else 100 * (mine[head] - theirs[head])
            unit = " dB" if head == "psnr" else " %"
            bench.goal(Goal.at_least(f"{way}, against {fewer}: {what}", 0.0, value, unit))

    better("guidance", "--guidance-interval 0.2:0.8", "8 steps", "style", "drawing sets named")
    better("progressive", "--progressive 40", "14 steps", "concept", "things named")
    for computed in (12, 9):
        held = f"{computed} of 20, others held"
        better("caches", held, f"{computed} steps", "concept", "things named")
        better("caches", held, f"{computed} steps", "psnr", "likeness to all steps")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--judge", type=Path, default=KEPT, help="its folder (bench/judge of this checkout)")
    parser.add_argument("--only", choices=PARTS, help="one part alone")


def body(bench: Bench) -> None:
    from ....engine.engine import Engine

    bench.columns = COLUMNS
    bench.use("torch")
    judge, engine = KeptJudge.read(bench.options.judge), Engine.load(backend="cpu", threads=bench.threads)
    scale = float(engine.model.defaults["guidance_scale"])
    bench.note(f"guidance {scale:g}; judge: SHA-256 {judge.digest}; pictures of a way are drawn {TOGETHER} at a time")
    bench.report.details["judge"] = {"sha256": judge.digest, "accuracy": judge.card["accuracy"]}
    asked = wishes(engine, bench.pick(1, 8, 64))[CAPTIONS]
    runs: tuple[tuple[str, str, Callable[[Bench, Any], list[Way]], int], ...] = (
        ("guidance", "guidance", guidance, 32), ("progressive", "progressive", progressive, 16),
        ("progressive", "progressive at the taught size", taught, 16), ("caches", "caches", caches, 16),
        ("gate", "gate", gate, 64),
    )  # fmt: skip
    for only, part, ways, count in runs:
        if bench.options.only in (None, only) and bench.deadline.left() > 0:
            own = _defaults(bench, engine)
            made = [Way(way.name, {**own, **way.fields}, way.saver) for way in ways(bench, engine)]
            compare(bench, part, engine, judge, asked[:count], made)
    goals(bench)


def _defaults(bench: Bench, engine: Any) -> dict[str, Any]:
    """Return the model's own fields of a spec, which ways change; of a tiny run with a quarter of the sides."""
    own = dict(engine.model.defaults)
    return {**own, "width": own["width"] // 4, "height": own["height"] // 4} if bench.tiny else own


main = partial(run, "step_caches", (__doc__ or "").splitlines()[0], body, arguments=arguments, tied_to="digest",
               prog="python -m salon.models.mini.recipe.step_caches")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
